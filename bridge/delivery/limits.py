"""How much of everything one sink may hold at once. No I/O here."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there is of everything.

    Attributes:
        records: most in one delivery.
        bytes: most in one delivery, but for a single larger record.
        delay: seconds that a delivery which is not full waits for more.
        concurrency: most calls in flight.
        window_records: most records handed out and not yet settled.
        window_bytes: most bytes of those, but for a single larger delivery.
    """

    records: int
    bytes: int
    delay: float
    concurrency: int
    window_records: int
    window_bytes: int
