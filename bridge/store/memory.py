"""The log of an ad hoc `watch`: the same contract with nothing on disk; full means that intake waits."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import trio

from bridge.changes.change import Batch, Cursor, StreamInfo
from bridge.changes.reconcile import Known
from bridge.errors import BridgeError
from bridge.store.contract import LogIdentity, LogStats, WatchState, Work
from bridge.store.group import EMPTY_WATCH, WatchKey, batch_size, run_work
from bridge.store.layer import Layer
from bridge.store.positions import check_acknowledgement, check_cursor, check_kept
from bridge.store.room import Room
from bridge.store.tail import Tail

__all__ = ["MemoryInventory", "MemoryLog"]

_MANY: Final = 4096


class MemoryInventory:
    """Implements `bridge.changes.reconcile.Inventory` in memory."""

    def __init__(self) -> None:
        self._layer = Layer()
        self._gone = 0
        self._suspects: dict[bytes, str] = {}

    def get(self, key: bytes) -> Known | None:
        """See `Inventory.get`."""
        return self._layer.entries.get(key)

    def put(self, key: bytes, known: Known) -> None:
        """See `Inventory.put`."""
        self._layer.entries[key] = known
        if self._suspects:
            self._suspects.pop(key, None)

    def remove(self, key: bytes) -> None:
        """See `Inventory.remove`."""
        if self._layer.entries.get(key) is not None:
            self._layer.entries[key] = None
            self._gone += 1
            if self._gone > max(_MANY, len(self._layer) // 2):
                self._compact()
        self._suspects.pop(key, None)

    def scan(self, after: bytes, through: bytes | None) -> Iterator[tuple[bytes, Known]]:
        """See `Inventory.scan`. Entries written while it runs may be seen either way."""
        entries = self._layer.entries
        for key in self._layer.between(after, through):
            known = entries.get(key)
            if known is not None:
                yield key, known

    def suspect(self, key: bytes, listed_rv: str) -> None:
        """See `Inventory.suspect`."""
        self._suspects[key] = listed_rv

    def suspects(self, limit: int) -> list[tuple[bytes, Known, str]]:
        """See `Inventory.suspects`."""
        known = ((key, self.get(key), self._suspects[key]) for key in sorted(self._suspects))
        return [(key, entry, rv) for key, entry, rv in known if entry is not None][:limit]

    def _compact(self) -> None:
        """Forget names that are gone, or a cluster of short-lived objects would fill the memory."""
        layer = Layer()
        layer.entries.update((key, known) for key, known in self._layer.entries.items() if known is not None)
        self._layer = layer
        self._gone = 0


class MemoryLog:
    """Implements `bridge.store.contract.Log` in memory.

    A record is kept until every open sink has acknowledged it; before the first is opened, all are. When
    `memory_bytes` are used `append` waits.

    Attributes:
        identity: new for each.
    """

    def __init__(self, memory_bytes: int = 16 << 20) -> None:
        self.identity = LogIdentity(uuid4().hex, 1)
        self._room = Room(memory_bytes)
        self._tail = Tail()
        self._inventories: dict[str, MemoryInventory] = {}
        self._watches: dict[WatchKey, WatchState] = {}
        self._sinks: dict[str, int] = {}
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

    async def append(
        self,
        stream: StreamInfo,
        scope: str,
        work: Work,
        *,
        size: int,
        cursor: Cursor | None = None,
        epoch: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """See `Log.append`; the work runs before this returns."""
        await self._room.enter(size)
        inventory = self._inventories.get(stream.name)
        if inventory is None:
            inventory = self._inventories[stream.name] = MemoryInventory()
        try:
            changes = run_work(stream, work, inventory)
        except BridgeError as error:
            self._fail(error)
            raise
        kept = 0
        if changes:
            batch = Batch(self._end + 1, stream, changes, batch_size(changes))
            kept = batch.size
            self._tail.extend([batch])
            self._end = batch.last_position
            self._commits += 1
            self._readers.unpark_all()
        self._room.leave(size - kept)
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

    async def open_sink(self, name: str, fingerprint: str) -> int:
        """See `Log.open_sink`."""
        await trio.lowlevel.checkpoint()
        self._check()
        del fingerprint  # this log does not outlive a sink's destination
        start = self._tail.start
        return self._sinks.setdefault(name, self._end if start is None else start - 1)

    async def detach_sinks(self, keep: Collection[str]) -> None:
        """See `Log.detach_sinks`."""
        await trio.lowlevel.checkpoint()
        for name in [name for name in self._sinks if name not in keep]:
            del self._sinks[name]
        self._trim()

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
        )

    async def aclose(self) -> None:
        """See `Log.aclose`."""
        if self._error is None:
            self._fail(trio.ClosedResourceError("the log is closed"))
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

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
                self._room.leave(freed)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._room.fail(error)
        self._readers.unpark_all()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
