"""Child processes that cannot outlive the tests, and what waits for them to be ready."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAUNCH = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.05
# A deadline is only ever reached by a test that fails; in CI neighbours may hold the machine for long.
PATIENCE: Final = 3 if os.environ.get("CI") == "true" else 1
TAIL_LINES = 25


def _ports() -> range:
    """All that there are, or of these the quarter of one of four workers."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    return range(20_000 + int(worker) % 4, 32_000, 4) if worker.isdecimal() else range(20_000, 32_000)


_PORTS: Final = _ports()
_given = set[int]()

# "When the parent dies" means for the kernel: when the *thread* dies that started the child. A cluster
# started in a short-lived worker thread would die with it, so all are started by this one thread, which ends
# with the interpreter.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="start-component")


class ComponentFailed(Exception):
    """A real component did not start, stopped by itself, or refused a command."""


def spawn(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | int | None = None,
    directory: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, that gets SIGKILL when this process ends in whatever way."""
    full = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), *map(str, command)]
    return _starter.submit(
        subprocess.Popen,
        full,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        cwd=directory,
        env=environment,
        start_new_session=True,  # Ctrl-C in a terminal is for us; we then stop the parts in order
    ).result()


def alive(pid: int) -> bool:
    """Tells whether a process runs; one that is dead and only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
    """Polls until the condition holds; after the deadline raises an error that says what did not happen.

    In CI the deadline is `PATIENCE` times as far.
    """
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ComponentFailed(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    """Finds a loopback port that is free now and that the kernel does not hand out by itself.

    A port of the ephemeral range is no good for a server that restarts on it: while the server is down, a
    client that reconnects can be given that port as its own, and connects to itself or blocks the restart.

    Each is given once: a server keeps its port also while it is down, or has not started yet. So that it
    keeps it from others' tests, too, each worker of pytest-xdist has numbers of its own.
    """
    for _ in range(200):
        port = random.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise ComponentFailed(f"no free loopback port in {_PORTS}")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Returns the last lines of a log."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Server:
    """A program that is started, becomes ready, and is hurt as tests need; subclasses say which program."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "logs" / f"{self.name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Asks the running program whether it can be used."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process id of the running program."""
        if self._process is None:
            raise ComponentFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Starts the program and waits until it is ready (``wait=False``: only starts it)."""
        if self.running:
            raise ComponentFailed(f"{self.name} runs already")
        with self.log.open("ab") as output:
            self._process = spawn(self.command(), output=output, directory=self.directory)
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    def wait_ready(self, seconds: float = 60) -> None:
        """Waits until the program is ready; an error tells the end of its log and where the whole log is."""

        def ready() -> bool:
            if not self.running:
                raise ComponentFailed("it ended")
            return self.ready()

        try:
            eventually(ready, "ready", seconds=seconds)
        except ComponentFailed as error:
            code = self._process.poll() if self._process else None
            how = (
                f"ended with exit status {code}"
                if code is not None
                else f"was not ready within {seconds * PATIENCE:g} s"
            )
            raise ComponentFailed(f"{self.name} {how}; log: {self.log}\n{tail(self.log)}") from error

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process group of the program."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a crash would; returns when the process is gone. Does nothing when it does not run."""
        if self._process is not None:
            if self.running:
                self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def terminate(self, seconds: float = 90) -> None:
        """SIGTERM, and waits for the end; an API server with open watches takes its 60 s."""
        if self._process is not None:
            self.signal(signal.SIGTERM)
            self._process.wait(seconds)
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: the sockets stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after pause()."""
        self.signal(signal.SIGCONT)

    def restart(self) -> None:
        """SIGKILL and a start on the same ports and data; returns when it is ready again."""
        self.kill()
        self.start()
