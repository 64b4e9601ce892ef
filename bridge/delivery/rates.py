"""How much may be delivered when: a token bucket for each unit. No I/O here, and no clock."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bucket", "Buckets", "Rates"]


@dataclass(frozen=True, slots=True)
class Rates:
    """A rate limit; what is None is not limited.

    Attributes:
        records: per second.
        requests: per second.
        bytes: per second.
        burst: records, and requests, that may go at once; None for what one second allows.
    """

    records: float | None = None
    requests: float | None = None
    bytes: float | None = None
    burst: int | None = None


class Bucket:
    """A token bucket, kept as the time at which it will be full again (GCRA, ITU-T I.371).

    What is larger than the bucket may go once that is full, and is paid for afterwards.
    """

    __slots__ = ("_burst", "_full_at", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        """It is full at first.

        Args:
            rate: tokens per second, more than 0.
            burst: tokens that it holds.
        """
        self._rate = rate
        self._burst = burst
        self._full_at = float("-inf")

    def wait(self, now: float, tokens: float) -> float:
        """Seconds until so many may be taken; 0 when they may be taken now."""
        missing = min(tokens, self._burst) - self._burst
        return max(self._full_at + missing / self._rate - now, 0.0)

    def take(self, now: float, tokens: float) -> None:
        """Take them, whether or not they are there."""
        self._full_at = max(self._full_at, now) + tokens / self._rate


class Buckets:
    """The buckets of one limit; a delivery needs room in all of them."""

    __slots__ = ("_bytes", "_records", "_requests")

    def __init__(self, rates: Rates) -> None:
        self._records = _bucket(rates.records, rates.burst)
        self._requests = _bucket(rates.requests, rates.burst)
        self._bytes = _bucket(rates.bytes, None)

    def wait(self, now: float, records: int, size: int) -> float:
        """Seconds until one request of so many records and bytes may go."""
        return max((bucket.wait(now, tokens) for bucket, tokens in self._asked(records, size)), default=0.0)

    def take(self, now: float, records: int, size: int) -> None:
        """It goes now."""
        for bucket, tokens in self._asked(records, size):
            bucket.take(now, tokens)

    def _asked(self, records: int, size: int) -> Sequence[tuple[Bucket, int]]:
        asked = ((self._records, records), (self._requests, 1), (self._bytes, size))
        return [(bucket, tokens) for bucket, tokens in asked if bucket is not None]


def _bucket(rate: float | None, burst: int | None) -> Bucket | None:
    # A bucket of less than one token would never let a whole one go without debt.
    return None if rate is None else Bucket(rate, max(rate, 1.0) if burst is None else burst)
