"""Entries laid over others, in memory: a dict that can also be walked in key order."""

from bisect import bisect_right, insort
from itertools import islice
from typing import Final

from bridge.changes.reconcile import Known

__all__ = ["Entries", "Layer"]

Entries = dict[bytes, Known | None]
"""Key -> what is known, None for forgotten."""

_FEW: Final = 16
"""So many new keys, at most, are inserted one by one into a sorted list; more are sorted in."""


class Layer:
    """Key -> known, or None for an object that is forgotten. Keys are never taken out again.

    Attributes:
        entries: to be read and written directly; this is the hot path.
    """

    __slots__ = ("_order", "entries")

    def __init__(self) -> None:
        self.entries: Entries = {}
        self._order: list[bytes] = []

    def __len__(self) -> int:
        return len(self.entries)

    def ordered(self) -> list[bytes]:
        """All keys in byte order; the list stays the layer's own."""
        fresh = len(self.entries) - len(self._order)
        if fresh:
            added = islice(reversed(self.entries), fresh)  # a dict keeps the order of insertion
            if fresh <= _FEW:
                for key in added:
                    insort(self._order, key)
            else:
                self._order.extend(added)
                self._order.sort()
        return self._order

    def between(self, after: bytes, through: bytes | None) -> list[bytes]:
        """Keys with `after < key <= through` (no upper end for None), in byte order."""
        order = self.ordered()
        start = bisect_right(order, after)
        end = len(order) if through is None else bisect_right(order, through)
        return order[start:end]
