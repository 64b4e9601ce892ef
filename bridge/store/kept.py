"""What the log holds now, and how much of it lies behind any position; kept in memory, in 32 bytes a row."""

from array import array
from bisect import bisect_right
from threading import Lock
from typing import Final

from bridge.store.contract import Lag
from bridge.store.group import Sealed
from bridge.store.trim import Trimmed

__all__ = ["Kept"]

_COMPACT: Final = 1024
"""Rows that are gone and still take memory, at least, before it is given back."""


class Kept:
    """Rows with records, in order; written by the log's thread, `lag` is for any thread.

    Attributes:
        rows: in the log, those without records too.
        records: in them.
        stored: bytes of their packed columns.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.records = 0
        self.stored = 0
        self._lock = Lock()
        self._gone = 0
        # One entry a row; counts and bytes are sums from the beginning through that row.
        self._lasts = array("q")
        self._counts = array("q")
        self._bytes = array("q")
        self._times = array("q")

    def add(self, position: int, count: int, stored: int, time: int) -> None:
        """A row with `count` records from `position` on, the first of them read at `time`."""
        with self._lock:
            self._counts.append((self._counts[-1] if self._counts else 0) + count)
            self._bytes.append((self._bytes[-1] if self._bytes else 0) + stored)
            self._times.append(time)
            self._lasts.append(position + count - 1)

    def written(self, sealed: Sealed) -> None:
        """These rows were committed."""
        self.rows += len(sealed.rows)
        self.stored += sealed.stored
        batches = iter(sealed.batches)
        for position, count, _, _, _, ids, body in sealed.rows:
            if count:
                self.add(position, count, len(ids) + len(body), next(batches).changes[0].time)
                self.records += count

    def trimmed(self, trimmed: Trimmed) -> None:
        """That was given back."""
        self.rows -= trimmed.rows
        self.records -= trimmed.records
        self.stored -= trimmed.stored
        self.drop_through(trimmed.last)

    def drop_through(self, position: int) -> None:
        """Rows that end at or before `position` have no records any more."""
        with self._lock:
            self._gone = bisect_right(self._lasts, position, lo=self._gone)
            if self._gone >= _COMPACT and self._gone * 2 > len(self._lasts):
                spare = self._gone - 1  # the sums go on from one that is gone
                for column in (self._lasts, self._counts, self._bytes, self._times):
                    del column[:spare]
                self._gone = 1

    def lag(self, position: int) -> Lag:
        """See `Backlogs.lag`."""
        with self._lock:
            row = bisect_right(self._lasts, position, lo=self._gone)
            if row == len(self._lasts):
                return Lag(0, 0, 0)
            before = (self._counts[row - 1], self._bytes[row - 1]) if row else (0, 0)
            count, stored = self._counts[row] - before[0], self._bytes[row] - before[1]
            had = max(0, position - (self._lasts[row] - count))  # records of this row that are not behind
            return Lag(
                self._counts[-1] - before[0] - had,
                self._bytes[-1] - before[1] - stored * had // count,
                self._times[row],
            )
