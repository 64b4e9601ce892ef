"""The statements on the log's tables; each runs in whatever transaction the caller has open."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from bridge.changes.change import Cursor
from bridge.store.contract import SnapshotRequest, WatchState
from bridge.store.group import WatchKey

__all__ = [
    "IdsRow",
    "count_kept",
    "forget_orphans",
    "forget_requests",
    "forget_watches",
    "insert_requests",
    "insert_rows",
    "newest_record",
    "note_orphans",
    "oldest_record",
    "read_ids",
    "read_orphans",
    "read_requests",
    "read_rows",
    "read_watches",
    "rename_requests",
    "write_doubts",
    "write_kept_as",
    "write_watches",
]


IdsRow = tuple[int, int, int, bytes]
"""Position, count, route's number and ids of a row."""


def insert_rows(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows of the log, in the order of its columns."""
    if rows:
        connection.executemany(
            "INSERT INTO log (position, count, size, stream, cursors, ids, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


_BEHIND: Final = (
    " FROM log WHERE count > 0 AND position + count > ?1"
    " AND position >= coalesce((SELECT max(position) FROM log WHERE position <= ?1 AND count > 0), 0)"
)
"""Rows with records from a position on; the first may begin before it."""


def read_rows(connection: sqlite3.Connection, after: int, max_bytes: int) -> list[tuple[Any, ...]]:
    """Position, stream, size, ids and body of rows with records behind `after`; the first may begin before.

    At least one, if there is any; then no more than `max_bytes` of unpacked size, or little more.
    """
    found: list[tuple[Any, ...]] = []
    size = 0
    cursor = connection.execute(
        f"SELECT position, stream, size, ids, body{_BEHIND} ORDER BY position", (after + 1,)
    )
    for row in cursor:
        found.append(row)
        size += row[2]
        if size >= max_bytes:
            break
    cursor.close()  # an unfinished SELECT would block checkpoints
    return found


def read_ids(connection: sqlite3.Connection, after: int, through: int, limit: int) -> list[IdsRow]:
    """Position, count, stream and ids of at most `limit` rows behind `after` that begin within `through`."""
    return connection.execute(
        f"SELECT position, count, stream, ids{_BEHIND} AND position <= ? ORDER BY position LIMIT ?",
        (after + 1, through, limit),
    ).fetchall()


def oldest_record(connection: sqlite3.Connection) -> int | None:
    """Position of the first record kept."""
    row = connection.execute("SELECT position FROM log WHERE count > 0 ORDER BY position LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def newest_record(connection: sqlite3.Connection) -> int | None:
    """Position of the last record kept."""
    row = connection.execute(
        "SELECT position + count - 1 FROM log WHERE count > 0 ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return None if row is None else int(row[0])


def count_kept(connection: sqlite3.Connection) -> tuple[int, int]:
    """Rows, packed bytes."""
    rows, stored = connection.execute(
        "SELECT count(*), coalesce(sum(length(ids) + length(body)), 0) FROM log"
    ).fetchone()
    return rows, stored


def write_meta(connection: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Small facts of the log, by name."""
    connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", sorted(facts.items()))


def write_watches(
    connection: sqlite3.Connection, watches: Mapping[WatchKey, WatchState], position: int
) -> None:
    """State of watches as it is at `position`."""
    if watches:
        connection.executemany(
            "INSERT OR REPLACE INTO watch (stream, scope, epoch, fingerprint, at, cursor)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*key, state.epoch, state.fingerprint, position, _pack_cursor(state.cursor))
                for key, state in sorted(watches.items())
            ],
        )


def read_watches(
    connection: sqlite3.Connection,
) -> tuple[dict[WatchKey, WatchState], dict[WatchKey, int]]:
    """Each watch's state, and the position from which rows of the log know better."""
    rows = connection.execute("SELECT stream, scope, cursor, epoch, fingerprint, at FROM watch").fetchall()
    watches: dict[WatchKey, WatchState] = {}
    positions: dict[WatchKey, int] = {}
    for stream, scope, cursor, epoch, fingerprint, position in rows:
        decoded = None if cursor is None else msgspec.json.decode(cursor, type=Cursor)
        watches[stream, scope] = WatchState(decoded, epoch, fingerprint)
        positions[stream, scope] = position
    return watches, positions


def forget_watches(connection: sqlite3.Connection, streams: Collection[str]) -> None:
    """Rows of the log know their cursors still, unless what is written instead is from behind those."""
    connection.executemany("DELETE FROM watch WHERE stream = ?", [(name,) for name in streams])


def note_orphans(connection: sqlite3.Connection, streams: Collection[str], now: int) -> None:
    """These streams, and no others, are known and not configured: since now, if it was not noted before."""
    noted = {name for (name,) in connection.execute("SELECT stream FROM orphan")}
    forget_orphans(connection, noted - {*streams})
    connection.executemany(
        "INSERT OR IGNORE INTO orphan (stream, since) VALUES (?, ?)", [(name, now) for name in streams]
    )


def forget_orphans(connection: sqlite3.Connection, streams: Collection[str]) -> None:
    """These streams are missing no more."""
    connection.executemany("DELETE FROM orphan WHERE stream = ?", [(name,) for name in streams])


def read_orphans(connection: sqlite3.Connection) -> dict[str, int]:
    """When streams that are not configured were first missing."""
    return dict(connection.execute("SELECT stream, since FROM orphan ORDER BY stream").fetchall())


def write_kept_as(connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Under which name the inventory keeps what is known, by stream."""
    connection.executemany(
        "INSERT OR REPLACE INTO renamed (stream, kept_as) VALUES (?, ?)", sorted(names.items())
    )


def write_doubts(connection: sqlite3.Connection, doubts: Sequence[tuple[str, bytes, str | None]]) -> None:
    """Suspicions by the inventory's name and key: the revision of the listing, or None for a cleared one."""
    for stream, key, listed_rv in doubts:
        if listed_rv is None:
            connection.execute("DELETE FROM suspect WHERE stream = ? AND key = ?", (stream, key))
        else:
            connection.execute(
                "INSERT OR REPLACE INTO suspect (stream, key, listed_rv) VALUES (?, ?, ?)",
                (stream, key, listed_rv),
            )


def insert_requests(connection: sqlite3.Connection, requests: Sequence[SnapshotRequest]) -> None:
    """Snapshots that are owed; one for the same sink, stream and scope is replaced."""
    connection.executemany(
        "INSERT OR REPLACE INTO snapshot (sink, stream, scope, cause, id) VALUES (?, ?, ?, ?, ?)",
        [msgspec.structs.astuple(request) for request in requests],
    )


def forget_requests(connection: sqlite3.Connection, requests: Sequence[SnapshotRequest]) -> None:
    """Requests that are fulfilled, but not what has replaced one."""
    connection.executemany(
        "DELETE FROM snapshot WHERE sink = ? AND stream = ? AND scope = ? AND id = ?",
        [(request.sink, request.stream, request.scope, request.id) for request in requests],
    )


def rename_requests(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Snapshots of a stream are owed under its new name; one that is owed there already is not replaced."""
    connection.execute("UPDATE OR IGNORE snapshot SET stream = ? WHERE stream = ?", (new, old))
    connection.execute("DELETE FROM snapshot WHERE stream = ?", (old,))


def read_requests(connection: sqlite3.Connection) -> list[SnapshotRequest]:
    """Snapshots that are owed."""
    rows = connection.execute(
        "SELECT sink, stream, scope, cause, id FROM snapshot ORDER BY sink, stream, scope"
    ).fetchall()
    return [SnapshotRequest(*row) for row in rows]


def _pack_cursor(cursor: Cursor | None) -> str | None:
    return None if cursor is None else msgspec.json.encode(cursor).decode()
