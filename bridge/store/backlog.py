"""Moving a sink to the end of the log without losing a deletion (`Backlogs.drop_backlog`).

Each transaction takes some rows: it moves the sink behind them, gives back what nobody needs any more, and
adds what they say of deletions at the end, in the room that this makes. The first one also adds the RESYNC
records and the requests for snapshots. Until the last one the sink's row says what is left (`Dropping`),
and whoever opens the log finishes that before anybody reads: no sink sees a part of it.
"""

import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from bridge.changes.change import Change, StreamInfo
from bridge.faults import crash_point
from bridge.store import tables
from bridge.store.amend import insist
from bridge.store.checks import closed_to
from bridge.store.contract import Dropped, OpenedSink, Refused, SnapshotRequest
from bridge.store.dropped import Share, Tally, begin_records, dropped
from bridge.store.group import Addition
from bridge.store.journal import Journal
from bridge.store.routes import Route

__all__ = ["attach", "drop", "finish"]

_ROWS: Final = 64
"""Rows that one transaction takes, as many as it can give back (`bridge.store.trim`)."""
_RECORDS: Final = 20_000
"""Records in them at most, or little more: what is in memory at once."""
_ROW_RECORDS: Final = 1000
"""Deletions in one new row at most."""


class Dropping(msgspec.Struct, frozen=True):
    """What is left of a drop: everything behind the sink's position.

    Attributes:
        through: the last position that is dropped.
        streams: names of the streams that the sink selects, or None for all.
    """

    through: int
    streams: list[str] | None


def attach(
    journal: Journal,
    name: str,
    fingerprint: str,
    acknowledged: int | None,
    takes: Collection[str] = (),
    leaves_out: Collection[str] = (),
    skips: Collection[str] = (),
) -> OpenedSink:
    """Open a sink; a drop that was cut off is finished first. Raises as `drop`, having opened nothing."""
    before = journal.sinks.attached(name)
    opened = journal.attach_sink(name, fingerprint, acknowledged)
    if journal.sinks[name].dropping is not None:
        try:
            _finish(journal, name)
        except Refused:
            if not before:
                journal.sinks.detach(name, 0)  # nobody would deal with what it holds back
            raise
        opened = msgspec.structs.replace(opened, position=journal.sinks[name].position)
    return msgspec.structs.replace(opened, missed=journal.sinks.select(name, takes, leaves_out, skips))


def finish(journal: Journal) -> None:
    """After opening: finish what was cut off. Where there is no room, opening the sink tries again."""
    for name in journal.sinks.unfinished():
        with suppress(Refused):
            _finish(journal, name)


def drop(
    journal: Journal, name: str, streams: Collection[str] | None, owed: Sequence[SnapshotRequest]
) -> Dropped:
    """See `Backlogs.drop_backlog`.

    Raises:
        Refused: the sink is not open, or there is no room; a part may be dropped, and its snapshots owed.
    """
    if not journal.sinks.attached(name):
        raise closed_to(name)
    if journal.sinks[name].dropping is not None:
        _finish(journal, name)
    chosen = None if streams is None else sorted(streams)
    todo = Dropping(journal.end, chosen)
    tallies = _count(journal, name, todo)
    for info in journal.routes.latest():
        if info.name not in tallies and info.name in {*(chosen or ()), *(one.stream for one in owed)}:
            tallies[info.name] = Tally(info)
    first: list[Addition] = []
    now = time.time_ns() // 1000
    for tally in tallies.values():
        wanted = [one for one in owed if one.stream == tally.stream.name]
        epoch = journal.epoch(tally.stream.name)
        first.append((Route(tally.stream, name), begin_records(tally, wanted, now, epoch)))
    _steps(journal, name, todo, first, owed)
    return dropped(tallies, journal.sinks[name].position)


def _finish(journal: Journal, name: str) -> None:
    todo = msgspec.json.decode(journal.sinks[name].dropping or "", type=Dropping)
    _steps(journal, name, todo, (), ())


def _count(journal: Journal, name: str, todo: Dropping) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    after = journal.sinks[name].position
    for rows in _chunks(journal, after, todo.through):
        for route, share in _selected(journal, rows, name, todo.streams, after):
            tallies.setdefault(route.stream.name, Tally(route.stream)).count(route.stream, share)
    return tallies


def _steps(
    journal: Journal,
    name: str,
    todo: Dropping,
    first: Sequence[Addition],
    owed: Sequence[SnapshotRequest],
) -> None:
    """One transaction for each chunk of rows, or one at all."""
    while not _step(journal, name, todo, first, owed):
        first, owed = (), ()


def _step(
    journal: Journal,
    name: str,
    todo: Dropping,
    first: Sequence[Addition],
    owed: Sequence[SnapshotRequest],
) -> bool:
    """The next transaction; returns whether it was the last. Raises `Refused` having changed nothing."""
    cursor = journal.sinks[name]
    rows = next(_chunks(journal, cursor.position, todo.through), [])
    last = not rows or _last(rows[-1]) >= todo.through
    selected = _selected(journal, rows, name, todo.streams, cursor.position)
    additions = [*first, *_rows_of(selected, name)]

    def write(connection: sqlite3.Connection) -> Sequence[Addition]:
        tables.insert_requests(connection, owed)
        crash_point("log.dropped")
        return additions

    before = cursor.position, cursor.dropping
    cursor.position = max(cursor.position, todo.through) if last else _last(rows[-1])
    cursor.dropping = None if last else msgspec.json.encode(todo).decode()
    journal.sinks.touch(name)
    try:
        with journal.sinks.owing(owed):
            insist(journal, write, trimming=True)
    except BaseException:
        cursor.position, cursor.dropping = before
        raise
    return last


def _chunks(journal: Journal, after: int, through: int) -> Iterator[list[tables.IdsRow]]:
    """Rows with records behind `after`, as many at once as one transaction takes."""
    while rows := tables.read_ids(journal.connection, after, through, _ROWS):
        size = 0
        for index, row in enumerate(rows):
            size += row[1]
            if size >= _RECORDS:
                del rows[index + 1 :]
        yield rows
        after = _last(rows[-1])


def _selected(
    journal: Journal, rows: Sequence[tables.IdsRow], name: str, streams: Collection[str] | None, after: int
) -> Iterator[tuple[Route, Share]]:
    """Of each row that the sink would have been given: what to tell of its records behind `after`."""
    for position, _, number, ids in rows:
        route = journal.routes.by_number[number]
        if route.audience in ("", name) and (streams is None or route.stream.name in streams):
            yield route, journal.decoder.share(position, ids, after)


def _rows_of(selected: Iterator[tuple[Route, Share]], name: str) -> Iterator[Addition]:
    gathered: dict[StreamInfo, list[Change]] = {}
    for route, share in selected:
        gathered.setdefault(route.stream, []).extend(share.deletions)
    for stream, changes in gathered.items():
        for start in range(0, len(changes), _ROW_RECORDS):
            yield Route(stream, name), changes[start : start + _ROW_RECORDS]


def _last(row: tables.IdsRow) -> int:
    return row[0] + row[1] - 1
