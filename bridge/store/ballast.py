"""A file that really occupies disk, to be given up when the disk is full so that the log can be emptied.

On a full disk SQLite deadlocks: the main file must grow to take what is in the WAL, and the WAL must
grow to take the DELETE that would make room (docs/decisions/0001-the-log.md). The ballast is what
both may still use.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from bridge.store.directory import file_system

__all__ = ["Ballast"]

_BLOCK: Final = 1 << 20
_RESERVING: Final = frozenset({"ext4", "xfs", "tmpfs"})
"""Where fallocate(2) takes the blocks away from everyone else. Others compress, or copy on write."""


class Ballast:
    """Reserved bytes beside the log.

    Attributes:
        size: bytes it occupies when it is whole.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size

    @property
    def whole(self) -> bool:
        """Every byte has its block on the disk."""
        try:
            status = self._path.stat()
        except OSError:
            return False
        return status.st_size == self.size and status.st_blocks * 512 >= self.size

    def write(self) -> bool:
        """Occupy the disk: by reservation where that is as good as writing, else with random bytes.

        Returns:
            Whether it is whole now; if not, everything it had is released again.
        """
        if self.whole:
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if file_system(self._path) in _RESERVING:
                os.posix_fallocate(descriptor, 0, self.size)
            else:
                for start in range(0, self.size, _BLOCK):
                    _write_all(descriptor, os.urandom(min(_BLOCK, self.size - start)))
            os.fsync(descriptor)
        except OSError:
            self.release()
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> None:
        """Give the disk back what it occupies; never fails on a full disk."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._path, 0)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
