"""Every version of the objects of one resource, and the changes a watch can resume among. Pure state."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.simulator.encode import Obj

__all__ = ["Change", "History"]

_revision_of = attrgetter("revision")


@dataclass(frozen=True, slots=True)
class Change:
    """One object at one revision: what it was and what it is; None where it did not exist."""

    revision: int
    key: str
    previous: Obj | None
    current: Obj | None


class History:
    """What etcd, or a watch cache, knows of one resource.

    Attributes:
        revision: How far it is up to date.
        floor: The oldest revision that a watch may resume from.
        changes: Those still kept, in order of revision; running watches read here also below the floor.
    """

    def __init__(self, revision: int, floor: int, limit: int) -> None:
        self.revision = revision
        self.floor = floor
        self.changes: list[Change] = []
        self._limit = limit
        self._dropped = 0
        self._keys: list[str] = []
        self._versions: dict[str, list[tuple[int, Obj | None]]] = {}

    def get(self, key: str, at: int | None = None) -> Obj | None:
        """The object at a revision, by default the newest."""
        versions = self._versions.get(key)
        if not versions:
            return None
        if at is None:
            return versions[-1][1]
        for revision, obj in reversed(versions):
            if revision <= at:
                return obj
        return None

    def scan(self, prefix: str = "", start: str = "", at: int | None = None) -> Iterator[Obj]:
        """The objects whose key has the prefix, from `start` on, in the byte order of their keys."""
        for index in range(bisect.bisect_left(self._keys, max(prefix, start)), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                return
            obj = self.get(key, at)
            if obj is not None:
                yield obj

    def apply(self, change: Change) -> None:
        """Takes one more change; several may share a revision."""
        versions = self._versions.get(change.key)
        if versions is None:
            bisect.insort(self._keys, change.key)
            versions = self._versions[change.key] = []
        versions.append((change.revision, change.current))
        self.changes.append(change)
        self.revision = max(self.revision, change.revision)
        if len(self.changes) > self._limit:
            self._trim()

    def after(self, revision: int) -> list[Change]:
        """The changes that are newer, oldest first.

        Raises:
            LookupError: some of them are not kept any more; a watch that is so far behind is closed.
        """
        if revision < self._dropped:
            raise LookupError(revision)
        return self.changes[bisect.bisect_right(self.changes, revision, key=_revision_of) :]

    def expire(self) -> None:
        """Makes every revision before the current one too old to resume from or to list at."""
        self.floor = self.revision
        self._forget_versions()

    def copy(self, at: int, limit: int) -> History:
        """A new history with the objects of a revision and no past: what a restore brings back."""
        copied = History(at, at, limit)
        for key in self._keys:
            obj = self.get(key, at)
            if obj is not None:
                copied._keys.append(key)
                copied._versions[key] = [(int(obj["metadata"]["resourceVersion"]), obj)]
        return copied

    def _trim(self) -> None:
        half = self._limit // 2
        self._dropped = self.changes[half - 1].revision
        del self.changes[:half]
        self.floor = max(self.floor, self._dropped)
        self._forget_versions()

    def _forget_versions(self) -> None:
        for key, versions in list(self._versions.items()):
            newest_below = max((i for i, (rv, _) in enumerate(versions) if rv <= self.floor), default=0)
            del versions[:newest_below]
            if len(versions) == 1 and versions[0][1] is None:
                del self._versions[key]
                del self._keys[bisect.bisect_left(self._keys, key)]
