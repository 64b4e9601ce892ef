"""A disk that the tests control, under the log's own statements: apsw's VFS behind sqlite3's interface."""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, cast

import apsw

__all__ = ["Disk", "connector"]

Operation = tuple[str, str, int, bytes]
"""write | truncate | sync, file, offset or size, data."""


class Disk:
    """What a file system does, on order.

    Attributes:
        capacity: bytes of all files, or None for no limit.
        ballast: a file that takes capacity too.
        broken: every write or sync fails with EIO.
        recording: operations in order, when wanted.
        gate: closed, a sync waits for it; open at first.
    """

    def __init__(self, ballast: Path | None = None) -> None:
        self.capacity: int | None = None
        self.ballast = ballast
        self.broken = False
        self.recording: list[Operation] | None = None
        self.sizes: dict[str, int] = {}
        self.refused = 0
        self.gate = threading.Event()
        self.gate.set()

    def used(self) -> int:
        taken = self.ballast.stat().st_size if self.ballast and self.ballast.exists() else 0
        return sum(self.sizes.values()) + taken

    def write(self, name: str, offset: int, data: bytes) -> None:
        self.check()
        growth = offset + len(data) - self.sizes.get(name, 0)
        if growth > 0:
            if self.capacity is not None and self.used() + growth > self.capacity:
                self.refused += 1
                raise apsw.FullError("no space left on device")
            self.sizes[name] = offset + len(data)
        self.record("write", name, offset, data)

    def truncate(self, name: str, size: int) -> None:
        self.check()
        self.sizes[name] = size
        self.record("truncate", name, size, b"")

    def sync(self, name: str) -> None:
        assert self.gate.wait(30)
        self.check()
        self.record("sync", name, 0, b"")

    def check(self) -> None:
        if self.broken:
            raise apsw.IOError("input/output error")

    def record(self, what: str, name: str, offset: int, data: bytes) -> None:
        if self.recording is not None:
            self.recording.append((what, name, offset, data))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(text).name if text else "temporary"
        self._disk = disk
        disk.sizes[self._name] = self.xFileSize()

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.truncate(self._name, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.sync(self._name)
        super().xSync(flags)


class _FileSystem(apsw.VFS):
    """Kept for good: a connection that a test leaves behind is closed by the collector, at any time."""

    _kept: ClassVar[list["_FileSystem"]] = []

    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, base="")
        self._disk = disk
        self._kept.append(self)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001 - SQLite's name
        self._disk.sizes.pop(Path(filename).name, None)
        self._disk.record("delete", Path(filename).name, 0, b"")
        super().xDelete(filename, syncdir)


class _Rows:
    """A cursor that was read to its end, as `sqlite3.Cursor` looks to the log."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = iter(rows)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> tuple[Any, ...]:
        return next(self._rows)

    def close(self) -> None:
        pass


class _Connection:
    """The part of `sqlite3.Connection` that the log uses."""

    def __init__(self, path: Path, name: str) -> None:
        self._connection = apsw.Connection(str(path), vfs=name)
        self._checkpoint_pages = 0

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> _Rows:
        if sql.startswith("PRAGMA wal_autocheckpoint"):
            return self._autocheckpoint(sql)
        try:
            return _Rows(list(self._connection.execute(sql, tuple(parameters))))
        except apsw.Error as error:
            raise _translated(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> _Rows:
        try:
            return _Rows(list(self._connection.executemany(sql, [tuple(row) for row in rows])))
        except apsw.Error as error:
            raise _translated(error) from error

    def _autocheckpoint(self, sql: str) -> _Rows:
        """SQLite's own swallows its errors; apsw would raise what the disk raised there, out of COMMIT."""

        def hook(connection: apsw.Connection, _: str, pages: int) -> int:
            if pages >= self._checkpoint_pages:
                with suppress(apsw.Error):
                    connection.wal_checkpoint()
            return apsw.SQLITE_OK

        _, _, value = sql.partition("=")
        if value:
            self._checkpoint_pages = int(value)
            self._connection.set_wal_hook(hook)
        return _Rows([(self._checkpoint_pages,)])

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        try:
            self._connection.close()
        except apsw.Error as error:
            raise _translated(error) from error


def _translated(error: apsw.Error) -> sqlite3.OperationalError:
    translated = sqlite3.OperationalError(str(error))
    translated.sqlite_errorcode = {apsw.FullError: 13, apsw.IOError: 10}.get(type(error), 1)
    translated.sqlite_errorname = f"SQLITE_{type(error).__name__.removesuffix('Error').upper()}"
    return translated


class connector:  # noqa: N801 - used as a function
    """`connector(disk)` for `SqliteLog.open(connector=...)`."""

    _count = 0

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __call__(self, path: Path) -> sqlite3.Connection:
        connector._count += 1
        name = f"test{connector._count}"
        _FileSystem(name, self._disk)
        return cast("sqlite3.Connection", _Connection(path, name))
