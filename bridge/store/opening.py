"""What a log finds when it is opened: who it is, which positions are free, what was left unfolded."""

import sqlite3
import time
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from bridge.store.codec import RowDecoder
from bridge.store.contract import LogIdentity, WatchState
from bridge.store.database import Database
from bridge.store.group import EMPTY_WATCH, WRITE_DEBT, WatchKey
from bridge.store.inventory import Inventories
from bridge.store.kept import Kept
from bridge.store.routes import Route
from bridge.store.tables import count_kept, newest_record, read_watches, write_meta

__all__ = ["RESERVED", "Opened", "begin", "count", "recover"]

RESERVED: Final = 1_000_000
"""Positions reserved by one commit; none is used twice, even if the file comes back from a backup."""

_INCARNATIONS: Final = 1000
"""Openings remembered, so that a cursor kept outside can be held against them."""

_ROWS: Final = 100
_TIMES: Final = 1000
"""Rows whose time is looked up: the age of what a sink lags by is true to a thousandth of the backlog."""


class Opened(NamedTuple):
    """The log's identity and its free positions, durably reserved.

    Attributes:
        identity: with the incarnation of this opening.
        first: first position of this incarnation.
        incarnations: of each opening that is remembered, by number: what follows the last record before it.
        meta: the table `meta`.
    """

    identity: LogIdentity
    first: int
    incarnations: dict[int, int]
    meta: dict[str, str]


class Recovered(NamedTuple):
    """What the rows behind the fold say.

    Attributes:
        watches: state of each watch.
        debt: bytes that the next fold has to work off.
    """

    watches: dict[WatchKey, WatchState]
    debt: int


def begin(database: Database) -> Opened:
    """Reserve an incarnation and positions, in one commit, before anything else is written.

    The number of an incarnation is a time in milliseconds where that is greater: a file that was
    restored from a backup does not repeat the numbers of the life it lost. What stands beside it bounds the
    openings before: a file that was copied while it was open shares its last opening with the life it lost.

    Raises `Full` or `LogError`.
    """
    with database.transaction() as connection:
        meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        meta.setdefault("log_id", uuid4().hex)
        first = int(meta.get("reserved", "0")) + 1
        meta["reserved"] = str(first + RESERVED - 1)
        newest = connection.execute("SELECT coalesce(max(number), 0) FROM incarnation").fetchone()[0]
        number = max(newest + 1, time.time_ns() // 1_000_000)
        connection.execute(
            "INSERT INTO incarnation (number, first) VALUES (?, ?)", (number, _given_out(connection) + 1)
        )
        connection.execute(
            "DELETE FROM incarnation WHERE number NOT IN"
            " (SELECT number FROM incarnation ORDER BY number DESC LIMIT ?)",
            (_INCARNATIONS,),
        )
        write_meta(connection, meta)
        incarnations = dict(
            connection.execute("SELECT number, first FROM incarnation ORDER BY number").fetchall()
        )
    return Opened(LogIdentity(meta["log_id"], number), first, incarnations, meta)


def _given_out(connection: sqlite3.Connection) -> int:
    """The last position that any sink can have been handed; where all is trimmed, whoever has most has it."""
    (handed,) = connection.execute("SELECT coalesce(max(position), 0) FROM sink").fetchone()
    return max(newest_record(connection) or 0, int(handed))


def recover(
    database: Database,
    decoder: RowDecoder,
    inventories: Inventories,
    routes: Mapping[int, Route],
    folded_at: int,
) -> Recovered:
    """Lay the log behind the fold over the inventory's table, and find where each watch was.

    Raises:
        StateError: a row is damaged.
    """
    watches, at = read_watches(database.connection)
    debt, position = 0, folded_at
    while True:
        rows = database.connection.execute(
            "SELECT position, stream, cursors, ids FROM log WHERE position > ? ORDER BY position LIMIT ?",
            (position, _ROWS),
        ).fetchall()
        for position, number, cursors, ids in rows:
            stream = routes[number].stream.name
            writes = decoder.effects(position, ids)
            inventories.of(stream).overlay.entries.update(writes)
            debt += len(ids) + WRITE_DEBT * len(writes)
            for scope, cursor in decoder.cursors(position, cursors).items():
                if position > at.get((stream, scope), 0):
                    state = watches.get((stream, scope), EMPTY_WATCH)
                    watches[stream, scope] = msgspec.structs.replace(state, cursor=cursor)
        if len(rows) < _ROWS:
            return Recovered(watches, debt)


def count(database: Database, decoder: RowDecoder) -> Kept:
    """What the log holds. Of a large backlog only some rows are asked when they were read.

    Raises:
        StateError: a row is damaged.
    """
    kept = Kept()
    kept.rows, kept.stored = count_kept(database.connection)
    rows = database.connection.execute(
        "SELECT position, count, length(ids) + length(body) FROM log WHERE count > 0 ORDER BY position"
    ).fetchall()
    step = max(1, len(rows) // _TIMES)
    oldest = 0
    for number, (position, records, stored) in enumerate(rows):
        if number % step == 0:
            (ids,) = database.connection.execute(
                "SELECT ids FROM log WHERE position = ?", (position,)
            ).fetchone()
            oldest = decoder.first_time(position, ids)
        kept.add(position, records, stored, oldest)
        kept.records += records
    return kept
