"""What a log in memory knows of the objects of one stream (`bridge.changes.reconcile.Inventory`)."""

from collections.abc import Iterator
from typing import Final

from bridge.changes.reconcile import Known
from bridge.store.layer import Layer

__all__ = ["MemoryInventory"]

_MANY: Final = 4096
"""Names that are gone after which they are forgotten, in a small cluster."""


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
