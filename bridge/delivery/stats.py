"""What one sink has done so far: plain numbers, updated per batch and read at a scrape. No I/O here."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["SinkState", "SinkStats"]


class SinkState(StrEnum):
    """What a sink's worker is doing."""

    STARTING = "starting"  # opening the destination for the first time
    DELIVERING = "delivering"  # waiting for records, or handing them over
    RETRYING = "retrying"  # the destination does not take records; tried again
    HALTED = "halted"  # it refused a record for good; a person must decide, the cursor stays
    STOPPED = "stopped"  # the worker ended


@dataclass(slots=True)
class SinkStats:
    """Counters of one sink since this process started.

    Attributes:
        name: the configured name.
        state: what the worker is doing.
        reason: one sentence why, "" when all is well.
        position: the contiguous acknowledged position; the lag is the log's end minus this.
        records: records that the destination owns.
        bytes: rendered bytes of those.
        batches: deliveries that succeeded.
        filtered: records passed over because this sink does not want them.
        rejected: records that the destination refused for good.
        retries: tries that failed, by reason: `unavailable` (it said so), `error` (nobody expected it).
        delivery_seconds: time spent in deliveries that succeeded, in all.
        last_delivery_seconds: how long the last one took.
    """

    name: str
    state: SinkState = SinkState.STARTING
    reason: str = ""
    position: int = 0
    records: int = 0
    bytes: int = 0
    batches: int = 0
    filtered: int = 0
    rejected: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    delivery_seconds: float = 0.0
    last_delivery_seconds: float = 0.0

    def delivered(self, records: int, size: int, seconds: float) -> None:
        """Count one delivery that succeeded."""
        self.batches += 1
        self.records += records
        self.bytes += size
        self.delivery_seconds += seconds
        self.last_delivery_seconds = seconds
