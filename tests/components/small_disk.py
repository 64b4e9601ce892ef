"""A file system of some MiB for a program that shall find its disk full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.components.build import ComponentUnavailable
from tests.components.process import LAUNCH, eventually, spawn

if TYPE_CHECKING:
    from types import TracebackType

_FILLER = "filler"


class SmallDisk:
    """A tmpfs at `path`, in a mount namespace of its own: only programs behind `inside` see it.

    A process keeps it for as long as ``with`` lasts, so it outlives a restart of the program, and no mount is
    left behind whatever happens.

    Raises:
        ComponentUnavailable: this machine does not allow a mount namespace.
    """

    def __init__(self, path: Path, mebibytes: int) -> None:
        if not _may_mount():
            raise ComponentUnavailable("needs a mount namespace of its own (unshare), for a full disk")
        path.mkdir(parents=True)
        script = f'mount -t tmpfs -o size={mebibytes}m tmpfs "$0" && exec sleep infinity'
        self._keeper = spawn([_found("unshare"), *_NAMESPACES, "sh", "-c", script, path])
        self._seen = Path(f"/proc/{self._keeper.pid}/root") / path.relative_to("/")
        self._empty = path.stat().st_dev

    @property
    def inside(self) -> list[str]:
        """What stands before a command that shall see it; the command dies with us as it would without."""
        enter = [_found("nsenter"), "--target", str(self._keeper.pid), "--mount"]
        if os.getuid():
            enter += ["--user", "--preserve-credentials"]
        return [*enter, sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid())]

    def fill(self, leave: int) -> None:
        """Take all room but so many bytes."""
        room = os.statvfs(self._seen)
        with (self._seen / _FILLER).open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, room.f_bavail * room.f_frsize - leave)

    def empty(self) -> None:
        """Give the room back."""
        (self._seen / _FILLER).unlink()

    def __enter__(self) -> Self:
        try:
            eventually(self._mounted, "a small disk")
        except BaseException:
            self._unmount()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unmount()

    def _unmount(self) -> None:
        self._keeper.kill()
        self._keeper.wait()

    def _mounted(self) -> bool:
        return self._seen.stat().st_dev != self._empty


_NAMESPACES = ("--mount",) if os.getuid() == 0 else ("--map-root-user", "--mount")


def _found(program: str) -> str:
    return shutil.which(program) or program


@cache
def _may_mount() -> bool:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    trial = ["unshare", *_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0
