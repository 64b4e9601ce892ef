"""Where each sink is: acknowledged in memory at once, durable with the next transaction."""

import sqlite3
import time
from collections.abc import Collection, Mapping

import msgspec

__all__ = ["SinkCursor", "SinkCursors"]


class SinkCursor(msgspec.Struct):
    """One row of the table `sink`.

    Attributes:
        position: everything up to here is owned by the destination.
        fingerprint: identity of the destination.
        detached_at: when it left the configuration, seconds since the Unix epoch, or None.
    """

    position: int
    fingerprint: str
    detached_at: int | None = None


class SinkCursors:
    """All sinks that the log knows; a detached one keeps its cursor but holds nothing back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT name, position, fingerprint, detached_at FROM sink").fetchall()
        self._sinks = {name: SinkCursor(*rest) for name, *rest in rows}
        self._dirty: set[str] = set()
        self.dirty_since: float | None = None

    def attach(self, name: str, fingerprint: str, oldest: int, trimmed_to: int) -> int:
        """Position from which this sink reads on.

        Args:
            name: of the sink.
            fingerprint: another one than before means another destination: as a new sink.
            oldest: where a new sink starts, before the oldest record kept.
            trimmed_to: a cursor below it has lost records to trimming: as a new sink.
        """
        known = self._sinks.get(name)
        if known is not None and known.fingerprint == fingerprint and known.position >= trimmed_to:
            if known.detached_at is not None:
                known.detached_at = None
                self._touch(name)
            return known.position
        self._sinks[name] = SinkCursor(oldest, fingerprint)
        self._touch(name)
        return oldest

    def detach_all_but(self, names: Collection[str], acknowledged: Mapping[str, int]) -> None:
        """Every other sink leaves the low-water mark; its cursor stays where it is `acknowledged`."""
        self.note(acknowledged)
        for name, sink in self._sinks.items():
            if name not in names and sink.detached_at is None:
                sink.detached_at = int(time.time())
                self._touch(name)

    def note(self, acknowledged: Mapping[str, int]) -> None:
        """Take over what was acknowledged in memory."""
        for name, position in acknowledged.items():
            sink = self._sinks[name]
            if position > sink.position:
                sink.position = position
                self._touch(name)

    def low(self, last: int, bound: int) -> int:
        """The lowest position of the attached sinks that do not have the `last` record; `bound` at most."""
        waiting = [s.position for s in self._sinks.values() if s.detached_at is None and s.position < last]
        return min([bound, *waiting])

    def lowest(self, default: int) -> int:
        """The lowest position of an attached sink, `default` at most."""
        return min([default, *(s.position for s in self._sinks.values() if s.detached_at is None)])

    def highest(self, default: int) -> int:
        """The highest position of any sink, `default` at least."""
        return max([default, *(sink.position for sink in self._sinks.values())])

    def write(self, connection: sqlite3.Connection) -> None:
        """Make durable what changed, in the caller's transaction."""
        connection.executemany(
            "INSERT INTO sink (name, position, fingerprint, detached_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET position = excluded.position,"
            " fingerprint = excluded.fingerprint, detached_at = excluded.detached_at",
            [(name, *msgspec.structs.astuple(self._sinks[name])) for name in sorted(self._dirty)],
        )

    def written(self) -> None:
        """The transaction of `write` is committed."""
        self._dirty.clear()
        self.dirty_since = None

    def _touch(self, name: str) -> None:
        self._dirty.add(name)
        if self.dirty_since is None:
            self.dirty_since = time.monotonic()
