"""The place in the log up to which a file holds all, kept beside it in `<path>.cursor`: one line of JSON.

It is written over in place after each synced batch, and not synced by itself: so it may be behind the file,
and is never ahead of it. A state that was lost or rolled back is told from it. Everything here blocks; it is
called in a worker thread.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bridge.delivery.sink import Resume
from bridge.logs import log
from sinks.jsonlines.rotation import rotated_files

__all__ = ["FileCursor", "Place", "cursor_path"]

_BEGIN: Final = b'{"logId":'
_MOST: Final = 4096
_LARGEST: Final = (1 << 63) - 1


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Up to where a file has everything.

    Attributes:
        log_id: identity of the log.
        incarnation: of the opening of that log that wrote this.
        position: everything up to here is written and synced.
        sink: name of the sink that wrote it.
    """

    log_id: str
    incarnation: int
    position: int
    sink: str

    def line(self) -> bytes:
        """As it stands in the file: as long for any place of a log and sink, so that none leaves a rest."""
        longest = msgspec.structs.replace(self, incarnation=_LARGEST, position=_LARGEST)
        return msgspec.json.encode(self).ljust(len(msgspec.json.encode(longest))) + b"\n"


class FileCursor:
    """What is remembered beside one file. Only a help: that it cannot be kept holds back no record."""

    def __init__(self, path: str) -> None:
        """`path` is of the file that holds the records. Nothing happens yet."""
        self._file = path
        self._fd: int | None = None
        self._foreign = False
        self._told = False

    def forget_without_file(self) -> None:
        """Remove what is remembered of a file that was taken away: nothing holds those records any more."""
        if os.path.lexists(self._file) or rotated_files(self._file):
            return
        self._read()
        if not self._foreign:
            with suppress(OSError):
                Path(cursor_path(self._file)).unlink()

    def resume(self, given: Resume, sink: str) -> Resume:
        """Where to go on: what was given, or what stands beside the file where that says more.

        Within one log what is behind says nothing (it is not synced), nor does what another sink wrote.
        """
        place = self._read()
        if place is None:
            return given
        if place.log_id == given.log_id and (place.sink != sink or place.position <= given.position):
            return given
        return Resume(place.log_id, place.incarnation, place.position)

    def write(self, place: Place) -> None:
        """Remember it; the records up to there are synced."""
        if self._foreign:
            return
        try:
            if self._fd is None:
                self._fd = self._open()
            os.pwrite(self._fd, place.line(), 0)
        except OSError as error:
            self.release()
            self._complain(f"it cannot be written: {error.strerror}")

    def release(self) -> None:
        """Let go of it; the next place is written to what has its name then."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Sync it and let go of it."""
        if self._fd is not None:
            with suppress(OSError):
                os.fdatasync(self._fd)
        self.release()

    def _open(self) -> int:
        fd = os.open(cursor_path(self._file), os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # who may write the one shall be able to write the other
            if os.fstat(fd).st_size == 0:
                os.fchmod(fd, stat.S_IMODE(Path(self._file).stat().st_mode))
        return fd

    def _read(self) -> Place | None:
        try:
            fd = os.open(cursor_path(self._file), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(f"it cannot be read: {error.strerror}")
            return None
        try:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
            text = os.read(fd, _MOST) if regular else b""
        finally:
            os.close(fd)
        self._foreign = not regular or not (text.startswith(_BEGIN) or not text.strip(b"\0"))
        if self._foreign:
            self._complain("it is not ours; move it away")
            return None
        try:
            return msgspec.json.decode(text.partition(b"\n")[0], type=Place)
        except msgspec.MsgspecError:
            self._complain("a crash has torn it; it is written anew")
            return None

    def _complain(self, why: str) -> None:
        if not self._told:
            self._told = True
            log(
                "warning",
                "no place in the log is kept beside the file: a state that is rolled back goes unnoticed",
                path=cursor_path(self._file),
                reason=why,
            )


def cursor_path(path: str) -> str:
    """Of the file that is kept beside another one; links are followed, it lies where the records lie."""
    return f"{Path(path).resolve()}.cursor"
