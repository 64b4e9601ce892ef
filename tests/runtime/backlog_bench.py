"""A keeper of backlogs over a log and sinks that are numbers: the slow sink takes nothing by itself."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import cast

import trio

from bridge.delivery.stats import SinkState, SinkStats
from bridge.runtime.backlog import BacklogKeeper, Policy
from bridge.runtime.snapshots import SnapshotDesk
from bridge.store.contract import Dropped, Lag, Log, LogStats, Refused, SnapshotRequest

__all__ = ["MIB", "Bench", "FakeLog", "FakeOutlets"]

MIB = 1 << 20
ROOM = 100 * MIB


class FakeOutlet:
    def __init__(self, name: str, records: "FakeLog") -> None:
        self.stats = SinkStats(name, state=SinkState.DELIVERING)
        self.told_to_park = False
        self._log = records

    @property
    def parked(self) -> bool:
        return self.told_to_park and self.stats.state is SinkState.PARKED

    async def drop(self, drop: Callable[[], Awaitable[int]]) -> None:
        self.stats.position = await drop()

    def park(self, reason: str) -> None:
        assert not self.parked, "it is told once"
        self.told_to_park = True
        self.stats.state, self.stats.reason = SinkState.PARKED, reason

    def take(self, records: int) -> None:
        self.stats.records += records
        self.stats.position += records


class FakeOutlets:
    def __init__(self, records: "FakeLog") -> None:
        self.workers = {name: FakeOutlet(name, records) for name in ("slow", "fast")}
        self.parked: dict[str, str] = {}

    async def release(self, name: str, reason: str) -> None:
        await trio.lowlevel.checkpoint()
        del self.workers[name]
        self.parked[name] = reason


class FakeLog:
    """Positions are MiB: one record each."""

    def __init__(self) -> None:
        self.last = 0
        self.full = ""
        self.owed: list[SnapshotRequest] = []
        self.dropped: list[str] = []
        self.refuses = False
        self.identities = 1
        self.drops_a_part = False

    def end(self) -> int:
        return self.last

    def stats(self) -> LogStats:
        return LogStats(end=self.last, kept_records=0, kept_bytes=0, full=self.full, limit_bytes=ROOM)

    def lag(self, position: int) -> Lag:
        return Lag(self.last - position, (self.last - position) * MIB, 0)

    async def drop_backlog(
        self, sink: str, streams: Collection[str] | None, owed: Sequence[SnapshotRequest] = ()
    ) -> Dropped:
        assert streams is None
        await trio.lowlevel.checkpoint()
        if self.drops_a_part:
            self.owed = list(owed)  # durable with the first of several transactions
        if self.refuses:
            raise Refused("there is no room even for the identities")
        self.dropped.append(sink)
        self.owed = list(owed)
        before, self.last = self.last, self.last + self.identities
        return Dropped({"pods": 90}, {"pods": 3}, before)

    async def snapshot_requests(self) -> Sequence[SnapshotRequest]:
        await trio.lowlevel.checkpoint()
        return self.owed


class Bench:
    def __init__(self, when_full: str = "resync", max_lag: int | None = None) -> None:
        self.log = FakeLog()
        records = cast("Log", self.log)
        self.desk = SnapshotDesk(records)
        self.sinks = FakeOutlets(self.log)
        self.outlets = self.sinks.workers
        scopes = {"pods": ["a", "b"], "cm": [""]}
        self.keeper = BacklogKeeper(
            [Policy("slow", when_full, max_lag, scopes), Policy("fast", when_full, None, scopes)],
            records,
            self.desk,
            self.sinks,
        )

    async def grow(self, mib: int) -> None:
        """The log grows; only the fast sink takes what comes."""
        self.log.last += mib
        self.outlets["fast"].stats.position = self.log.last
        await self.keeper.look()
        await trio.sleep(3)
        await self.keeper.look()

    async def serve(self) -> None:
        """The watches list: what is owed is in the log."""
        for request in list(self.desk.waiting("slow")):
            if request in self.desk.owed(request.stream, request.scope):
                self.desk.paid(request)
                self.log.last += 1
