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

Where the disk is full for another reason than our own limit, the sink that lags most is dealt with in the
same way: room within the file is all that intake needs to go on, and without it every sink would wait.
"""

import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from bridge.changes.change import Cause
from bridge.config import Config
from bridge.delivery.stats import SinkState, SinkStats
from bridge.logs import Incidents, log
from bridge.runtime.plans import watches_of
from bridge.runtime.snapshots import SnapshotDesk, snapshot_requests
from bridge.store.contract import Log, Refused

__all__ = ["BacklogKeeper", "Lagging", "Outlet", "Outlets", "Patience", "Policy", "holders", "policies"]

_REPAIR: Final = "repair it and resume it: it gets the deletions that it missed, and a snapshot"
_REPAIR_ANEW: Final = "repair it and resume it: it gets a snapshot, not the deletions that it missed"
_LOOK_SECONDS: Final = 0.25
_NEARLY_ALL: Final = 0.9
_WORTH: Final = 4 << 20
"""Bytes that a sink must hold back so that dropping them is worth it when the log is full."""
_TRIM_SECONDS: Final = 5.0
_MOVING_SECONDS: Final = 2.0
"""A sink that took nothing for that long does not move."""
_GRACE_SECONDS: Final = 10.0
"""How long a sink that moves may be over its limit; meanwhile intake may wait for it."""
_AGAIN_FIRST: Final = 60.0
_AGAIN_MAX: Final = 3600.0
"""Pauses before the next snapshot of a sink that fell behind during the last one; doubled each time."""


@dataclass(frozen=True, slots=True)
class Lagging:
    """How far a sink is behind.

    Attributes:
        name: of the sink.
        bytes: what the log keeps behind it.
        limit: what it may be at most.
    """

    name: str
    bytes: int
    limit: int


def holders(sinks: Collection[Lagging], *, full: bool) -> list[str]:
    """The sinks that must be dealt with now, the one that lags most first.

    Args:
        sinks: all that hold back the log.
        full: nothing can be appended now.
    """
    worst = sorted(sinks, key=lambda sink: sink.bytes, reverse=True)
    over = [sink.name for sink in worst if sink.bytes >= sink.limit]
    if over or not full or not worst or worst[0].bytes < _WORTH:
        return over
    # They share what is kept: to deal with one alone would free nothing.
    return [sink.name for sink in worst if sink.bytes >= _NEARLY_ALL * worst[0].bytes]


class Patience:
    """Tells a sink that catches up from one that does not."""

    def __init__(self) -> None:
        self._moved: dict[str, tuple[int, float]] = {}
        self._pressing: dict[str, float] = {}

    def moved(self, name: str, position: int, now: float) -> None:
        """Where a sink is now."""
        if self._moved.get(name, (position - 1, now))[0] != position:
            self._moved[name] = (position, now)

    def spent(self, pressing: Sequence[str], now: float) -> list[str]:
        """Of the sinks that are over their limit now, those that nobody waits for any longer."""
        self._pressing = {name: self._pressing.get(name, now) for name in pressing}
        return [
            name
            for name in pressing
            if now - self._moved.get(name, (0, now))[1] > _MOVING_SECONDS
            or now - self._pressing[name] > _GRACE_SECONDS
        ]


class Outlet(Protocol):
    """What the keeper needs of a sink's worker."""

    stats: SinkStats

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
        scopes: of each stream that it wants, the namespaces of its watches.
    """

    sink: str
    when_full: str
    max_lag: int | None
    scopes: Mapping[str, Sequence[str]]


def policies(config: Config) -> list[Policy]:
    """What is configured for each sink."""
    return [
        Policy(sink.name, sink.when_full, sink.max_lag, watches_of(config, sink)) for sink in config.sinks
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
        self._incidents = Incidents(log)

    def resume(self) -> None:
        """Take up what an earlier life dropped: those snapshots wait for the sink as before."""
        for name in self._policies:
            if name in self._outlets.workers and any(
                request.cause == Cause.BACKLOG_FULL for request in self._desk.waiting(name)
            ):
                self._desk.hold(name)
                records = self._outlets.workers[name].stats.records
                self._recovering[name] = _Recovery(records, trio.current_time())

    async def run(self) -> None:
        """Look, for ever, as often as it takes for nobody to wait long."""
        while True:
            await self.look()
            await trio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Deal with whoever holds too much, and let those who recovered have their snapshot."""
        stats = self._log.stats()
        now = trio.current_time()
        lagging: list[Lagging] = []
        for name, outlet in self._outlets.workers.items():
            position = outlet.stats.position
            self._patience.moved(name, position, now)
            behind = self._log.lag(position).bytes
            lagging.append(Lagging(name, behind, self._limit(name, stats.limit_bytes)))
            self._desk.taken(name, position)
        pressing = holders(lagging, full=bool(stats.full) and now >= self._full_counts_at)
        for name in self._patience.spent(pressing, now):
            match self._policies[name].when_full:
                case "resync":
                    await self._drop(name)
                case "park":
                    self._park(name)
                    await self._drop(name)
                case _ if stats.full:
                    self._incidents.report(
                        name, "warning", "intake waits for this sink, as whenFull: block says", sink=name
                    )
            # What was given up is trimmed bit by bit: nobody else shall pay for that.
            self._full_counts_at = now + _TRIM_SECONDS
        for name in list(self._recovering):
            self._recover(name)
        self._incidents.tick()

    def _limit(self, name: str, room: int) -> int:
        share = int(room * _NEARLY_ALL) if room else sys.maxsize
        own = self._policies[name].max_lag
        return share if own is None else min(share, own)

    def _room(self, name: str) -> int:
        """What may be addressed to a sink so that live records still find room behind it."""
        outlet = self._outlets.workers.get(name)
        if outlet is None:
            return sys.maxsize
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
        why = self._why(name)

        async def drop() -> int:
            dropped = await self._log.drop_backlog(name, list(policy.scopes), owed)
            log(
                "warning",
                "the backlog of a sink is dropped; it gets a snapshot when it takes records again",
                sink=name,
                reason=why,
                records=sum(dropped.records.values()),
                deletions_kept=sum(dropped.deletions.values()),
            )
            return dropped.end

        try:
            await outlet.drop(drop)
        except Refused as error:
            # A part of it may have been dropped before the room ran out; what that is owed is noted down.
            await self._desk.load([name])
            self._desk.release(name)
            self._recovering.pop(name, None)
            await self._outlets.release(name, f"{error}; {_REPAIR_ANEW}")
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

    def _park(self, name: str) -> None:
        outlet = self._outlets.workers[name]
        if outlet.stats.state is not SinkState.PARKED:
            outlet.park(f"{self._why(name)}; {_REPAIR}")

    def _why(self, name: str) -> str:
        own, position = self._policies[name].max_lag, self._outlets.workers[name].stats.position
        if own is not None and self._log.lag(position).bytes >= own:
            return "it lags by more than its maxLag"
        return "it lags so far that the log has no room for what it has not taken"

    def _recover(self, name: str) -> None:
        recovery = self._recovering[name]
        stats = self._outlets.workers[name].stats
        if recovery.through is None and not self._desk.waiting(name):
            recovery.through = self._log.end()
        if recovery.through is not None:
            if stats.position >= recovery.through:
                del self._recovering[name]
                log("info", "sink has its snapshot: it is up to date again", sink=name)
            return
        # A dead sink must not have the log filled for it again and again.
        takes = stats.records > recovery.records or stats.position >= self._log.end()
        if takes and trio.current_time() >= recovery.not_before:
            recovery.begun = True
            self._desk.release(name)
