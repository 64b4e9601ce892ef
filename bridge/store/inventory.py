"""The inventory: a table on disk, and over it what the log says behind `folded_at`.

Upserting each event would dirty a page each (6-8 KB written an event), so the table is only brought up
to date now and then, sorted (`bridge.store.fold`). Until then three layers cover it:

```
delta      of the transaction being prepared; joins the overlay once that is committed
overlay    committed, in the log behind the fold
frozen     being folded into the table right now
table      inventory(stream, key, uid, rv)
```
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from bridge.changes.reconcile import Inventory, Known
from bridge.errors import InvariantError
from bridge.store.layer import Entries, Layer

__all__ = ["Inventories", "ReadOnly", "StreamInventory", "pack_uid"]

_PAGE: Final = 500
_UUID_TEXT: Final = 36

Doubts = dict[bytes, str | None]
"""Suspicions not yet committed: key -> revision of the listing, None for cleared."""


def pack_uid(uid: str) -> bytes | str:
    """16 bytes for a UUID in its usual form, the text itself for anything else."""
    if len(uid) == _UUID_TEXT:
        try:
            packed = bytes.fromhex(uid.replace("-", ""))
        except ValueError:
            return uid
        if _unpack_uid(packed) == uid:
            return packed
    return uid


def _unpack_uid(uid: bytes | str) -> str:
    if isinstance(uid, str):
        return uid
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class StreamInventory:
    """Implements `bridge.changes.reconcile.Inventory` for one stream; for the writer's thread only.

    Attributes:
        kept_as: the stream's name in the tables; a stream that was renamed has another one.
        writes: where writes are noted too, for the row that the current work goes into.
        delta: not committed.
        doubts: suspicions, not committed.
        overlay: committed, not folded.
        frozen: being folded, or None.
    """

    def __init__(self, kept_as: str, connection: sqlite3.Connection) -> None:
        self.kept_as = kept_as
        self._connection = connection
        self.writes: Entries = {}
        self.delta = Layer()
        self.doubts: Doubts = {}
        self.overlay = Layer()
        self.frozen: Layer | None = None
        found = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM suspect WHERE stream = ?)", (kept_as,)
        ).fetchone()
        self._doubted = bool(found[0])

    def get(self, key: bytes) -> Known | None:
        """See `Inventory.get`."""
        for entries in (self.delta.entries, self.overlay.entries):
            if key in entries:
                return entries[key]
        if self.frozen is not None and key in self.frozen.entries:
            return self.frozen.entries[key]
        row = self._connection.execute(
            "SELECT uid, rv FROM inventory WHERE stream = ? AND key = ?", (self.kept_as, key)
        ).fetchone()
        return None if row is None else Known(_unpack_uid(row[0]), row[1])

    def put(self, key: bytes, known: Known) -> None:
        """See `Inventory.put`."""
        self._write(key, known)

    def remove(self, key: bytes) -> None:
        """See `Inventory.remove`."""
        self._write(key, None)

    def scan(self, after: bytes, through: bytes | None) -> Iterator[tuple[bytes, Known]]:
        """See `Inventory.scan`. Entries written while it runs may be seen either way."""
        while True:
            rows = self._table_page(after, through)
            last = rows[-1][0] if len(rows) == _PAGE else through
            merged: Entries = {key: Known(_unpack_uid(uid), rv) for key, uid, rv in rows}
            for layer in (self.frozen, self.overlay, self.delta):
                if layer is not None:
                    merged.update((key, layer.entries[key]) for key in layer.between(after, last))
            for key in sorted(merged):
                known = merged[key]
                if known is not None:
                    yield key, known
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def suspect(self, key: bytes, listed_rv: str) -> None:
        """See `Inventory.suspect`."""
        self.doubts[key] = listed_rv
        self._doubted = True

    def suspects(self, limit: int) -> Iterable[tuple[bytes, Known, str]]:
        """See `Inventory.suspects`."""
        rows = self._connection.execute(
            "SELECT key, listed_rv FROM suspect WHERE stream = ? ORDER BY key LIMIT ?",
            (self.kept_as, limit + len(self.doubts)),
        ).fetchall()
        merged: Doubts = {**dict(rows), **self.doubts}
        found: list[tuple[bytes, Known, str]] = []
        for key in sorted(merged):
            listed_rv = merged[key]
            known = None if listed_rv is None else self.get(key)
            if known is not None and listed_rv is not None:
                found.append((key, known, listed_rv))
                if len(found) == limit:
                    break
        self._doubted = any(merged.values())
        return found

    def committed(self) -> None:
        """What was prepared is durable."""
        self.overlay.entries.update(self.delta.entries)
        self.delta = Layer()
        self.doubts = {}

    def _write(self, key: bytes, known: Known | None) -> None:
        self.delta.entries[key] = known
        self.writes[key] = known
        if self._doubted and self._is_suspect(key):
            self.doubts[key] = None

    def _is_suspect(self, key: bytes) -> bool:
        if key in self.doubts:
            return True
        query = "SELECT EXISTS (SELECT 1 FROM suspect WHERE stream = ? AND key = ?)"
        return bool(self._connection.execute(query, (self.kept_as, key)).fetchone()[0])

    def _table_page(self, after: bytes, through: bytes | None) -> list[tuple[bytes, bytes | str, str]]:
        query = "SELECT key, uid, rv FROM inventory WHERE stream = ? AND key > ?"
        if through is None:
            rows = self._connection.execute(f"{query} ORDER BY key LIMIT {_PAGE}", (self.kept_as, after))
        else:
            rows = self._connection.execute(
                f"{query} AND key <= ? ORDER BY key LIMIT {_PAGE}", (self.kept_as, after, through)
            )
        return rows.fetchall()


class ReadOnly:
    """An inventory for work whose changes are for one sink: what all sinks were told must not change."""

    def __init__(self, inventory: Inventory) -> None:
        self.get = inventory.get
        self.scan = inventory.scan
        self.suspects = inventory.suspects

    def put(self, key: bytes, known: Known) -> None:
        """Refused, as every write is. Raises `InvariantError`."""
        raise InvariantError(f"records for one sink would put {key!r} at {known} into the inventory of all")

    def remove(self, key: bytes) -> None:
        """Refused. Raises `InvariantError`."""
        raise InvariantError(f"records for one sink would remove {key!r} from the inventory of all")

    def suspect(self, key: bytes, listed_rv: str) -> None:
        """Refused. Raises `InvariantError`."""
        raise InvariantError(f"records for one sink would suspect {key!r} at {listed_rv} for all")


class Inventories:
    """The inventories of all streams of one log."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._kept_as: dict[str, str] = dict(connection.execute("SELECT stream, kept_as FROM renamed"))
        self._streams: dict[str, StreamInventory] = {}
        self._prepared: dict[str, StreamInventory] = {}

    def of(self, stream: str) -> StreamInventory:
        """The inventory of a stream, known before or not."""
        found = self._streams.get(stream)
        if found is None:
            kept_as = self._kept_as.get(stream, stream)
            found = self._streams[stream] = StreamInventory(kept_as, self._connection)
        return found

    def exchanged(self, one: str, other: str) -> dict[str, str]:
        """The names that the tables have for two streams, each other's."""
        return {one: self.of(other).kept_as, other: self.of(one).kept_as}

    def exchange(self, one: str, other: str) -> None:
        """What is known of two streams is known of each other; the tables say so already."""
        self._kept_as |= self.exchanged(one, other)
        self._streams[one], self._streams[other] = self.of(other), self.of(one)

    def prepare(self, stream: str, writes: Entries) -> StreamInventory:
        """The inventory of a stream, for work whose writes are noted in `writes` too."""
        inventory = self._prepared.get(stream)
        if inventory is None:
            inventory = self._prepared[stream] = self.of(stream)
        inventory.writes = writes
        return inventory

    def doubts(self) -> list[tuple[str, bytes, str | None]]:
        """To be written with the transaction being prepared: the tables' name, key, revision or None."""
        return [
            (inventory.kept_as, key, listed_rv)
            for inventory in self._prepared.values()
            for key, listed_rv in sorted(inventory.doubts.items())
        ]

    def committed(self) -> None:
        """What was prepared is durable: lay it over what is committed."""
        for inventory in self._prepared.values():
            inventory.committed()
        self._prepared = {}

    def overlay_size(self) -> int:
        """Entries in memory that the table does not have yet, those being folded not counted."""
        return sum(len(inventory.overlay) for inventory in list(self._streams.values()))  # any thread may ask

    def freeze(self) -> list[tuple[str, Layer]]:
        """Begin a fold: everything committed so far, by the tables' name for the stream."""
        layers: list[tuple[str, Layer]] = []
        for inventory in sorted(self._streams.values(), key=lambda each: each.kept_as):
            layers.append((inventory.kept_as, inventory.overlay))
            inventory.frozen = inventory.overlay
            inventory.overlay = Layer()
        return layers

    def folded(self) -> None:
        """The fold is committed: the table has it all."""
        for inventory in self._streams.values():
            inventory.frozen = None
