"""What one sink has done so far: plain numbers, updated per delivery and read at a scrape. No I/O here."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import ClassVar, Final

from bridge.changes.record import Record
from bridge.delivery.breaker import Breaker, BreakerState
from bridge.delivery.sink import Delivery

__all__ = ["LATENCY_BOUNDS", "Latencies", "SinkState", "SinkStats"]

LATENCY_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 1800.0, 7200.0),
)
"""Upper bounds of the histogram of latencies, in seconds: live delivery, retries, outages."""

_MICROS: Final = 1_000_000
_time_of = attrgetter("change.time")


class SinkState(StrEnum):
    """What a sink's worker is doing."""

    STARTING = "starting"  # opening the destination for the first time
    DELIVERING = "delivering"  # waiting for records, or handing them over
    RETRYING = "retrying"  # the destination does not take records; tried again
    PAUSED = "paused"  # somebody asked for it; the cursor stays
    PARKED = "parked"  # it can take nothing until a person acts, or there is room for dead letters
    HALTED = "halted"  # it refused a record for good; a person must decide, the cursor stays
    STOPPED = "stopped"  # the worker ended


class Latencies:
    """From the moment that the bridge read a change to the moment that the destination owned it.

    Attributes:
        bounds: `LATENCY_BOUNDS`.
        counts: records by the first bound of `LATENCY_BOUNDS` that they keep, the last for those beyond.
        seconds: all latencies together.
    """

    __slots__ = ("counts", "seconds")
    bounds: ClassVar[Sequence[float]] = LATENCY_BOUNDS

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS) + 1)
        self.seconds = 0.0

    def observe(self, records: Sequence[Record], now: float) -> None:
        """Count records that are owned now (seconds since the Unix epoch)."""
        oldest, newest = records[0].change.time, records[-1].change.time
        first, last = _bucket(now - oldest / _MICROS), _bucket(now - newest / _MICROS)
        if first == last:
            # What was read between the two lies between them: one look for all.
            self.counts[first] += len(records)
            self.seconds += len(records) * max(now - (oldest + newest) / (2 * _MICROS), 0.0)
            return
        for moment, times in Counter(map(_time_of, records)).items():
            latency = now - moment / _MICROS
            self.counts[_bucket(latency)] += times
            self.seconds += times * max(latency, 0.0)


def _bucket(latency: float) -> int:
    return bisect_left(LATENCY_BOUNDS, latency)


@dataclass(slots=True)
class SinkStats:
    """Counters of one sink since this process started.

    Attributes:
        name: the configured name.
        state: what the worker is doing.
        reason: one sentence why, "" when all is well.
        kept: one sentence on what the log keeps for it and never drops, "" for nothing of size.
        position: the contiguous acknowledged position; the lag is what the log keeps behind this.
        records: records that the destination owns.
        bytes: rendered bytes of the deliveries that it answered.
        batches: deliveries that it answered.
        filtered: records passed over because this sink does not want them.
        rejected: records that the destination refused for good.
        retries: tries that failed, by the sink's own words for it; `error` is one that nobody expected.
        delivery_seconds: time spent in the tries that were answered, in all.
        circuit: says whether calls are let through; None when there is none.
        latencies: from read to owned.
    """

    name: str
    state: SinkState = SinkState.STARTING
    reason: str = ""
    kept: str = ""
    position: int = 0
    records: int = 0
    bytes: int = 0
    batches: int = 0
    filtered: int = 0
    rejected: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    delivery_seconds: float = 0.0
    circuit: Breaker | None = None
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def breaker(self) -> BreakerState:
        """Whether calls are let through."""
        return BreakerState.CLOSED if self.circuit is None else self.circuit.state

    def delivered(self, delivery: Delivery, seconds: float, refused: int = 0) -> None:
        """Count one delivery that was answered after so many seconds, and of which so many were refused."""
        self.batches += 1
        self.records += len(delivery.records) - refused
        self.bytes += delivery.size
        self.delivery_seconds += seconds
        self.latencies.observe(delivery.records, time.time())
