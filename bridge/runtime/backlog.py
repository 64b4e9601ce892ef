"""What happens to a sink that lags so far that the log has no room for it: its `whenFull`.

The log keeps everything behind the slowest sink, so that sink is the one that fills it. It is dealt with as
soon as it holds nearly all that may be kept (or its own `maxLag`), before anybody else has to wait for room.
A sink that moves gets some seconds to catch up: a burst, or a snapshot, is no reason to drop anything.

```
resync   what it did not take is dropped, but for the identities of deletions. Once it takes records again
         it gets a snapshot of its own. Asked for first and durably, so a crash in between loses nothing.
park     it stops, loudly, until it is resumed; meanwhile what it did not take is dropped in the same way
block    nothing: once the log is full intake waits for it, which the configuration had to allow
```

A drop that would free next to nothing is not made: a sink that holds its deletions alone is left with them,
and `status` says how much that is. Only when the log is full of them does it go on without the sink.

Where the disk is full for another reason than our own limit, the sink that lags most is dealt with in the
same way: room within the file is all that intake needs to go on, and without it every sink would wait.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from bridge.changes.change import Cause
from bridge.config import Config
from bridge.delivery.stats import SinkStats
from bridge.logs import Incidents, log
from bridge.runtime.lagging import Lagging, Leftovers, Patience, holders
from bridge.runtime.plans import watches_of
from bridge.runtime.snapshots import SnapshotDesk, snapshot_requests
from bridge.store.contract import Log, Refused, SnapshotRequest

__all__ = ["BacklogKeeper", "Outlet", "Outlets", "Policy", "policies"]

_REPAIR: Final = "repair it and resume it: it gets the deletions that it missed, and a snapshot"
_REPAIR_ANEW: Final = "repair it and resume it: it gets a snapshot, not the deletions that it missed"
_KEPT: Final = "the log keeps {:.1f} MiB for it that are not dropped: deletions that it has not taken"
_NO_MORE: Final = (
    "what a sink holds back are deletions that it has not taken, and those are not dropped: repair it, or "
    "give state.maxBytes or its maxLag more room"
)
_MUCH: Final = 1 / 4
"""What is kept for a sink is told from this part of its limit on."""
_LOOK_SECONDS: Final = 0.25
_NEARLY_ALL: Final = 0.9
_TRIM_SECONDS: Final = 5.0
_AGAIN_FIRST: Final = 60.0
_AGAIN_MAX: Final = 3600.0
"""Pauses before the next snapshot of a sink that fell behind during the last one; doubled each time."""


class Outlet(Protocol):
    """What the keeper needs of a sink's worker."""

    stats: SinkStats

    @property
    def parked(self) -> bool:
        """Whether it stays stopped until somebody resumes it; one that waits for room does not."""

    async def drop(self, drop: Callable[[], Awaitable[int]]) -> None:
        """Hand out nothing while `drop` moves the cursor; read on from the position that it returns.

        What is in flight is not waited for, so that no sink keeps the next one from being dealt with.
        """

    def park(self, reason: str) -> None:
        """Stop, loudly, until somebody resumes it."""


class Outlets(Protocol):
    """What the keeper needs of the sinks; `bridge.runtime.outlets.Outlets` has it."""

    @property
    def workers(self) -> Mapping[str, Outlet]:
        """The workers of the sinks that hold back the log, by name."""

    async def release(self, name: str, reason: str) -> None:
        """Park a sink, loudly, and let the log forget it; it is no longer among the workers."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is configured for one sink.

    Attributes:
        sink: its name.
        when_full: resync, park or block.
        max_lag: bytes that the log may keep behind it; None for all that there is room for.
        scopes: of each configured stream that it wants, the namespaces of its watches.
        streams: what it selects; None for all, also those that are configured no more.
    """

    sink: str
    when_full: str
    max_lag: int | None
    scopes: Mapping[str, Sequence[str]]
    streams: Sequence[str] | None = None


def policies(config: Config) -> list[Policy]:
    """What is configured for each sink."""
    return [
        Policy(sink.name, sink.when_full, sink.max_lag, watches_of(config, sink), sink.streams)
        for sink in config.sinks
    ]


@dataclass(slots=True)
class _Recovery:
    """A sink whose backlog was dropped, until it has taken its snapshot.

    Attributes:
        records: what it had taken when the backlog was dropped.
        not_before: when its snapshot may be made.
        pause: how long that was put off.
        begun: whether its snapshot may be made by now.
        through: where the snapshot ends in the log, once it does.
    """

    records: int
    not_before: float
    pause: float = 0.0
    begun: bool = False
    through: int | None = None


class BacklogKeeper:
    """Looks after all sinks of one bridge.

    Args:
        policies: one for each sink.
        records: the log.
        desk: where snapshots are asked for.
        outlets: the sinks, once they are open.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        records: Log,
        desk: SnapshotDesk,
        outlets: Outlets,
    ) -> None:
        self._policies = {policy.sink: policy for policy in policies}
        self._log = records
        self._desk = desk
        self._outlets = outlets
        self._recovering: dict[str, _Recovery] = {}
        self._full_counts_at = float("-inf")
        desk.pace(self._room)
        self._patience = Patience()
        self._leftovers = Leftovers(lambda position: records.lag(position).bytes)
        self._told: set[str] = set()
        self._incidents = Incidents(log)

    def resume(self) -> None:
        """Take up what an earlier life dropped: those snapshots wait for the sink as before.

        Also for one that is not open yet: what is left of its backlog must come before its snapshot.
        """
        for name in self._policies:
            outlet = self._outlets.workers.get(name)
            if outlet is None or any(
                request.cause == Cause.BACKLOG_FULL for request in self._desk.waiting(name)
            ):
                self._hold(name, 0 if outlet is None else outlet.stats.records)

    async def run(self) -> None:
        """Look, for ever, as often as it takes for nobody to wait long."""
        while True:
            await self.look()
            await trio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Deal with whoever holds too much, and let those who recovered have their snapshot."""
        stats = self._log.stats()
        now = trio.current_time()
        workers = self._outlets.workers
        positions = {name: outlet.stats.position for name, outlet in workers.items()}
        limits = {name: self._limit(name, stats.limit_bytes) for name in positions}
        for name, position in positions.items():
            self._patience.moved(name, position, now)
            self._desk.taken(name, position)
        lagging = {sink.name: sink for sink in self._leftovers.lagging(positions, limits)}
        pressing = holders(lagging.values(), full=bool(stats.full) and now >= self._full_counts_at)
        for name in self._patience.spent(pressing, now):
            await self._deal(lagging[name], full=bool(stats.full))
            # What was given up is trimmed bit by bit: nobody else shall pay for that.
            self._full_counts_at = now + _TRIM_SECONDS
        for sink in lagging.values():
            self._tell(sink)
        for name in list(self._recovering):
            self._recover(name)
        self._incidents.tick()

    async def _deal(self, sink: Lagging, *, full: bool) -> None:
        policy = self._policies[sink.name].when_full
        if policy == "block":
            if full:
                event = "intake waits for this sink, as whenFull: block says"
                self._incidents.report(sink.name, "warning", event, sink=sink.name)
        elif not sink.droppable:
            await self._give_up(sink.name, "the log has no room for more deletions that it has not taken")
        else:
            if policy == "park":
                self._park(sink.name)
            await self._drop(sink.name)

    def _tell(self, sink: Lagging) -> None:
        """Say what is kept for a sink and never dropped, where that is a good part of what it may lag by."""
        outlet = self._outlets.workers.get(sink.name)
        if outlet is None:
            self._told.discard(sink.name)
            return
        much = sink.kept >= sink.limit * _MUCH
        outlet.stats.kept = _KEPT.format(sink.kept / (1 << 20)) if much else ""
        if not much:
            self._told.discard(sink.name)
        elif sink.bytes >= sink.limit and not sink.droppable and sink.name not in self._told:
            self._told.add(sink.name)
            log("warning", _NO_MORE, sink=sink.name, bytes=sink.kept)

    def _limit(self, name: str, room: int) -> int:
        share = int(room * _NEARLY_ALL) if room else sys.maxsize
        own = self._policies[name].max_lag
        return share if own is None else min(share, own)

    def _room(self, name: str) -> int:
        """What may be addressed to a sink so that live records still find room behind it."""
        outlet = self._outlets.workers.get(name)
        if outlet is None:
            return 0
        stats = self._log.stats()
        held = self._log.lag(outlet.stats.position).bytes + stats.in_flight
        return self._limit(name, stats.limit_bytes) // 2 - held

    async def _drop(self, name: str) -> None:
        policy, outlet = self._policies[name], self._outlets.workers[name]
        owed = [
            request
            for stream, scopes in policy.scopes.items()
            for request in snapshot_requests(name, stream, scopes, Cause.BACKLOG_FULL)
        ]
        self._desk.hold(name)
        refused = False

        async def drop() -> int:
            nonlocal refused
            try:
                return await self._drop_in_log(name, owed)
            except Refused as error:
                # Not once it may read again: what it would go on from may be gone by now.
                refused = True
                await self._desk.load([name])  # what a part that was dropped is owed is noted down
                await self._give_up(name, str(error))
                return outlet.stats.position

        await outlet.drop(drop)
        if refused:
            return
        self._desk.remember(owed)
        before = self._recovering.get(name)
        if before is not None and not before.begun:
            # It is still down: that says nothing about whether its snapshot finds room.
            self._recovering[name] = _Recovery(outlet.stats.records, before.not_before, before.pause)
            return
        pause = 0.0 if before is None else min(max(before.pause * 2, _AGAIN_FIRST), _AGAIN_MAX)
        self._recovering[name] = _Recovery(outlet.stats.records, trio.current_time() + pause, pause)
        if pause:
            log(
                "error",
                "a sink fell behind during its own snapshot: changes come faster than it takes them; give "
                "state.maxBytes more room, or let the sink take more at once",
                sink=name,
                next_try_seconds=pause,
            )

    async def _drop_in_log(self, name: str, owed: Sequence[SnapshotRequest]) -> int:
        why = self._why(name)
        dropped = await self._log.drop_backlog(name, self._policies[name].streams, owed)
        log(
            "warning",
            "the backlog of a sink is dropped; it gets a snapshot when it takes records again",
            sink=name,
            reason=why,
            records=sum(dropped.records.values()),
            deletions_kept=sum(dropped.deletions.values()),
        )
        self._leftovers.dropped(name, self._log.end())
        return dropped.end

    async def _give_up(self, name: str, why: str) -> None:
        """The log goes on without this sink: not even its deletions find room.

        What is left of its backlog is dropped when it is opened again; its snapshot must stand behind that.
        """
        stats = self._outlets.workers[name].stats
        self._hold(name, stats.records)
        self._leftovers.forget(name)
        stats.kept = ""
        await self._outlets.release(name, f"{why}; {_REPAIR_ANEW}")

    def _hold(self, name: str, records: int) -> None:
        """Its snapshots wait until it has taken more than these records."""
        self._desk.hold(name)
        self._recovering[name] = _Recovery(records, trio.current_time())

    def _park(self, name: str) -> None:
        outlet = self._outlets.workers[name]
        if not outlet.parked:
            outlet.park(f"{self._why(name)}; {_REPAIR}")

    def _why(self, name: str) -> str:
        own, position = self._policies[name].max_lag, self._outlets.workers[name].stats.position
        if own is not None and self._log.lag(position).bytes >= own:
            return "it lags by more than its maxLag"
        return "it lags so far that the log has no room for what it has not taken"

    def _recover(self, name: str) -> None:
        outlet = self._outlets.workers.get(name)
        if outlet is None:
            return
        recovery, stats = self._recovering[name], outlet.stats
        if recovery.begun and recovery.through is None and not self._desk.waiting(name):
            recovery.through = self._log.end()
        if recovery.through is not None:
            if stats.position >= recovery.through:
                del self._recovering[name]
                log("info", "sink is up to date again", sink=name)
            return
        # A dead sink must not have the log filled for it again and again.
        takes = stats.records > recovery.records or stats.position >= self._log.end()
        if takes and trio.current_time() >= recovery.not_before:
            recovery.begun = True
            self._desk.release(name)
