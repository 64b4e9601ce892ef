"""Everything that the writer's thread does with the file; knows nothing of threads, tasks or time limits.

```
prepare   appends -> one sealed group, computed once and kept until it is committed
commit    the group, acknowledged cursors and what can be trimmed, in one transaction
persist   the same without a group
amend     anything else, and records that no append has made
fold_step one chunk of the inventory's table
rows      what a reader that lags asks for
```
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from bridge.changes.change import Batch, Change, Cursor
from bridge.changes.reconcile import Known, object_key
from bridge.errors import InvariantError
from bridge.faults import crash_point
from bridge.store import tables
from bridge.store.codec import RowDecoder, RowEncoder
from bridge.store.contract import OpenedSink, WatchState
from bridge.store.database import Database
from bridge.store.failures import Full
from bridge.store.fold import Fold
from bridge.store.group import Addition, Append, Group, Sealed, WatchKey, seal_additions
from bridge.store.inventory import Inventories
from bridge.store.meta import Meta
from bridge.store.opening import begin, count, recover
from bridge.store.positions import check_kept
from bridge.store.routes import Routes
from bridge.store.sinks import SinkCursors
from bridge.store.space import Budget, Space
from bridge.store.tail import StoredRow
from bridge.store.trim import Trimmed, trim

__all__ = ["Journal"]

_OVERLAY: Final = 65_536
"""Inventory entries in memory (some 16 MB) after which they are folded, whatever the log's size."""
_TRIM_EVERY: Final = 8
"""Commits between two trims: several rows at a time cost the pages of one."""


class Journal:
    """An open log, synchronous; for one thread at a time.

    Args:
        database: an open file.
        budget: shares of `state.maxBytes`.

    Attributes:
        identity: which log, which opening.
        incarnations: of each remembered opening, by number: what follows the last record before it.
        first: first position of this opening.
        end: position of the newest committed record.
        trimmed_to: records up to here may be gone; a reader may not start below it.
        sealed: the group that is being committed, or None.
        sinks: where each sink is.
        kept: what the log holds.
        limit_bytes: what `kept.stored` may grow to, about.
        routes, encoder, decoder: how rows are read and written.
        watches, inventories: what is durably known; whoever renames a stream changes them too.
        overlay: inventory entries in memory.
    """

    def __init__(self, database: Database, budget: Budget) -> None:
        self._database = database
        self.connection = self._connection = database.connection
        self.space = Space(database, budget)
        self._begin()
        self.encoder = RowEncoder()
        self.inventories, self.routes = Inventories(self._connection), Routes(self._connection)
        self.decoder = RowDecoder()
        self.watches, self._debt = recover(
            database, self.decoder, self.inventories, self.routes.by_number, self.meta.folded_at
        )
        self._moved: dict[WatchKey, Cursor] = {}
        self.moved_since: float | None = None
        self.sinks = SinkCursors(self._connection)
        self.sealed: Sealed | None = None
        self._fold: Fold | None = None
        self._commits_since_trim = 0
        self._stripped_to = 0
        self._swept = (0, 0)
        self.kept = count(database, self.decoder)
        self.limit_bytes = self.kept.stored + self.space.left()
        newest = tables.newest_record(self._connection)
        # Where all is trimmed, whoever has most has everything.
        self.end = self.sinks.highest(self.first - 1) if newest is None else newest
        self.trimmed_to = self.sinks.lowest(self._before_oldest())

    # What callers ask between transactions.

    @property
    def next(self) -> int:
        """Where the first record that the next `amend` adds will stand."""
        return self._next

    @property
    def overlay(self) -> int:
        """Inventory entries in memory that no fold has begun to write."""
        return self.inventories.overlay_size()

    @property
    def trimmable(self) -> bool:
        """The bounds of trimming have moved since the last sweep, or that left some."""
        return (self._low(), self.meta.folded_at) != self._swept

    @property
    def folding(self) -> bool:
        """A fold has more chunks to write."""
        return self._fold is not None

    def claim(self, cluster: str, trust: str | None = None) -> None:
        """This log belongs to that cluster from now on; durable before any record of it is.

        Args:
            cluster: its uid.
            trust: what vouches for it now, if anything does.

        Raises:
            StateError: it belongs to another one.
        """
        self.meta.claim(cluster, trust, self._database.path.parent)

    def watch_state(self, stream: str, scope: str) -> WatchState | None:
        """Durable state of a watch."""
        return self.watches.get((stream, scope))

    def watch_states(self, stream: str) -> dict[str, WatchState]:
        """Durable states of all watches of a stream, by scope."""
        return {scope: state for (name, scope), state in self.watches.items() if name == stream}

    def known(self, stream: str, change: Change) -> tuple[Known | None, int]:
        """What is known of a change's object, and how often its server's revisions went backwards."""
        key = object_key(change.namespace, change.name)
        return self.inventories.of(stream).get(key), self.epoch(stream, change.namespace)

    def epoch(self, stream: str, namespace: str | None = None) -> int:
        """The highest epoch of a stream's watches, or of those that see a namespace."""
        return max(
            (
                state.epoch
                for (name, scope), state in self.watches.items()
                if name == stream and (namespace is None or scope in ("", namespace))
            ),
            default=0,
        )

    def attach_sink(self, name: str, fingerprint: str, acknowledged: int | None) -> OpenedSink:
        """Where a sink reads on; from now on it holds back trimming.

        Args:
            name: of the sink.
            fingerprint: of its destination.
            acknowledged: what it has acknowledged in this process, if it is opened again.
        """
        if acknowledged is not None:
            self.sinks.note({name: acknowledged})
        existed = bool(self.watches) or self.kept.rows > 0 or self.end >= self.first
        return self.sinks.attach(name, fingerprint, self._before_oldest(), self.trimmed_to, existed=existed)

    def rows(self, after: int, max_bytes: int) -> list[StoredRow]:
        """Committed rows with records behind `after`, oldest first; the first may begin before it.

        Raises:
            StateError: records behind `after` were trimmed.
            LogError: the disk fails.
        """
        check_kept(after, self.trimmed_to)
        with self._database.guard():
            return [
                StoredRow(position, self.routes.by_number[number], size, ids, body)
                for position, number, size, ids, body in tables.read_rows(self._connection, after, max_bytes)
            ]

    # Transactions.

    def prepare(self, jobs: Sequence[Append], *, force: bool) -> int:
        """Run the work of appends and keep the result as `sealed`; returns the number of records.

        Args:
            jobs: in log order.
            force: cursors that only moved become durable too.

        Raises:
            InvariantError: work raised, or an earlier group is still waiting.
        """
        if self.sealed is not None:
            raise InvariantError("the log was given new work before the group before it was committed")
        group = Group(self.inventories, self._moved, self.watches)
        with self._database.guard():
            for job in jobs:
                group.run(job)
        self.sealed = group.seal(self._next, self.routes, self.encoder, force=force)
        return group.records

    def commit(self) -> list[Batch]:
        """Make the sealed group durable; returns what readers may now see.

        Raises:
            Full: no room; the group stays sealed, to be tried again.
            LogError: the storage failed.
        """
        sealed = self.sealed
        if sealed is None:
            return []
        doubts = self.inventories.doubts()
        if sealed.rows or sealed.table or sealed.fulfilled or doubts:
            self.meta.reserve(sealed.end)
            self.space.allow(self.space.budget.soft)
            self._commits_since_trim += 1
            with self._database.transaction():
                self._write_group(sealed)
                tables.write_doubts(self._connection, doubts)
                tables.forget_requests(self._connection, sealed.fulfilled)
                self._write_upkeep()
                trimmed = self._trim() if self.trimmable and self._commits_since_trim >= _TRIM_EVERY else None
                crash_point("log.grouped")
            self._upkeep_written(trimmed)
        self._group_written(sealed)
        return sealed.batches

    def persist(self) -> bool:
        """Make acknowledged cursors durable, and trim. Returns whether anything was given back.

        Raises as `commit`.
        """
        if not self.trimmable and self.sinks.dirty_since is None and not self.meta.dirty:
            return False
        self.space.allow(self.space.budget.hard)
        with self._database.transaction():
            self._write_upkeep()
            trimmed = self._trim()
        self._upkeep_written(trimmed)
        return trimmed.stored > 0

    def amend(
        self, work: Callable[[sqlite3.Connection], Sequence[Addition]], *, pages: int, trimming: bool = False
    ) -> None:
        """One transaction beside the appends; what it adds comes before a group that waits for room.

        Args:
            work: writes what it likes, and returns the records that are added.
            pages: what the main file may grow to.
            trimming: give back what the sinks' cursors allow, before the records are written.

        Raises as `commit`; then nothing has happened.
        """
        self.space.allow(pages)
        with self._database.transaction() as connection:
            additions = work(connection)
            trimmed = self._trim() if trimming else None
            added = seal_additions(self._next, additions, self.routes, self.encoder)
            if added.rows:
                self.meta.reserve(added.end)
                self._write_rows(added)
            self._write_upkeep()
        self._upkeep_written(trimmed)
        places = added.end + 1 - self._next
        self._rows_written(added)
        if self.sealed is not None:
            self.sealed = self.sealed.moved_by(places)

    def fold_due(self) -> bool:
        """Enough has gathered behind the last fold."""
        return self._fold is None and (self._debt >= self.space.budget.fold or self.overlay >= _OVERLAY)

    @property
    def fold_lags(self) -> bool:
        """So much has gathered during a fold that the next is due already."""
        return self._fold is not None and (self._debt >= self.space.budget.fold or self.overlay >= _OVERLAY)

    def fold_step(self) -> bool:
        """Write one chunk of the fold, begun if need be. Returns whether that was the last.

        Raises as `commit`.
        """
        if self._fold is None:
            self._fold = Fold(self.inventories, self._next - 1)
            self._debt = 0
        self.space.allow(self.space.budget.hard)
        with self._database.transaction() as connection:
            last = self._fold.write_chunk(connection)
            if last:
                tables.write_watches(self._connection, self.watches, self._next - 1)
                self.meta.write_folded(self._fold.target)
            crash_point("log.folded")
        self._fold.committed()
        if last:
            self.meta.folded_at = self._fold.target
            self.inventories.folded()
            self._fold = None
        return last

    def look(self) -> None:
        """What is looked at each second: how much room is left, and the WAL.

        Raises as `commit`.
        """
        self.limit_bytes = self.kept.stored + self.space.left()
        self._database.watch_wal()
        self.space.restore()

    def fold_helps(self) -> bool:
        """Rows are kept only because the inventory's table does not say the same yet."""
        return self.kept.rows > 0 and self._low() > self.meta.folded_at

    # Details.

    def _begin(self) -> None:
        try:
            opened = begin(self._database)
        except Full:
            self.space.exhausted(0)
            opened = begin(self._database)
        self.identity = opened.identity
        self.incarnations = opened.incarnations
        self.first = self._next = opened.first
        self.meta = Meta(self._connection, opened.meta)

    def _write_rows(self, sealed: Sealed) -> None:
        self.routes.write(self._connection, {row[3] for row in sealed.rows})
        tables.insert_rows(self._connection, sealed.rows)

    def _write_group(self, sealed: Sealed) -> None:
        self._write_rows(sealed)
        tables.write_watches(self._connection, {key: sealed.watches[key] for key in sealed.table}, sealed.end)

    def _group_written(self, sealed: Sealed) -> None:
        self.sealed = None
        self.inventories.committed()
        self.watches.update(sealed.watches)
        self._moved = sealed.moved
        self.moved_since = (self.moved_since or time.monotonic()) if sealed.moved else None
        self._rows_written(sealed)

    def _rows_written(self, sealed: Sealed) -> None:
        self.routes.written({row[3] for row in sealed.rows})
        self._next = sealed.end + 1
        self._debt += sealed.debt
        self.kept.written(sealed)
        if sealed.batches:
            self.end = sealed.batches[-1].last_position

    def _write_upkeep(self) -> None:
        if self.sinks.dirty_since is not None:
            self.sinks.write(self._connection)
        self.meta.write()

    def _upkeep_written(self, trimmed: Trimmed | None) -> None:
        self.sinks.written()
        self.meta.written()
        if trimmed is not None:
            self._commits_since_trim = 0
            self._stripped_to = trimmed.stripped_to
            if not trimmed.more:
                self._swept = (self._low(), self.meta.folded_at)
            self.trimmed_to = max(self.trimmed_to, trimmed.last)
            self.kept.trimmed(trimmed)

    def _trim(self) -> Trimmed:
        trimmed = trim(self._connection, self.sinks, self._low(), self.meta.folded_at, self._stripped_to)
        if self.sinks.missed(trimmed.last):
            self.sinks.write(self._connection)
        return trimmed

    def _low(self) -> int:
        return self.sinks.low(self.end, self._next - 1)

    def _before_oldest(self) -> int:
        oldest = tables.oldest_record(self._connection)
        return self.end if oldest is None else oldest - 1
