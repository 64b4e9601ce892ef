"""The one SQLite connection: opened, checked, brought to this version, and its transactions."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

from bridge.errors import StateError
from bridge.faults import crash_point
from bridge.store import schema
from bridge.store.failures import Full, LogError, opening_failure, storage_failure

__all__ = ["PAGE", "WAL_BYTES", "Connect", "Database", "connect"]

PAGE: Final = 4096
WAL_BYTES: Final = 16 << 20
"""Where a checkpoint runs: 16 MB is the compromise of bytes written and the stall of a checkpoint."""

_CHECKED: Final = 64 << 20
"""A file up to this size is checked whole when it is opened (about 0.1 s); a larger one as it is read."""

_PRAGMAS: Final[Sequence[tuple[str, object, object]]] = (
    # name, value, what reading it back must say
    ("page_size", PAGE, PAGE),  # before the first table
    ("locking_mode", "EXCLUSIVE", "exclusive"),  # no second connection, and the WAL's index in the heap
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),  # NORMAL loses acknowledged commits at a power cut
    ("secure_delete", "OFF", 0),  # Debian's library has it on: +70 % bytes when trimming
    ("wal_autocheckpoint", WAL_BYTES // PAGE, WAL_BYTES // PAGE),
    ("journal_size_limit", -1, -1),  # a WAL that is overwritten in place costs half of one that grows
    ("cache_size", -8000, -8000),
    ("auto_vacuum", "NONE", 0),
)

Connect = Callable[[Path], sqlite3.Connection]


def connect(path: Path) -> sqlite3.Connection:
    """Python's own SQLite; transactions are written out, and the writer's thread is not the opener's."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


class Database:
    """An open log file. Every method is for one thread at a time.

    Attributes:
        path: the file.
        connection: for queries; they must be read to the end (`fetchall`), an open one blocks checkpoints.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self._wal_seen = 0

    @classmethod
    def open(
        cls, path: Path, *, connector: Connect = connect, migrations: Sequence[str] = schema.MIGRATIONS
    ) -> "Database":
        """Open the file, or make it.

        Args:
            path: the file, in a directory that this process has locked.
            connector: makes the connection; tests put a failing disk under it.
            migrations: see `schema.MIGRATIONS`.

        Raises:
            StateError: a person must look: newer, corrupt, read-only, not ours, or open elsewhere.
            LogError: the disk fails.
        """
        connection: sqlite3.Connection | None = None
        with suppress(OSError):  # SQLite says it better, and its WAL takes the mode of the file
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            connection = connector(path)
            database = cls(path, connection)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before anything touches a WAL
            database._identify(migrations)
            for name, value, expected in _PRAGMAS:
                database._set(name, value, expected)
            database._prepare(migrations)
            return database  # noqa: TRY300 - the whole of it is guarded
        except BaseException as error:
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
            if isinstance(error, sqlite3.Error):
                raise opening_failure(error, path) from error
            if isinstance(error, Full):
                raise StateError(
                    f"there is no room to open the log {path}: free space on its volume"
                ) from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, durable when it is left.

        Raises:
            Full: no room; rolled back, may be tried again.
            LogError: the storage failed; nothing may be tried again on this connection.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            crash_point("log.begin")
            yield self.connection
            crash_point("log.written")
            self.connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                if self.connection.in_transaction:  # SQLITE_FULL has often rolled back by itself
                    self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise storage_failure(error, self.path) from error
            raise
        crash_point("log.committed")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Statements outside of a transaction; raises as `transaction`."""
        try:
            yield
        except sqlite3.Error as error:
            raise storage_failure(error, self.path) from error

    def checkpoint(self, mode: Literal["PASSIVE", "RESTART"]) -> None:
        """Bring what is in the WAL into the main file, and see the error that an automatic one hides.

        Raises as `transaction`.
        """
        with self.guard():
            self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    def watch_wal(self) -> None:
        """The WAL grows beyond its limit only if automatic checkpoints fail, silently: try one and see why.

        Raises as `transaction`.
        """
        _, size = self.sizes()
        if size > max(self._wal_seen, WAL_BYTES + WAL_BYTES // 4):
            self._wal_seen = size
            self.checkpoint("PASSIVE")

    def limit_pages(self, pages: int) -> None:
        """Let the main file grow to so many pages; never below what it has."""
        self.connection.execute(f"PRAGMA max_page_count = {int(pages)}").fetchall()

    def pages(self) -> tuple[int, int]:
        """Pages of the main file, and how many of them are free."""
        count = self.connection.execute("PRAGMA page_count").fetchone()[0]
        free = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        return int(count), int(free)

    def sizes(self) -> tuple[int, int]:
        """Bytes of the main file and of the WAL."""
        return _size(self.path), _size(self.path.with_name(self.path.name + "-wal"))

    def close(self) -> None:
        """Close; on a healthy disk this checkpoints and removes the WAL."""
        with suppress(sqlite3.Error):
            self.connection.close()

    def _identify(self, migrations: Sequence[str]) -> None:
        """Refuse a file that is not ours, or too new, before a single byte of it is changed."""
        application = self._get("application_id")
        version = self._get("user_version")
        known = 1 + len(migrations)
        foreign = application != schema.APPLICATION_ID
        if foreign and (application or version or self._has_tables()):
            raise StateError(
                f"{self.path} belongs to another program: move it away, "
                "or give kube-bridge a state.path of its own",
            )
        if version > known:
            raise StateError(
                f"the log {self.path} was written by a newer kube-bridge "
                f"(format {version}, this one knows {known}): run the newer version",
            )

    def _prepare(self, migrations: Sequence[str]) -> None:
        version = self._get("user_version")
        if version == 0:
            with self.transaction() as connection:
                schema.create(connection, migrations)
            _sync_directory(self.path.parent)
            return
        self._check()
        if version < 1 + len(migrations):
            self._back_up(version)
            with self.transaction() as connection:
                schema.upgrade(connection, version, migrations)

    def _check(self) -> None:
        if _size(self.path) > _CHECKED:
            return
        answer = self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            error = sqlite3.DatabaseError(str(answer).replace("\n", " "))
            error.sqlite_errorname = "SQLITE_CORRUPT"
            raise error

    def _back_up(self, version: int) -> None:
        """A copy of the old format beside the file, whole or not there."""
        backup = self.path.with_name(f"{self.path.name}.format{version}.bak")
        partial = backup.with_name(backup.name + ".tmp")
        partial.unlink(missing_ok=True)
        self.connection.execute("VACUUM INTO ?", (str(partial),))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(backup)
        _sync_directory(backup.parent)

    def _set(self, name: str, value: object, expected: object) -> None:
        self.connection.execute(f"PRAGMA {name} = {value}").fetchall()
        found: Any = self._get(name)
        if found != expected:
            raise LogError(f"SQLite here will not keep {name} at {value} (it says {found}) for {self.path}")

    def _get(self, name: str) -> Any:
        return self.connection.execute(f"PRAGMA {name}").fetchone()[0]

    def _has_tables(self) -> bool:
        return bool(self.connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").fetchone()[0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
