"""Giving back what every sink owns; a few rows at a time.

The objects go as soon as the sinks have them: pages that are freed before a checkpoint never reach the
main file. The small rest of the row (`ids`) stays until the inventory's table says the same.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from bridge.errors import InvariantError
from bridge.faults import crash_point
from bridge.store.sinks import SinkCursors

__all__ = ["Trimmed", "trim"]

_ROWS: Final = 64
"""Rows stripped in one transaction at most, so that none is larger than the reserve for it."""
_SMALL_ROWS: Final = 512
"""Rows deleted in one transaction at most; most of them are stripped already."""
_BYTES: Final = 4 << 20
"""Packed bytes deleted in one transaction at most, or little more."""

_Row = tuple[int, int, int]
"""Position, count, packed bytes that go."""


class Trimmed(NamedTuple):
    """What one transaction gave back.

    Attributes:
        rows: deleted from the log.
        records: that are gone.
        stored: packed bytes that are gone.
        last: position of the newest record that is gone, or 0.
        stripped_to: rows up to here have no objects any more.
        more: there may be more to give back below the same bounds.
    """

    rows: int
    records: int
    stored: int
    last: int
    stripped_to: int
    more: bool


def trim(
    connection: sqlite3.Connection, sinks: SinkCursors, low: int, folded_at: int, stripped_to: int
) -> Trimmed:
    """Delete and strip rows that end at or before `low`, in the caller's transaction.

    Args:
        connection: in a transaction that also makes the sinks' cursors durable.
        sinks: for the check that none of them still needs what goes.
        low: every attached sink has all records up to here.
        folded_at: rows up to here are in the inventory's table.
        stripped_to: what an earlier call returned.

    Raises:
        InvariantError: something would go that a sink still needs.
    """
    deleted, more = _deletable(connection, min(low, folded_at))
    stripped = _strippable(connection, max(stripped_to, folded_at), low)
    last = max((position + count - 1 for position, count, _ in [*deleted, *stripped] if count), default=0)
    if last > sinks.lowest(last):
        raise InvariantError(f"the log would trim up to {last}, which a sink still needs")
    if deleted:
        connection.execute("DELETE FROM log WHERE position <= ?", (deleted[-1][0],))
    if stripped:
        connection.execute(
            "UPDATE log SET count = 0, size = 0, body = x'' WHERE position BETWEEN ? AND ? AND count > 0",
            (stripped[0][0], stripped[-1][0]),
        )
        stripped_to = stripped[-1][0]
    crash_point("log.trimmed")
    return Trimmed(
        len(deleted),
        sum(row[1] for row in [*deleted, *stripped]),
        sum(row[2] for row in [*deleted, *stripped]),
        last,
        stripped_to,
        more or len(stripped) == _ROWS,
    )


def _deletable(connection: sqlite3.Connection, bound: int) -> tuple[Sequence[_Row], bool]:
    rows = connection.execute(
        "SELECT position, count, length(ids) + length(body) FROM log"
        " WHERE position <= ? ORDER BY position LIMIT ?",
        (bound, _SMALL_ROWS),
    ).fetchall()
    total = 0
    for number, row in enumerate(rows):
        total += row[2]
        if _end(row) > bound:
            return rows[:number], False
        if total >= _BYTES:
            return rows[: number + 1], True
    return rows, len(rows) == _SMALL_ROWS


def _strippable(connection: sqlite3.Connection, after: int, low: int) -> Sequence[_Row]:
    rows = connection.execute(
        "SELECT position, count, length(body) FROM log WHERE position > ? AND position <= ?"
        " ORDER BY position LIMIT ?",
        (after, low, _ROWS),
    ).fetchall()
    return [row for row in rows if _end(row) <= low]


def _end(row: _Row) -> int:
    return row[0] + max(row[1], 1) - 1
