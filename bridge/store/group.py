"""What will be committed together: appends become rows of the log. Prepared once, however often written."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from bridge.changes.change import Batch, Change, Cursor, StreamInfo
from bridge.changes.reconcile import Inventory
from bridge.errors import BridgeError, InvariantError
from bridge.store.codec import RowEncoder
from bridge.store.contract import SnapshotRequest, WatchState, Work
from bridge.store.inventory import Inventories, ReadOnly
from bridge.store.layer import Entries
from bridge.store.routes import Route, Routes

__all__ = [
    "EMPTY_WATCH",
    "WRITE_DEBT",
    "Addition",
    "Append",
    "Group",
    "Sealed",
    "WatchKey",
    "batch_size",
    "run_work",
    "seal_additions",
]

WatchKey = tuple[str, str]
"""Stream and scope."""

Addition = tuple[Route, Sequence[Change]]
"""A row of records that no append has made."""

EMPTY_WATCH: Final = WatchState(None, 0, "")
_ROW_BYTES: Final = 1 << 20
"""Objects in one row, about; a single larger one is alone in its row."""
_CHANGE_BYTES: Final = 256
"""What a change holds in memory beside its object, about."""
WRITE_DEBT: Final = 100
"""Bytes that folding one inventory write may add to the table, about."""


class Append(NamedTuple):
    """One call of `Log.append`, waiting for the writer.

    Attributes:
        since: when it was accepted, seconds of the monotonic clock.
        audience: the one sink that is meant, or "" for all.
        fulfils: requests that are forgotten with it.
    """

    stream: StreamInfo
    scope: str
    work: Work
    size: int
    cursor: Cursor | None
    epoch: int | None
    fingerprint: str | None
    since: float
    audience: str = ""
    fulfils: Sequence[SnapshotRequest] = ()


class _Draft:
    """A row being filled."""

    __slots__ = ("audience", "changes", "cursors", "size", "stream", "writes")

    def __init__(self, stream: StreamInfo, audience: str) -> None:
        self.stream = stream
        self.audience = audience
        self.changes: list[Change] = []
        self.size = 0
        self.writes = Entries()
        self.cursors: dict[str, Cursor] = {}


class Sealed(NamedTuple):
    """A group with its positions, ready to be written; writing it twice would write the same.

    Attributes:
        rows: position, count, size, stream's number, cursors, ids, body of each row.
        batches: what readers get once it is committed.
        end: last position used, also by rows without changes.
        watches: state of each watch that it moves.
        table: those of them that must be written to the table `watch` too.
        moved: cursors that moved without a row to carry them; kept for later.
        stored: bytes of the packed columns.
        debt: bytes that are kept for the fold, and that the fold may add to the inventory's table.
        fulfilled: requests that are forgotten with it.
    """

    rows: list[tuple[int, int, int, int, bytes | None, bytes, bytes]]
    batches: list[Batch]
    end: int
    watches: dict[WatchKey, WatchState]
    table: list[WatchKey]
    moved: dict[WatchKey, Cursor]
    stored: int
    debt: int
    fulfilled: Sequence[SnapshotRequest] = ()

    def moved_by(self, places: int) -> "Sealed":
        """The same behind records that were added before it; nobody has seen its positions yet."""
        return self._replace(
            rows=[(row[0] + places, *row[1:]) for row in self.rows],
            batches=[
                msgspec.structs.replace(batch, position=batch.position + places) for batch in self.batches
            ],
            end=self.end + places,
        )


class Group:
    """Appends in log order, until `seal`.

    Args:
        inventories: what works read and write.
        moved: cursors of earlier groups that no row has carried yet.
        watches: committed state of all watches.
    """

    def __init__(
        self,
        inventories: Inventories,
        moved: Mapping[WatchKey, Cursor],
        watches: Mapping[WatchKey, WatchState],
    ) -> None:
        self._inventories = inventories
        self._watches = watches
        self._drafts: list[_Draft] = []
        self._open: dict[str, _Draft] = {}
        self._moved = dict(moved)
        self._declared: dict[WatchKey, WatchState] = {}
        self._fulfilled: list[SnapshotRequest] = []
        self.records = 0

    def run(self, job: Append) -> None:
        """Run the work of one append.

        Raises:
            InvariantError: the work raised; the log must end, since its reader may have lost the place.
        """
        draft = self._draft(job.stream, job.audience)
        inventory = self._inventories.prepare(job.stream.name, draft.writes)
        changes = run_work(job.stream, job.work, ReadOnly(inventory) if job.audience else inventory)
        self._fulfilled.extend(job.fulfils)
        draft.changes.extend(changes)
        draft.size += batch_size(changes)
        self.records += len(changes)
        if job.epoch is not None or job.fingerprint is not None:
            self._declare((job.stream.name, job.scope), job.epoch, job.fingerprint)
        if job.cursor is not None:
            draft.cursors[job.scope] = job.cursor

    def seal(self, first: int, routes: Routes, encoder: RowEncoder, *, force: bool) -> Sealed:
        """Give positions from `first` on, and pack.

        Args:
            first: the next free position.
            routes: gives the numbers that rows refer to.
            encoder: packs the rows.
            force: also what only moved a cursor becomes durable with this group.
        """
        sealed = Sealed([], [], first - 1, {}, [], self._moved, 0, 0)
        latest: dict[WatchKey, Cursor] = dict(self._moved)
        end, stored, debt = first - 1, 0, 0
        for draft in self._drafts:
            latest.update({(draft.stream.name, scope): cursor for scope, cursor in draft.cursors.items()})
            if not draft.changes and not draft.writes:
                sealed.moved.update({(draft.stream.name, scope): c for scope, c in draft.cursors.items()})
                continue
            cursors = self._carried(draft)
            packed = encoder.pack(draft.changes, draft.writes, cursors)
            position, count = end + 1, len(draft.changes)
            end += max(count, 1)
            stored += len(packed.ids) + len(packed.body)
            debt += len(packed.ids) + WRITE_DEBT * len(draft.writes)
            number = routes.number(Route(draft.stream, draft.audience))
            sealed.rows.append((position, count, draft.size, number, *packed))
            if count:
                sealed.batches.append(
                    Batch(position, draft.stream, draft.changes, draft.size, draft.audience)
                )
        forced = list(sealed.moved) if force else []
        table = list(dict.fromkeys([*self._declared, *forced]))
        for key in table:
            sealed.moved.pop(key, None)
        states = self._states({key: c for key, c in latest.items() if key not in sealed.moved})
        return sealed._replace(
            end=end, watches=states, table=table, stored=stored, debt=debt, fulfilled=self._fulfilled
        )

    def _draft(self, stream: StreamInfo, audience: str) -> _Draft:
        """The row that the stream's next changes go into; another audience begins one, to keep the order."""
        draft = self._open.get(stream.name)
        if (
            draft is None
            or draft.size >= _ROW_BYTES
            or draft.audience != audience
            or (draft.stream is not stream and draft.stream != stream)
        ):
            draft = self._open[stream.name] = _Draft(stream, audience)
            self._drafts.append(draft)
        return draft

    def _carried(self, draft: _Draft) -> dict[str, Cursor]:
        """The cursors that a row makes durable: its own, and those of its stream that had only moved."""
        name = draft.stream.name
        waiting = {key: cursor for key, cursor in self._moved.items() if key[0] == name}
        for key in waiting:
            del self._moved[key]
        return {scope: cursor for (_, scope), cursor in waiting.items()} | draft.cursors

    def _declare(self, key: WatchKey, epoch: int | None, fingerprint: str | None) -> None:
        old = self._declared.get(key) or self._watches.get(key, EMPTY_WATCH)
        new = WatchState(
            old.cursor,
            old.epoch if epoch is None else epoch,
            old.fingerprint if fingerprint is None else fingerprint,
        )
        if new.fingerprint != old.fingerprint:  # another collection: its cursor is not the old one's
            new = WatchState(None, new.epoch, new.fingerprint)
            self._moved.pop(key, None)
            for draft in self._drafts:
                if draft.stream.name == key[0]:
                    draft.cursors.pop(key[1], None)
        self._declared[key] = new

    def _states(self, latest: Mapping[WatchKey, Cursor]) -> dict[WatchKey, WatchState]:
        states: dict[WatchKey, WatchState] = {}
        for key in [*latest, *self._declared]:
            old = self._declared.get(key) or self._watches.get(key, EMPTY_WATCH)
            states[key] = WatchState(latest.get(key, old.cursor), old.epoch, old.fingerprint)
        return states


def seal_additions(first: int, additions: Sequence[Addition], routes: Routes, encoder: RowEncoder) -> Sealed:
    """Rows from position `first` on that no append has made: they write nothing to the inventory."""
    sealed = Sealed([], [], first - 1, {}, [], {}, 0, 0)
    end, stored, debt = first - 1, 0, 0
    for route, changes in additions:
        packed = encoder.pack(changes, {}, {})
        size = batch_size(changes)
        sealed.rows.append((end + 1, len(changes), size, routes.number(route), *packed))
        sealed.batches.append(Batch(end + 1, route.stream, changes, size, route.audience))
        end += len(changes)
        stored += len(packed.ids) + len(packed.body)
        debt += len(packed.ids)
    return sealed._replace(end=end, stored=stored, debt=debt)


def run_work(stream: StreamInfo, work: Work, inventory: Inventory) -> Sequence[Change]:
    """Run work against an inventory.

    Raises:
        InvariantError: the work raised; whatever it was, going on would leave a hole in the log.
    """
    try:
        return work(inventory)
    except (BridgeError, sqlite3.Error):
        raise
    except Exception as error:
        raise InvariantError(
            f"stream {stream.name}: computing changes failed ({type(error).__name__}: {error})"
        ) from error


def batch_size(changes: Sequence[Change]) -> int:
    """Bytes that changes hold in memory, for bounds."""
    return sum([len(change.object) for change in changes]) + _CHANGE_BYTES * len(changes)
