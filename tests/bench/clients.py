"""The programs that are compared: how each is started, and when it has handed on the last event."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.bench.programs import PATIENCE, NotMeasured, Program, handed_on_bytes
from tests.bench.stage import Server, bridge, tool

__all__ = [
    "CLIENTS",
    "BridgeRun",
    "Client",
    "bridge_run",
    "curl",
    "discarding_curl",
    "official",
    "piped",
    "watch",
]

_CHECKOUT: Final = Path(__file__).parents[2]
_POLL: Final = 0.005
_QUIET: Final = 0.3
_LOG_LINE: Final = 4096
"""Less than this at once is a line of a log, no events."""


class Client(Protocol):
    """A running client."""

    @property
    def program(self) -> Program:
        """The process whose cost is measured."""
        ...

    @property
    def reader(self) -> Program | None:
        """What stands behind it on the same core."""
        ...

    def done(self) -> float:
        """Waits for the last of the server's events on the output; returns when it came (monotonic clock).

        Raises:
            NotMeasured: they did not come.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Piped:
    """A client whose output ``cat`` reads; what it hands on is seen in the bytes that it writes.

    Counting lines behind it in Python would cost more than ``cat`` does, and so flatter the slow clients.
    """

    program: Program
    server: Server
    reader: Program

    def done(self) -> float:
        expected = self.server.note("sent", self.program)["bytes"]
        return wait_for_bytes(self.program, expected)


@dataclass(frozen=True, slots=True)
class _Counting:
    """The official client, which counts by itself."""

    program: Program
    reader: None = None

    def done(self) -> float:
        return float(self.program.note("drained")["at"])


@dataclass(frozen=True, slots=True)
class _Discarding:
    """A client of whose output nothing can be seen: the server's last byte is all that is known."""

    program: Program
    server: Server
    reader: None = None

    def done(self) -> float:
        return float(self.server.note("sent", self.program)["at"])


@dataclass(slots=True)
class BridgeRun:
    """`kube-bridge run` into a file."""

    program: Program
    output: Path
    events: int
    reader: None = None

    def done(self) -> float:
        """See `Client`: the time when the file grew for the last time."""
        return wait_for_lines(self.output, self.events, self.program)


@contextlib.contextmanager
def piped(server: Server, command: list[str]) -> Iterator[_Piped]:
    """Starts a client with ``| cat > /dev/null`` behind it, both on the core of clients."""
    stage = server.stage
    folder = stage.fresh("client")
    cat = Program(
        [tool("cat")], folder / "cat.log", stage.environment, stage.client_core,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with cat:
        pipe = cat.process.stdin
        assert pipe is not None
        client = Program(command, folder / "client.log", stage.environment, stage.client_core, stdout=pipe)
        pipe.close()
        with client:
            yield _Piped(client, server, cat)
    stage.discard(folder)


def curl(server: Server) -> contextlib.AbstractContextManager[Client]:
    """``curl -sN ... | cat``: receives and hands on."""
    command = [tool("curl"), "-sN", "--http1.1", "--cacert", str(server.stage.authority), server.live]
    return piped(server, command)


@contextlib.contextmanager
def discarding_curl(server: Server) -> Iterator[Client]:
    """``curl -o /dev/null``: shows how much the server can do at least."""
    stage = server.stage
    folder = stage.fresh("curl")
    command = [
        tool("curl"),
        "-s",
        "--http1.1",
        "--cacert",
        str(stage.authority),
        "-o",
        os.devnull,
        server.live,
    ]
    with Program(command, folder / "client.log", stage.environment, stage.client_core) as program:
        yield _Discarding(program, server)
    stage.discard(folder)


@contextlib.contextmanager
def official(server: Server) -> Iterator[Client]:
    """The official Python client, raw dicts, counted only."""
    stage = server.stage
    folder = stage.fresh("official")
    command = [
        sys.executable, "-m", "tests.bench.official",
        server.url, str(stage.authority), str(server.events),
    ]  # fmt: skip
    environment = {**stage.environment, "PYTHONPATH": str(_CHECKOUT)}
    with Program(command, folder / "client.log", environment, stage.client_core) as program:
        yield _Counting(program)
    stage.discard(folder)


def watch_command(server: Server, *more: str) -> list[str]:
    """The command line of an ad hoc watch of all Pods."""
    return [bridge(), "watch", "pods", "-A", "-o", "json", "--kubeconfig", str(server.kubeconfig()), *more]


def watch(server: Server) -> contextlib.AbstractContextManager[Client]:
    """``kube-bridge watch --watch-only | cat``."""
    return piped(server, watch_command(server, "--watch-only"))


def run_command(
    server: Server, folder: Path, output: Path, initial: str, more_sinks: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Writes the configuration of a service with state in `folder`, and returns its command line."""
    config = folder / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "configVersion": 1,
                "cluster": {"name": "bench", "kubeconfig": str(server.kubeconfig())},
                "state": {"path": str(folder / "state")},
                "streams": [{"name": "pods", "apiVersion": "v1", "kind": "Pod", "initial": initial}],
                "sinks": [{"name": "out", "type": "jsonlines", "path": str(output)}, *more_sinks],
                "http": {"listen": "127.0.0.1:0"},
            }
        )
    )
    return [bridge(), "run", "-c", str(config)]


@contextlib.contextmanager
def bridge_run(
    server: Server, initial: str = "skip", more_sinks: Sequence[Mapping[str, Any]] = ()
) -> Iterator[BridgeRun]:
    """``kube-bridge run`` into a file, durably, and into `more_sinks`."""
    stage = server.stage
    folder = stage.fresh("run")
    output = folder / "out.jsonl"
    command = run_command(server, folder, output, initial, more_sinks)
    with Program(command, folder / "client.log", stage.environment, stage.client_core) as program:
        yield BridgeRun(program, output, server.events)
    stage.discard(folder)


def wait_for_bytes(program: Program, expected: int, patience: float = PATIENCE) -> float:
    """Returns when a program wrote for the last time, once it wrote so many bytes and is at rest."""
    size, grown = 0, time.monotonic()
    while True:
        time.sleep(_POLL)
        now, current = time.monotonic(), handed_on_bytes(program.pid)
        if current - size >= _LOG_LINE:
            size, grown = current, now
        elif now - grown > _QUIET and size >= expected:
            return grown
        elif now - grown > patience:
            program.check()
            raise NotMeasured(f"{size} of {expected} bytes came, and no more within {patience:g} s")


def wait_for_lines(output: Path, lines: int, program: Program, patience: float = PATIENCE) -> float:
    """Returns when a file grew for the last time, once it holds so many lines and is at rest."""
    size = counted = offset = 0
    grown = time.monotonic()
    while True:
        time.sleep(_POLL)
        now, current = time.monotonic(), output.stat().st_size if output.exists() else 0
        if current != size:
            size, grown = current, now
        elif now - grown > _QUIET:
            counted += count_lines(output, offset, size)
            offset = size
            if counted >= lines:
                return grown
            program.check()
            if now - grown > patience:
                raise NotMeasured(f"{counted} of {lines} lines came, and no more within {patience:g} s")


def count_lines(path: Path, begin: int, end: int) -> int:
    """Line ends between two offsets of a file."""
    if end <= begin:
        return 0
    count, left = 0, end - begin
    with path.open("rb") as file:
        file.seek(begin)
        while left and (data := file.read(min(left, 1 << 20))):
            count += data.count(b"\n")
            left -= len(data)
    return count


CLIENTS: Final = {
    "curl -o /dev/null": discarding_curl,
    "curl | cat": curl,
    "official Python client": official,
    "kube-bridge watch": watch,
    "kube-bridge run": bridge_run,
}
