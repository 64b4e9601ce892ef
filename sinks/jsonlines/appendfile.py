"""A file of whole lines that only grows: opened with a repaired end, written and synced or taken back.

Everything here blocks; it is called in a worker thread. A line is *ours* when it begins as every record
does. Only the torn end of one of our lines is ever cut, never what somebody else has put into the file.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from bridge.delivery.sink import Unavailable
from bridge.faults import armed, crash_point
from bridge.logs import log

__all__ = [
    "NO_ROOM",
    "SEARCHED",
    "AppendFile",
    "cannot_open",
    "is_regular",
    "no_room",
    "problem",
    "sync_directory",
]

_BEGIN: Final = b'{"type":"'
_CHUNK: Final = 1 << 20
_UNSYNCED: Final = 32 << 20
"""More than one batch: a power cut can only have spoilt what was not synced yet."""
SEARCHED: Final = 1 << 30
"""How far back a replayed line is looked for; more cannot have been written since a cursor was durable."""
NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What a full disk, a full quota and a limit of the file's size say."""
_OPENING: Final = {
    errno.EISDIR: "it is a directory; write the path of a file",
    errno.ENOTDIR: "a part of the path is not a directory; write the path of a file",
    errno.ENOENT: "its directory does not exist; create it",
    errno.EACCES: "permission denied; let this user write there",
    errno.EPERM: "the system forbids it; let this user append to it",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ELOOP: "its symbolic links form a loop; write the path of a file",
    errno.ENXIO: "nobody reads from this pipe; start the reader",
}


class AppendFile:
    """One open file, locked against a second writer.

    Attributes:
        path: as configured.
        end: length of what is written and synced, always the end of a line.
        sound: whether the end is known; if not, the file must be opened anew, which repairs it.
    """

    __slots__ = ("_fd", "_identity", "end", "path", "sound")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.sound = True
        self.end = 0
        self._fd = fd
        self._identity = _identity(os.fstat(fd))

    @classmethod
    def open(cls, path: str) -> Self:
        """Open or create, lock, cut a torn last line, and make all of it durable.

        After this, whatever the file holds may be counted as written and synced.

        Raises:
            Unavailable: it cannot be opened, is written by somebody else, or its end is not ours to cut.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_open(path, error) from error
        file = cls(path, fd)
        try:
            file._lock()
            file._repair()
            os.fsync(fd)
            sync_directory(path)
        except OSError as error:
            file.close()
            if error.errno in NO_ROOM:
                raise no_room(path, error) from error
            raise
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        """Close and unlock; everything acknowledged is synced already."""
        os.close(self._fd)

    def is_current(self) -> bool:
        """Whether the path still names this file: a rotation may have moved it away."""
        try:
            return _identity(Path(self.path).stat()) == self._identity
        except OSError:
            return False

    def append(self, parts: Iterable[bytes]) -> None:
        """Write whole lines and sync them; on return they are durable, on an error none of them is left.

        Args:
            parts: written one after the other; only together they need to end with a line end.

        Raises:
            Unavailable: no room; the same data may come again.
            OSError: anything else. A failed sync is never repeated on the same data: the kernel may
                have dropped it (https://wiki.postgresql.org/wiki/Fsync_Errors).
        """
        begin = end = self._settle_end()
        try:
            for part in _torn(parts) if armed("sink.torn") else parts:
                self._write(part)
                end += len(part)
            crash_point("sink.written")
            os.fdatasync(self._fd)
        except OSError as error:
            self._take_back(begin)
            if error.errno in NO_ROOM:
                raise no_room(self.path, error) from error
            raise
        self.end = end
        crash_point("sink.synced")

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`, fewer only at the end."""
        parts = []
        while size and (part := os.pread(self._fd, min(size, _CHUNK), offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def find_last(self, line: bytes) -> int | None:
        """Offset of the last place where this line (with its line end) stands as a whole line, or None."""
        needle = b"\n" + line
        floor = max(self.end - SEARCHED, 0)
        high = self.end
        while high - floor >= len(needle):
            low = max(high - max(_CHUNK, 2 * len(needle)), floor)
            found = self.read(low, high - low).rfind(needle)
            if found >= 0:
                return low + found + 1
            if low == floor:
                break
            high = low + len(needle) - 1  # a match may straddle the border
        return 0 if floor == 0 and self.read(0, len(line)) == line else None

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(
                f"Cannot write to {self.path}: another process writes to it; stop it or choose another file."
            ) from error

    def _repair(self) -> None:
        size = os.fstat(self._fd).st_size
        self.end = self._line_end_before(self._first_hole(size))
        if self.end == size:
            return
        begin = self.read(self.end, len(_BEGIN))
        if begin[0] == 0 and self.end:
            begin = self.read(self._line_end_before(self.end - 1), len(_BEGIN))
        if not _BEGIN.startswith(begin):
            raise Unavailable(
                f"Cannot write to {self.path}: it ends in the middle of a line that is not ours; "
                "move the file away or end its last line."
            )
        os.ftruncate(self._fd, self.end)
        log("warning", "cut a torn last line", path=self.path, bytes=size - self.end)

    def _first_hole(self, size: int) -> int:
        """Where the bytes begin that a power cut left as zeros, which JSON text never holds; else `size`."""
        offset = max(size - _UNSYNCED, 0)
        while block := self.read(offset, _CHUNK):
            found = block.find(0)
            if found >= 0:
                return offset + found
            offset += len(block)
        return size

    def _line_end_before(self, offset: int) -> int:
        """The offset behind the last line end before `offset`, 0 when there is none."""
        while offset:
            low = max(offset - _CHUNK, 0)
            found = self.read(low, offset - low).rfind(b"\n")
            if found >= 0:
                return low + found + 1
            offset = low
        return 0

    def _settle_end(self) -> int:
        """The length now; somebody else may have truncated the file or appended to it."""
        size = os.fstat(self._fd).st_size
        if size == self.end:
            return size
        log("warning", "somebody else changes the file", path=self.path, was=self.end, now=size)
        if size and self.read(size - 1, 1) != b"\n":
            self._write(b"\n")
            size += 1
        return size

    def _write(self, data: bytes) -> None:
        """Write everything; the kernel may take it in parts, above all just before a disk is full."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _take_back(self, begin: int) -> None:
        self.sound = False
        with suppress(OSError):
            os.ftruncate(self._fd, begin)
            self.sound = True
            self.end = begin


def cannot_open(path: str, error: OSError) -> Unavailable:
    """The sentence for a path that cannot be opened for writing."""
    if error.errno in NO_ROOM:
        return no_room(path, error)
    why = _OPENING.get(error.errno or 0, f"{error.strerror}; make it writable")
    return Unavailable(f"Cannot write to {path}: {why}.")


def no_room(path: str, error: OSError) -> Unavailable:
    """The sentence for a full disk, quota or file size limit."""
    return Unavailable(f"Cannot write to {path}: {error.strerror}; make room, nothing is lost meanwhile.")


def is_regular(path: str) -> bool:
    """Whether appending to this path means a file: it is one, or nothing is there yet."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return True


def problem(path: str) -> str | None:
    """Why the path could not be opened now, in one sentence, or None. Creates nothing, changes nothing."""
    try:
        if stat.S_ISDIR(Path(path).stat().st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        place = path
    except FileNotFoundError:
        place = str(Path(path).resolve().parent)
        if not Path(place).is_dir():
            return str(cannot_open(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))))
    except OSError as error:
        return str(cannot_open(path, error))
    if os.access(place, os.W_OK):
        return None
    return str(cannot_open(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))))


def _torn(parts: Iterable[bytes]) -> Iterator[bytes]:
    data = b"".join(parts)
    half = len(data) // 2
    yield data[:half]
    crash_point("sink.torn")  # the first half is written by now
    yield data[half:]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def sync_directory(path: str) -> None:
    """A new file's name must survive a power cut too."""
    directory = os.open(Path(path).resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
