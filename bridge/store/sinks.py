"""Where each sink is: acknowledged in memory at once, durable with the next transaction."""

import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from bridge.store.contract import OpenedSink, SnapshotRequest

__all__ = ["SinkCursor", "SinkCursors"]

NEW: Final = 1
"""It, or its destination, is new to a log that has existed before."""
LOST: Final = 2
"""The log went on without it."""


class SinkCursor(msgspec.Struct):
    """One row of the table `sink`.

    Attributes:
        position: everything up to here is owned by the destination.
        fingerprint: identity of the destination.
        detached_at: when it left the configuration, or was parked, seconds since the Unix epoch, or None.
        fresh: why it missed records for good while no snapshot was requested since (`NEW`, `LOST`), or None.
        dropping: what is left of a backlog that is being dropped (`bridge.store.backlog.Dropping`), or None.
        left_out: names of streams whose records passed it by, because it did not take them; or None.
    """

    position: int
    fingerprint: str
    detached_at: int | None = None
    fresh: int | None = None
    dropping: str | None = None
    left_out: str | None = None


class SinkCursors:
    """All sinks that the log knows; a detached one keeps its cursor but holds nothing back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT name, position, fingerprint, detached_at, fresh, dropping, left_out FROM sink"
        ).fetchall()
        self._sinks = {name: SinkCursor(*rest) for name, *rest in rows}
        self._dirty: set[str] = set()
        self.dirty_since: float | None = None

    def __getitem__(self, name: str) -> SinkCursor:
        """The cursor of a sink that is known; whoever writes to it calls `touch`."""
        return self._sinks[name]

    def attached(self, name: str) -> bool:
        """The sink is known and holds back trimming."""
        return name in self._sinks and self._sinks[name].detached_at is None

    def unfinished(self) -> list[str]:
        """Sinks whose backlog is being dropped."""
        return sorted(name for name, sink in self._sinks.items() if sink.dropping is not None)

    def attach(
        self, name: str, fingerprint: str, oldest: int, trimmed_to: int, *, existed: bool
    ) -> OpenedSink:
        """Where this sink reads on.

        Args:
            name: of the sink.
            fingerprint: another one than before means another destination: as a new sink.
            oldest: where a new sink starts, before the oldest record kept.
            trimmed_to: a cursor below it has lost records to trimming: as a new sink.
            existed: a new sink may have missed something.
        """
        known = self._sinks.get(name)
        if known is None or known.fingerprint != fingerprint:
            known = self._sinks[name] = SinkCursor(
                oldest, fingerprint, fresh=NEW if existed or known else None
            )
            self.touch(name)
        elif known.position < trimmed_to or (known.fresh and known.detached_at is not None):
            known.fresh = LOST if known.position < trimmed_to else known.fresh
            known.position = max(known.position, oldest)
            self.touch(name)
        if known.detached_at is not None:
            known.detached_at = None
            self.touch(name)
        return OpenedSink(known.position, bool(known.fresh), known.fresh == LOST)

    def select(
        self, name: str, takes: Collection[str], leaves_out: Collection[str], skips: Collection[str]
    ) -> tuple[str, ...]:
        """Which streams a sink gets from now on; of those that it `skips` it needs nothing from before.

        Returns:
            Of what it takes, the streams that passed it by before; told until snapshots of them are owed.
        """
        known = self._sinks[name]
        before = set((known.left_out or "").split()) - (set(takes) & set(skips))
        self._leave_out(name, before | set(leaves_out))
        return tuple(sorted(before & set(takes)))

    def detach(self, name: str, acknowledged: int) -> None:
        """A sink leaves the low-water mark; its cursor stays."""
        if self.attached(name):
            self.note({name: acknowledged})
            self._sinks[name].detached_at = int(time.time())
            self.touch(name)

    def missed(self, trimmed: int) -> bool:
        """Records through `trimmed` are gone. Returns whether a detached sink lost some (`fresh`)."""
        lost = [
            name
            for name, sink in self._sinks.items()
            if sink.detached_at is not None and sink.position < trimmed and sink.fresh != LOST
        ]
        for name in lost:
            self._sinks[name].fresh = LOST
            self.touch(name)
        return bool(lost)

    @contextmanager
    def owing(self, requests: Sequence[SnapshotRequest]) -> Iterator[None]:
        """What sinks missed is owed to them by the requests that are written within, unless that fails."""
        before = {
            name: (cursor.fresh, cursor.left_out)
            for name in {request.sink for request in requests}
            if (cursor := self._sinks.get(name)) is not None
        }
        for name, (fresh, left_out) in before.items():
            if fresh:
                self._sinks[name].fresh = None
                self.touch(name)
            owed = {request.stream for request in requests if request.sink == name}
            self._leave_out(name, set((left_out or "").split()) - owed)
        try:
            yield
        except BaseException:
            for name, (fresh, left_out) in before.items():
                self._sinks[name].fresh, self._sinks[name].left_out = fresh, left_out
            raise

    @contextmanager
    def renaming(self, old: str, new: str) -> Iterator[None]:
        """What sinks say of a stream they say of its new name, which is written within, unless that fails."""
        before = {name: (cursor.left_out, cursor.dropping) for name, cursor in self._sinks.items()}
        for name, (left_out, dropping) in before.items():
            self._leave_out(name, {new if each == old else each for each in (left_out or "").split()})
            if dropping is not None:
                self._sinks[name].dropping = _renamed(dropping, old, new)
                self.touch(name)
        try:
            yield
        except BaseException:
            for name, (left_out, dropping) in before.items():
                self._sinks[name].left_out, self._sinks[name].dropping = left_out, dropping
            raise

    def detach_all_but(self, names: Collection[str], acknowledged: Mapping[str, int]) -> None:
        """Every other sink leaves the low-water mark; its cursor stays where it is `acknowledged`."""
        self.note(acknowledged)
        for name, sink in self._sinks.items():
            if name not in names:
                self.detach(name, sink.position)

    def note(self, acknowledged: Mapping[str, int]) -> None:
        """Take over what was acknowledged in memory."""
        for name, position in acknowledged.items():
            sink = self._sinks[name]
            if position > sink.position:
                sink.position = position
                self.touch(name)

    def low(self, last: int, bound: int) -> int:
        """The lowest position of the attached sinks that do not have the `last` record; `bound` at most."""
        waiting = [s.position for s in self._sinks.values() if s.detached_at is None and s.position < last]
        return min([bound, *waiting])

    def lowest(self, default: int) -> int:
        """The lowest position of an attached sink, `default` at most."""
        return min([default, *(s.position for s in self._sinks.values() if s.detached_at is None)])

    def highest(self, default: int) -> int:
        """The highest position of any sink, or `default` where there is none."""
        return max((sink.position for sink in self._sinks.values()), default=default)

    def write(self, connection: sqlite3.Connection) -> None:
        """Make durable what changed, in the caller's transaction."""
        connection.executemany(
            "INSERT OR REPLACE INTO sink"
            " (name, position, fingerprint, detached_at, fresh, dropping, left_out)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(name, *msgspec.structs.astuple(self._sinks[name])) for name in sorted(self._dirty)],
        )

    def written(self) -> None:
        """The transaction of `write` is committed."""
        self._dirty.clear()
        self.dirty_since = None

    def _leave_out(self, name: str, streams: Collection[str]) -> None:
        text = " ".join(sorted(streams)) or None
        if text != self._sinks[name].left_out:
            self._sinks[name].left_out = text
            self.touch(name)

    def touch(self, name: str) -> None:
        """What a sink's cursor says has changed; durable with the next transaction."""
        self._dirty.add(name)
        if self.dirty_since is None:
            self.dirty_since = time.monotonic()


def _renamed(dropping: str, old: str, new: str) -> str:
    left = msgspec.json.decode(dropping)
    if left["streams"] is not None:
        left["streams"] = sorted(new if each == old else each for each in left["streams"])
    return msgspec.json.encode(left).decode()
