"""Standard output, a named pipe or a device: written in order, nothing can be read back or taken back.

Everything here blocks; it is called in a worker thread, which is left behind when its task is cancelled.
"""

import errno
import os
import select
import stat
import sys
from typing import Final, Self

from bridge.delivery.sink import ClosedPipe, Unavailable
from bridge.errors import UsageError
from bridge.faults import armed, crash_point
from sinks.jsonlines.appendfile import NO_ROOM, cannot_open, no_room

__all__ = ["Outlet"]

_POLL_MS: Final = 1000


class Outlet:
    """An open descriptor that takes bytes.

    What it has taken cannot be taken back, so a batch that was cut off half way is remembered and goes
    on where it stopped when it comes again. Standard output that is a regular file is synced; of a pipe
    only the reader can know what it owns.
    """

    __slots__ = ("_busy", "_fd", "_is_stdout", "_name", "_regular", "_unfinished")

    def __init__(self, fd: int, name: str, *, is_stdout: bool) -> None:
        self._fd = fd
        self._name = name
        self._is_stdout = is_stdout
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self._unfinished = b""
        self._busy = False

    @classmethod
    def stdout(cls) -> Self:
        """Our standard output, which we never close, and whose flags are shared with others: left alone.

        Raises:
            UsageError: the command was started with it closed; its number may be another file's by now.
        """
        if sys.__stdout__ is None:
            raise UsageError("Standard output is closed; redirect it to a file or a pipe.")
        return cls(1, "standard output", is_stdout=True)

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a named pipe or a device.

        Raises:
            Unavailable: it cannot be opened, or a pipe has no reader yet.
        """
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_open(path, error) from error
        return cls(fd, path, is_stdout=False)

    def close(self) -> None:
        """Close what we opened, unless a thread that was left behind still writes to its number."""
        if not self._is_stdout and not self._busy:
            os.close(self._fd)

    def append(self, data: bytes) -> None:
        """Write everything, waiting for the reader as long as it takes.

        Raises:
            ClosedPipe: nobody reads our standard output any more.
            Unavailable: no room, or a named pipe has lost its reader.
            OSError: anything else.
        """
        self._busy = True
        try:
            self._append(data)
        except OSError as error:
            if error.errno == errno.EPIPE and self._is_stdout:
                raise ClosedPipe("The reader of standard output is gone.") from error
            if error.errno == errno.EPIPE:
                raise Unavailable(
                    f"Cannot write to {self._name}: its reader is gone; start it again."
                ) from error
            if error.errno in NO_ROOM:
                raise no_room(self._name, error) from error
            raise
        finally:
            self._busy = False

    def _append(self, data: bytes) -> None:
        if data.startswith(self._unfinished):
            begin = len(self._unfinished)
        else:
            data, begin = b"\n" + data, 0  # another cut of the records: end the torn line before it
        half = len(data) // 2 if armed("sink.torn") else 0
        view, taken = memoryview(data), begin
        try:
            while taken < len(data):
                taken += self._write(view[taken : half if taken < half else None])
                if taken == half:
                    crash_point("sink.torn")
        finally:
            self._unfinished = data[:taken] if taken < len(data) else b""
        crash_point("sink.written")
        if self._regular:
            os.fdatasync(self._fd)
        crash_point("sink.synced")

    def _write(self, view: memoryview) -> int:
        while True:
            try:
                return os.write(self._fd, view)
            except BlockingIOError:
                # Somebody who shares this descriptor made it non-blocking: wait as if it were not.
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(_POLL_MS)
