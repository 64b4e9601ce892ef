"""How the bytes of `state.maxBytes` are shared out, and what is done when they, or the disk, are used up."""

import os
from contextlib import suppress
from typing import Final, NamedTuple

from bridge.errors import UsageError
from bridge.store.ballast import Ballast
from bridge.store.database import PAGE, WAL_BYTES, Database
from bridge.store.failures import Full

__all__ = ["BALLAST_BYTES", "MIN_BYTES", "Budget", "Space"]

MIN_BYTES: Final = 64 << 20
BALLAST_BYTES: Final = WAL_BYTES + (4 << 20)
"""The main file owes the disk at most one WAL; the rest is for the transactions that empty it."""

_FOLD_BYTES: Final = 16 << 20
"""Some 100,000 records: the table's pages are shared by many, and reading them back takes half a second."""
_NEEDED_PAGES: Final = 64
"""What a transaction may need beside its rows."""
_WORKING_PAGES: Final = 512
"""Free pages of the main file with which a log that may not grow goes on (2 MiB)."""


class Budget(NamedTuple):
    """Shares of `state.maxBytes`.

    Attributes:
        soft: pages of the main file that appends may use.
        hard: pages that folding, trimming and acknowledging may use: a full log can still be folded.
        fold: bytes kept for the inventory, or owed to its table, after which it is folded.
        letters: bytes of dead letters, less than an eighth of all.
    """

    soft: int
    hard: int
    fold: int
    letters: int

    @property
    def bury(self) -> int:
        """Pages that burying may use: a full log still takes some dead letters, and can still be folded."""
        return self.soft + self.fold // PAGE

    @classmethod
    def of(cls, max_bytes: int) -> "Budget":
        """Share out `max_bytes`. Raises `UsageError` when it is less than the log can work in."""
        if max_bytes < MIN_BYTES:
            raise UsageError(
                f"state.maxBytes is {max_bytes} bytes; the log needs at least {MIN_BYTES >> 20}Mi"
            )
        main = max_bytes - WAL_BYTES - BALLAST_BYTES
        fold = min(_FOLD_BYTES, main // 8)
        return cls(soft=(main - 2 * fold) // PAGE, hard=main // PAGE, fold=fold, letters=main // 8)


class Space:
    """Knows whether there is room, and makes some.

    A full disk is survived in two steps. The ballast is released, so that the WAL can be brought into the
    main file, which needs at most as much again. From then on the main file must not grow (`ceiling`): what
    sinks own is trimmed, and its pages are used again. When the disk has room for the ballast, that is
    written first and the ceiling goes.

    Attributes:
        budget: shares of the configured bytes.
        full: one sentence why nothing can be appended now, or "".
    """

    def __init__(self, database: Database, budget: Budget) -> None:
        self.budget = budget
        self.full = ""
        self._database = database
        self._ballast = Ballast(database.path.with_name("ballast"), BALLAST_BYTES)
        self._limit = 0
        self._ceiling: int | None = None
        if not self._ballast.write():
            self.full = self._disk_sentence()
            self._ceiling = database.pages()[0]

    def allow(self, pages: int) -> None:
        """Limit the main file for the next transaction: `budget.soft` or `budget.hard`."""
        if self._ceiling is not None:
            pages = min(pages, self._ceiling)
        if pages != self._limit:
            self._database.limit_pages(pages)
            self._limit = pages

    def exhausted(self, stored: int) -> None:
        """A transaction with `stored` bytes of rows found no room: say which, and keep able to empty the log.

        Raises `LogError` when the disk fails.
        """
        count, free = self._database.pages()
        needed = stored // PAGE + _NEEDED_PAGES
        limited = self._ceiling is None and count + needed - free >= self.budget.soft
        if limited and self._disk_bytes() > stored + WAL_BYTES:
            self.full = (
                f"the log {self._database.path} has reached state.maxBytes: "
                "a sink that lags must catch up, be removed, or state.maxBytes be raised"
            )
            return
        self.full = self._disk_sentence()
        self._ballast.release()
        with suppress(Full):  # somebody took what was released: tried again at the next failure
            # RESTART, not TRUNCATE: writing over the WAL's blocks needs no room.
            self._database.checkpoint("RESTART")
        self._ceiling = self._database.pages()[0]

    def regained(self) -> bool:
        """Whether appending may be tried: with the ballast whole, or within the main file's free pages."""
        if self.restore():
            return True
        return self._database.pages()[1] >= _WORKING_PAGES

    def restore(self) -> bool:
        """Write the ballast again if it would leave room for the WAL; returns whether it is whole."""
        if self._ceiling is None and self._ballast.whole:
            return True
        wal = max(0, WAL_BYTES - self._database.sizes()[1])
        if self._ballast.whole or (self._disk_bytes() >= BALLAST_BYTES + wal and self._ballast.write()):
            self._ceiling = None
            return True
        return False

    def left(self) -> int:
        """Bytes that appends may still use, about: within the limit, and of what the disk has."""
        count, free = self._database.pages()
        limit = self.budget.soft if self._ceiling is None else self._ceiling
        return max(0, min((limit - count + free) * PAGE, free * PAGE + self._disk_bytes()))

    def recovered(self) -> None:
        """Something was appended: there is room."""
        self.full = ""

    def _disk_sentence(self) -> str:
        return (
            f"the disk under {self._database.path.parent} is full: "
            f"free space on it (the log keeps {BALLAST_BYTES >> 20} MiB in reserve there)"
        )

    def _disk_bytes(self) -> int:
        status = os.statvfs(self._database.path.parent)
        return status.f_bavail * status.f_frsize
