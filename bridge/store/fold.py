"""Bringing the table of the inventory up to date with the log: sorted, in small transactions.

A crash in the middle is harmless: `folded_at` moves with the last chunk only, and until then the rows
that say the same are kept in the log and laid over the table again when it is opened.
"""

import sqlite3
from typing import Final

from bridge.changes.reconcile import Known
from bridge.store.inventory import Inventories, pack_uid

__all__ = ["Fold"]

_CHUNK: Final = 200

_Entry = tuple[str, bytes, Known | None]


class Fold:
    """One fold, from `Inventories.freeze` to `finish`.

    Attributes:
        target: the log up to here is what the table will say.
    """

    def __init__(self, inventories: Inventories, target: int) -> None:
        self.target = target
        self._entries: list[_Entry] = [
            (stream, key, layer.entries[key])
            for stream, layer in inventories.freeze()
            for key in layer.ordered()
        ]
        self._done = 0

    def write_chunk(self, connection: sqlite3.Connection) -> bool:
        """Write the next chunk in the caller's transaction; returns whether it is the last one."""
        chunk = self._entries[self._done : self._done + _CHUNK]
        connection.executemany(
            "INSERT INTO inventory (stream, key, uid, rv) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (stream, key) DO UPDATE SET uid = excluded.uid, rv = excluded.rv",
            [(stream, key, pack_uid(known.uid), known.rv) for stream, key, known in chunk if known],
        )
        connection.executemany(
            "DELETE FROM inventory WHERE stream = ? AND key = ?",
            [(stream, key) for stream, key, known in chunk if known is None],
        )
        return self._done + _CHUNK >= len(self._entries)

    def committed(self) -> None:
        """The transaction of the last `write_chunk` is durable."""
        self._done += _CHUNK
