"""What happens to rotated files: compressed, and removed once there are too many. In a thread of its own.

No delivery waits for it. A file is compressed into another name, which is synced and renamed before the
original goes, so a kill at any moment leaves at least one whole copy, and the next start goes on.
"""

import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from bridge.faults import crash_point
from bridge.logs import log
from sinks.jsonlines.appendfile import sync_directory
from sinks.jsonlines.rotation import PACKED, UNFINISHED, Rotate, RotatedFile, rotated_files, unfinished_files

__all__ = ["Tidier"]

_CHUNK: Final = 1 << 20
_LEVEL: Final = 3
_NEEDED_SECONDS: Final = 60.0
"""A cursor is durable a second or so after its records: until then a replay looks for them in such files."""


class Tidier:
    """Keeps the rotated files of one path in order; at most one thread."""

    def __init__(self, path: str, options: Rotate) -> None:
        """Nothing happens before `start`."""
        self._path = path
        self._options = options
        self._wake = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="kube-bridge rotated files", daemon=True)

    def start(self) -> None:
        """Begin, with whatever an earlier run has left."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """There is a new rotated file."""
        self._wake.set()

    def close(self) -> None:
        """Wait until the thread has ended: at once, but for a block that is being compressed and synced."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        again: float | None = None
        while True:
            self._wake.wait(again)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                again = self._tidy()
            except Exception as error:  # noqa: BLE001 - the records are safe as they are; the next time may work
                again = None
                log("warning", "rotated files stay as they are", path=self._path, error=str(error))

    def _tidy(self) -> float | None:
        """All that is to be done now; seconds until there is more, or None."""
        for left in unfinished_files(self._path):
            left.unlink(missing_ok=True)
        files = rotated_files(self._path)
        surplus = files[: -self._options.keep] if self._options.keep else []
        needed = [file for file in surplus if not self._remove(file)]
        if self._options.compress == "zstd":
            self._compress(files[len(surplus) :])
        return _NEEDED_SECONDS if needed else None

    @staticmethod
    def _remove(file: RotatedFile) -> bool:
        """Remove it in both forms, unless it was written to just now."""
        for path in (file.path, file.path + PACKED):
            with suppress(FileNotFoundError):
                if time.time() - Path(path).stat().st_mtime < _NEEDED_SECONDS:
                    return False
                Path(path).unlink()
        return True

    def _compress(self, files: Sequence[RotatedFile]) -> None:
        for file in files:
            if self._stop.is_set():
                return
            if file.plain and file.packed:
                _finish(file.path)  # a kill came between renaming and removing
            elif file.plain:
                self._compress_one(file.path)

    def _compress_one(self, path: str) -> None:
        target = path + UNFINISHED
        try:
            whole = self._write_compressed(path, target)
        except BaseException:
            Path(target).unlink(missing_ok=True)
            raise
        if not whole:
            Path(target).unlink()
            return
        crash_point("rotate.compressed")
        Path(target).rename(path + PACKED)
        crash_point("rotate.renamed")
        _finish(path)

    def _write_compressed(self, path: str, target: str) -> bool:
        """Write and sync the compressed form; False when it was told to stop before the end."""
        from zstandard import ZstdCompressor  # noqa: PLC0415 - a `watch` that rotates nothing starts without it

        with open(path, "rb") as source, open(target, "xb", opener=_private) as out:  # noqa: PTH123 - an opener
            status = os.fstat(source.fileno())
            os.fchmod(out.fileno(), stat.S_IMODE(status.st_mode))
            packer = ZstdCompressor(level=_LEVEL, write_checksum=True)
            with packer.stream_writer(out, size=status.st_size, closefd=False) as packed:
                while block := source.read(_CHUNK):
                    if self._stop.is_set():
                        return False
                    packed.write(block)
                    crash_point("rotate.compressing")
            out.flush()
            os.utime(out.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(out.fileno())
        return True


def _finish(path: str) -> None:
    """The compressed form is whole: once its name is durable, the original can go."""
    sync_directory(path)
    Path(path).unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
