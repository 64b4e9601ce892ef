"""Starting and watching the processes of a benchmark: their notes, processor time, memory and writes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Self

from tests.components.process import LAUNCH, tail

__all__ = [
    "NotMeasured",
    "Program",
    "cpu_seconds",
    "handed_on_bytes",
    "last_words",
    "peak_bytes",
    "written_bytes",
]

PATIENCE: Final = 90.0
_TICK: Final = os.sysconf("SC_CLK_TCK")


class NotMeasured(Exception):
    """A figure could not be had; the message says why."""


class Program:
    """A process on one core, which the kernel kills when the benchmark ends in whatever way.

    Args:
        command: program and arguments.
        log: where its standard error goes.
        environment: all of it.
        core: the only processor it may use, None for any.
        stdin: another's output.
        stdout: None makes a pipe, for `note`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        core: int | None,
        *,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | int | None = None,
    ) -> None:
        self.log = log
        self._name = Path(command[0]).name
        self._partial = b""
        prefix = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid())]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*prefix, *map(str, command)],
                stdin=stdin,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=errors,
                env=dict(environment),
            )
        if core is not None:
            os.sched_setaffinity(self.process.pid, {core})

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def note(self, what: str, *others: Program, seconds: float = PATIENCE) -> dict[str, Any]:
        """Waits until the program prints a JSON line about `what`, and returns it.

        Args:
            what: value of the key `what`; other lines are passed over.
            others: programs that must stay alive meanwhile.
            seconds: how long to wait.

        Raises:
            NotMeasured: it was not printed in time, or this program or one of the others ended.
        """
        pipe = self.process.stdout
        assert pipe is not None
        deadline = time.monotonic() + seconds
        while True:
            line, newline, rest = self._partial.partition(b"\n")
            if newline:
                self._partial = rest
                said: dict[str, Any] = json.loads(line)
                if said["what"] == what:
                    return said
                continue
            for program in (*others, self):
                program.check()
            if time.monotonic() > deadline:
                raise NotMeasured(
                    f"{self._name}: no {what!r} within {seconds:g} s{self._others_said(others)}"
                )
            if select.select([pipe], [], [], 0.2)[0]:
                self._partial += os.read(pipe.fileno(), 65_536)

    def check(self) -> None:
        """Raises NotMeasured if the program has ended."""
        code = self.process.poll()
        if code is not None:
            raise NotMeasured(f"{self._name} ended with {code}: {last_words(self.log)}")

    def kill(self) -> None:
        """SIGKILL, and waits for it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def terminate(self, seconds: float = 30) -> int:
        """SIGTERM; returns the bytes that it wrote to the disk in its whole life, its end included."""
        self.process.terminate()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_oublock * 512
            time.sleep(0.01)
        raise NotMeasured(f"{self._name} did not end within {seconds:g} s of SIGTERM")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @staticmethod
    def _others_said(others: Sequence[Program]) -> str:
        words = [last_words(other.log) for other in others]
        return "".join(f"; {word}" for word in words if word)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process with all its threads, those that have ended included."""
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had resident (VmHWM)."""
    return _field(pid, "status", "VmHWM:") * 1024


def handed_on_bytes(pid: int) -> int:
    """Bytes that a process gave to write(2), to whatever (`wchar` of /proc/PID/io)."""
    return _field(pid, "io", "wchar:")


def written_bytes(pid: int) -> int:
    """Bytes of dirtied pages that a process sent towards the disk (`write_bytes` of /proc/PID/io)."""
    return _field(pid, "io", "write_bytes:")


def _field(pid: int, file: str, name: str) -> int:
    for line in _proc(pid, file).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise NotMeasured(f"/proc/PID/{file} has no {name}")


def _proc(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError as error:
        raise NotMeasured(f"/proc/PID/{file} cannot be read: {error.strerror}") from error


def last_words(log: Path) -> str:
    """The end of a log, in one line."""
    lines = tail(log, 3).split("\n")
    return " ".join(line.strip() for line in lines)[-300:]
