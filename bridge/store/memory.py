"""The log of an ad hoc `watch`: the same contract with nothing on disk; full means that intake waits."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from time import time_ns
from uuid import uuid4

import msgspec
import trio

from bridge.changes.change import Batch, Change, Cursor, StreamInfo, Type
from bridge.changes.deadletter import DeadLetter
from bridge.changes.reconcile import object_key
from bridge.errors import BridgeError
from bridge.store.checks import closed_to, superseded
from bridge.store.contract import (
    Dropped,
    Lag,
    LogIdentity,
    LogStats,
    OpenedSink,
    SnapshotRequest,
    WatchState,
    Work,
)
from bridge.store.dropped import Share, Tally, begin_records, dropped, oldest
from bridge.store.group import EMPTY_WATCH, WatchKey, batch_size, run_work
from bridge.store.inventory import ReadOnly
from bridge.store.kept import Kept
from bridge.store.known import alike, known_streams
from bridge.store.memory_inventory import MemoryInventory
from bridge.store.memory_letters import MemoryLetters
from bridge.store.positions import check_acknowledgement, check_cursor, check_kept
from bridge.store.room import Room
from bridge.store.tail import Tail

__all__ = ["MemoryLog"]


class MemoryLog(MemoryLetters):
    """Implements `bridge.store.contract.Log` in memory.

    A record is kept until every open sink has acknowledged it; before the first is opened, all are. When
    `memory_bytes` are used `append` waits.

    Attributes:
        identity: new for each.
    """

    def __init__(self, memory_bytes: int = 16 << 20) -> None:
        super().__init__(memory_bytes // 8)
        self.identity = LogIdentity(uuid4().hex, 1)
        self._room = Room(memory_bytes)
        self._tail = Tail()
        self._inventories: dict[str, MemoryInventory] = {}
        self._watches: dict[WatchKey, WatchState] = {}
        self._sinks: dict[str, int] = {}
        self._detached: dict[str, int] = {}
        self._fresh: dict[str, bool] = {}  # whether it lost records that it was kept before
        self._left_out: dict[str, set[str]] = {}
        self._owed: dict[tuple[str, str, str], SnapshotRequest] = {}
        self._streams: dict[str, StreamInfo] = {}
        self._kept = Kept()
        self._end = 0
        self._trimmed_to = 0
        self._readers = trio.lowlevel.ParkingLot()
        self._error: BaseException | None = None
        self._commits = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, *, memory_bytes: int = 16 << 20) -> AsyncIterator["MemoryLog"]:
        """A new, empty log; `aclose` on leaving."""
        log = cls(memory_bytes)
        try:
            yield log
        finally:
            await log.aclose()

    async def watch_state(self, stream: str, scope: str) -> WatchState | None:
        """See `Log.watch_state`."""
        await trio.lowlevel.checkpoint()
        return self._watches.get((stream, scope))

    async def watch_states(self, stream: str) -> Mapping[str, WatchState]:
        """See `Log.watch_states`."""
        await trio.lowlevel.checkpoint()
        return {scope: state for (name, scope), state in self._watches.items() if name == stream}

    async def watched_streams(self) -> Collection[str]:
        """See `Log.watched_streams`."""
        await trio.lowlevel.checkpoint()
        return list(known_streams(self._watches))

    async def adopt(
        self, stream: str, collection: Mapping[str, str], configured: Collection[str]
    ) -> Sequence[str]:
        """See `Log.adopt`."""
        await trio.lowlevel.checkpoint()
        found = alike(self._watches, stream, collection, configured)
        if len(found) == 1:
            self._rename(found[0], stream)
        return found

    async def append(  # noqa: PLR0913 - everything that is committed together
        self,
        stream: StreamInfo,
        scope: str,
        work: Work,
        *,
        size: int,
        cursor: Cursor | None = None,
        epoch: int | None = None,
        fingerprint: str | None = None,
        audience: str = "",
        fulfils: Sequence[SnapshotRequest] = (),
    ) -> None:
        """See `Log.append`; the work runs before this returns."""
        await self._room.enter(size)
        inventory = self._inventories.get(stream.name)
        if inventory is None:
            inventory = self._inventories[stream.name] = MemoryInventory()
        try:
            changes = run_work(stream, work, ReadOnly(inventory) if audience else inventory)
        except BridgeError as error:
            self._fail(error)
            raise
        kept = self._add(stream, audience, changes) if changes else 0
        self._room.leave(size - kept)
        for request in fulfils:
            if self._owed.get(_place(request)) == request:
                del self._owed[_place(request)]
        if cursor is not None or epoch is not None or fingerprint is not None:
            self._move((stream.name, scope), cursor, epoch, fingerprint)

    async def flush(self) -> None:
        """See `Log.flush`; there is nothing to wait for."""
        await trio.lowlevel.checkpoint()
        self._check()

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """See `Log.read`."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            check_kept(after, self._trimmed_to)
            batches = self._tail.read(after, max_bytes)
            if batches:
                return batches
            await self._readers.park()

    def end(self) -> int:
        """See `Log.end`."""
        return self._end

    async def open_sink(
        self,
        name: str,
        fingerprint: str,
        takes: Collection[str] = (),
        leaves_out: Collection[str] = (),
        skips: Collection[str] = (),
    ) -> OpenedSink:
        """See `Log.open_sink`."""
        await trio.lowlevel.checkpoint()
        self._check()
        del fingerprint  # this log does not outlive a sink's destination
        start = self._tail.start
        oldest = self._end if start is None else start - 1
        if name not in self._sinks:
            before = self._detached.pop(name, None)
            if before is None and (self._end or self._watches):
                self._fresh[name] = False
            if before is not None and before < self._trimmed_to:
                self._fresh[name] = True
            self._sinks[name] = oldest if before is None else max(before, oldest)
        left_out = self._left_out.setdefault(name, set())
        left_out -= set(takes) & set(skips)
        missed = tuple(sorted(left_out & set(takes)))
        left_out.update(leaves_out)
        return OpenedSink(self._sinks[name], name in self._fresh, self._fresh.get(name, False), missed)

    async def detach_sinks(self, keep: Collection[str]) -> None:
        """See `Log.detach_sinks`."""
        for name in [name for name in self._sinks if name not in keep]:
            await self.release_sink(name)
        await trio.lowlevel.checkpoint()

    async def release_sink(self, name: str) -> None:
        """See `Backlogs.release_sink`."""
        await trio.lowlevel.checkpoint()
        if name in self._sinks:
            self._detached[name] = self._sinks.pop(name)
        self._trim()

    def lag(self, position: int) -> Lag:
        """See `Backlogs.lag`."""
        return self._kept.lag(position)

    async def drop_backlog(
        self, sink: str, streams: Collection[str] | None, owed: Sequence[SnapshotRequest] = ()
    ) -> Dropped:
        """See `Backlogs.drop_backlog`."""
        await trio.lowlevel.checkpoint()
        self._check()
        if sink not in self._sinks:
            raise closed_to(sink)
        tallies: dict[str, Tally] = {}
        gone: list[tuple[StreamInfo, list[Change]]] = []
        for batch in self._tail.read(self._sinks[sink], 1 << 62):
            name = batch.stream.name
            if batch.audience not in ("", sink) or (streams is not None and name not in streams):
                continue
            tally = tallies.setdefault(name, Tally(batch.stream))
            deletions = [
                msgspec.structs.replace(one, object=b"") for one in batch.changes if one.type == Type.DELETED
            ]
            ages = oldest((one.namespace, one.epoch, one.rv) for one in batch.changes if one.uid)
            tally.count(batch.stream, Share(Counter(one.namespace for one in batch.changes), deletions, ages))
            if deletions:
                gone.append((batch.stream, deletions))
        for name in {*(streams or ()), *(request.stream for request in owed)} & self._streams.keys():
            tallies.setdefault(name, Tally(self._streams[name]))
        end = self._end
        for name, tally in tallies.items():
            wanted = [request for request in owed if request.stream == name]
            epoch = max((state.epoch for key, state in self._watches.items() if key[0] == name), default=0)
            begin = begin_records(tally, wanted, time_ns() // 1000, epoch)
            self._room.take(self._add(tally.stream, sink, begin))
        for stream, deletions in gone:
            self._room.take(self._add(stream, sink, deletions))
        await self.request_snapshots(owed)
        self._sinks[sink] = end
        self._trim()
        return dropped(tallies, end)

    async def request_snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        """See `Snapshots.request_snapshots`."""
        self._owed.update((_place(request), request) for request in requests)
        for request in requests:
            self._fresh.pop(request.sink, None)
            self._left_out.get(request.sink, set()).discard(request.stream)
        await trio.lowlevel.checkpoint()

    async def snapshot_requests(self) -> Sequence[SnapshotRequest]:
        """See `Snapshots.snapshot_requests`."""
        await trio.lowlevel.checkpoint()
        return [request for _, request in sorted(self._owed.items())]

    def acknowledge(self, name: str, position: int) -> None:
        """See `Log.acknowledge`."""
        check_acknowledgement(name, self._sinks.get(name), position, self._end)
        self._sinks[name] = position
        self._trim()

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """See `Log.verify`."""
        check_cursor(self.identity, {1: 1}, self._end, log_id, incarnation, position)

    def stats(self) -> LogStats:
        """See `Log.stats`."""
        return LogStats(
            end=self._end,
            kept_records=self._tail.records,
            kept_bytes=self._tail.size,
            commits=self._commits,
            committed_records=self._end,
            in_flight=self._room.used - self._tail.size,
            limit_bytes=self._room.limit,
        )

    async def aclose(self) -> None:
        """See `Log.aclose`."""
        if self._error is None:
            self._fail(trio.ClosedResourceError("the log is closed"))
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

    def _add(self, stream: StreamInfo, audience: str, changes: Sequence[Change]) -> int:
        """Records at the end; returns the bytes that they take."""
        batch = Batch(self._end + 1, stream, changes, batch_size(changes), audience)
        self._streams[stream.name] = stream
        self._tail.extend([batch])
        self._kept.add(batch.position, len(changes), batch.size, changes[0].time)
        self._end = batch.last_position
        self._commits += 1
        self._readers.unpark_all()
        return batch.size

    def _is_open(self, sink: str) -> bool:
        return sink in self._sinks

    def _put_back(self, stream: StreamInfo, sink: str, change: Change) -> int:
        self._room.take(self._add(stream, sink, [change]))
        return self._end

    def _superseded(self, letter: DeadLetter) -> bool:
        key = object_key(letter.change.namespace, letter.change.name)
        inventory = self._inventories.get(letter.stream.name)
        epochs = (
            state.epoch
            for (name, scope), state in self._watches.items()
            if name == letter.stream.name and scope in ("", letter.change.namespace)
        )
        known = inventory.get(key) if inventory else None
        return superseded(letter.change, known, max(epochs, default=0))

    def _rename(self, old: str, new: str) -> None:
        names = {old: new, new: old}
        self._watches = {(names.get(name, name), scope): s for (name, scope), s in self._watches.items()}
        self._inventories = {names.get(name, name): each for name, each in self._inventories.items()}
        moved = [msgspec.structs.replace(one, stream=new) for one in self._owed.values() if one.stream == old]
        self._owed = {_place(one): one for one in (*moved, *self._owed.values()) if one.stream != old}
        self._left_out = {k: {new if n == old else n for n in names} for k, names in self._left_out.items()}
        if old in self._streams:
            self._streams[new] = msgspec.structs.replace(self._streams.pop(old), name=new)
        self._tail.rename(old, new)
        self._rename_letters(old, new)

    def _move(self, key: WatchKey, cursor: Cursor | None, epoch: int | None, fingerprint: str | None) -> None:
        old = self._watches.get(key, EMPTY_WATCH)
        same = fingerprint is None or fingerprint == old.fingerprint
        self._watches[key] = WatchState(
            cursor or (old.cursor if same else None),
            old.epoch if epoch is None else epoch,
            old.fingerprint if fingerprint is None else fingerprint,
        )

    def _trim(self) -> None:
        if self._sinks:
            low = min(self._sinks.values())
            freed = self._tail.drop_through(low)
            if freed:
                start = self._tail.start
                self._trimmed_to = self._end if start is None else start - 1
                self._kept.drop_through(self._trimmed_to)
                self._room.leave(freed)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._room.fail(error)
        self._readers.unpark_all()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


def _place(request: SnapshotRequest) -> tuple[str, str, str]:
    return request.sink, request.stream, request.scope
