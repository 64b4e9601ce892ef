"""The newest batches in memory, shared by all readers."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bridge.changes.change import Batch
from bridge.store.codec import RowDecoder
from bridge.store.group import batch_size
from bridge.store.routes import Route

__all__ = ["StoredRow", "Tail", "behind", "unpack"]


class StoredRow(NamedTuple):
    """A row as a reader gets it from the writer's thread, to be unpacked in its own."""

    position: int
    route: Route
    size: int
    ids: bytes
    body: bytes


class Tail:
    """Committed batches in order, the oldest dropped by the owner's rule.

    Attributes:
        size: bytes held.
    """

    def __init__(self) -> None:
        self.size = 0
        self._batches: list[Batch] = []
        self._lasts: list[int] = []

    @property
    def start(self) -> int | None:
        """Position of the first record held, or None when empty."""
        return self._batches[0].position if self._batches else None

    @property
    def records(self) -> int:
        """Changes held."""
        return sum(len(batch.changes) for batch in self._batches)

    def extend(self, batches: Sequence[Batch]) -> None:
        """Add what was committed, in order."""
        for batch in batches:
            self._batches.append(batch)
            self._lasts.append(batch.last_position)
            self.size += batch.size

    def read(self, after: int, max_bytes: int) -> list[Batch]:
        """What follows `after`: at least one batch if there is any, `max_bytes` or little more."""
        found: list[Batch] = []
        size = 0
        for index in range(bisect_right(self._lasts, after), len(self._batches)):
            batch = behind(self._batches[index], after)
            if found and size + batch.size > max_bytes:
                break
            found.append(batch)
            size += batch.size
        return found

    def shrink(self, limit: int) -> None:
        """Drop the oldest until at most `limit` bytes are held."""
        drop = 0
        while self.size > limit:
            self.size -= self._batches[drop].size
            drop += 1
        self._drop(drop)

    def drop_through(self, position: int) -> int:
        """Drop batches that end at or before `position`; returns their bytes."""
        drop = bisect_right(self._lasts, position)
        freed = sum(batch.size for batch in self._batches[:drop])
        self.size -= freed
        self._drop(drop)
        return freed

    def rename(self, old: str, new: str) -> None:
        """Records of a stream are of another name from now on."""
        for index, batch in enumerate(self._batches):
            if batch.stream.name == old:
                stream = msgspec.structs.replace(batch.stream, name=new)
                self._batches[index] = msgspec.structs.replace(batch, stream=stream)

    def clear(self) -> None:
        """Hold nothing: what follows was not seen here, and is read from the file."""
        self._drop(len(self._batches))
        self.size = 0

    def _drop(self, count: int) -> None:
        if count:
            del self._batches[:count]
            del self._lasts[:count]


def behind(batch: Batch, after: int) -> Batch:
    """The part of a batch that follows `after`."""
    skipped = after + 1 - batch.position
    if skipped <= 0:
        return batch
    changes = batch.changes[skipped:]
    return Batch(after + 1, batch.stream, changes, batch_size(changes), batch.audience)


def unpack(decoder: RowDecoder, row: StoredRow, after: int) -> Batch:
    """A stored row as the part of its batch that follows `after`. Raises `StateError` for a damaged one."""
    changes = decoder.changes(row.position, row.ids, row.body)
    return behind(Batch(row.position, row.route.stream, changes, row.size, row.route.audience), after)
