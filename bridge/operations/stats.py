"""What one stream has done so far: plain numbers, updated per read and read at a scrape. No I/O here."""

import time
from collections import Counter
from collections.abc import Iterable

import msgspec

from bridge.changes.change import Change
from bridge.changes.reconcile import Tally

__all__ = ["StreamStats", "WatchStatus"]


class WatchStatus(msgspec.Struct):
    """What one watch of a stream does now.

    Attributes:
        phase: of `bridge.kubernetes.observer.Phase`, "starting" before the first.
        reason: one sentence why, "" when all is well.
        since: when it began, seconds of the monotonic clock.
        synced: whether it was live once since this process started.
    """

    phase: str = "starting"
    reason: str = ""
    since: float = msgspec.field(default_factory=time.monotonic)
    synced: bool = False


class StreamStats(msgspec.Struct):
    """Counters of one stream since this process started.

    Attributes:
        name: the configured name.
        events: objects received, live and in listings.
        changes: what became of them after reconciliation, by type of record.
        listings: complete listings begun, by cause.
        poison: lines that could not be understood.
        restarts: times that a watch failed unexpectedly and was started again.
        progressed: when something last arrived, seconds of the monotonic clock.
        watches: by scope (namespace, "" for all).
        tallies: what reconciliation held back, by scope.
    """

    name: str
    events: int = 0
    changes: Counter[str] = msgspec.field(default_factory=Counter)
    listings: Counter[str] = msgspec.field(default_factory=Counter)
    poison: int = 0
    restarts: int = 0
    progressed: float = msgspec.field(default_factory=time.monotonic)
    watches: dict[str, WatchStatus] = msgspec.field(default_factory=dict)
    tallies: dict[str, Tally] = msgspec.field(default_factory=dict)

    def progress(self, events: int) -> None:
        """Something arrived: `events` objects, or none with a bookmark."""
        self.events += events
        self.progressed = time.monotonic()

    def changed(self, changes: Iterable[Change]) -> None:
        """Reconciliation made these; called in one thread, the log's writer."""
        for change in changes:
            self.changes[change.type] += 1

    def enter(self, scope: str, phase: str, reason: str) -> None:
        """The watch of `scope` is in `phase` now."""
        watch = self.watches.setdefault(scope, WatchStatus())
        if watch.phase != phase:
            watch.phase, watch.since = phase, time.monotonic()
        watch.reason = reason
        watch.synced = watch.synced or phase == "live"

    def tally(self) -> Tally:
        """What reconciliation held back, all scopes together."""
        total = Tally()
        for tally in self.tallies.values():
            total.replayed += tally.replayed
            total.stale += tally.stale
            total.synthetic += tally.synthetic
            total.absorbed += tally.absorbed
        return total
