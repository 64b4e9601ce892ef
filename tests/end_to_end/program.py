"""Programs under test, from outside: started, read, signalled, and never left running."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from tests.components.cluster import Cluster
from tests.components.process import PATIENCE, ComponentFailed, eventually

__all__ = [
    "Kubeconfig",
    "Program",
    "RunBridge",
    "Service",
    "StartService",
    "bridge",
    "clean_environment",
    "documents",
    "fold",
]

Record = dict[str, Any]


def bridge(*args: str | Path) -> list[str]:
    """The command line of a `kube-bridge`."""
    return [sys.executable, "-m", "bridge", *map(str, args)]


def clean_environment(home: Path, environ: dict[str, str] | None = None) -> dict[str, str]:
    """An environment without the developer's own clusters, proxies and colours; planted bugs are in it."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8", **(environ or {})}


def documents(text: bytes) -> list[Any]:
    """The complete JSON documents at the start of a text, one behind the other, indented or not."""
    decoder = json.JSONDecoder()
    rest = text.decode(errors="ignore").lstrip()
    found = []
    while rest:
        try:
            document, end = decoder.raw_decode(rest)
        except json.JSONDecodeError:
            break
        found.append(document)
        rest = rest[end:].lstrip()
    return found


def fold(records: Sequence[Record], stream: str | None = None) -> dict[tuple[str, str, str], tuple[str, str]]:
    """The collection that the records lead to: (resource, namespace, name) -> (uid, resourceVersion)."""
    state: dict[tuple[str, str, str], tuple[str, str]] = {}
    for record in records:
        if record["type"] in ("RESYNC", "POISON") or (stream and record["stream"] != stream):
            continue
        key = (record["resource"], record["namespace"], record["name"])
        if record["type"] == "DELETED":
            state.pop(key, None)
        else:
            state[key] = (record["uid"], record["resourceVersion"])
    return state


class Program:
    """A process whose standard output and error are collected while it runs; killed by the end of `with`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environ: dict[str, str] | None = None,
        *,
        stdout: int = subprocess.PIPE,
    ) -> None:
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=clean_environment(folder, environ),
        )
        self._out, self._err = bytearray(), bytearray()
        self._readers = [
            threading.Thread(target=_collect, args=(pipe, into), daemon=True)
            for pipe, into in ((self.process.stdout, self._out), (self.process.stderr, self._err))
            if pipe is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    @property
    def out(self) -> bytes:
        """Standard output so far."""
        return bytes(self._out)

    @property
    def err(self) -> str:
        """Standard error so far; it may end in the middle of a character."""
        return self._err.decode(errors="ignore")

    def records(self) -> list[Record]:
        """The JSON documents on standard output so far."""
        return documents(self.out)

    def wait(self, condition: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
        """Until the condition holds; fails at once when the program ends before it does."""

        def holds() -> bool:
            ended = self.process.poll() is not None
            if condition():
                return True
            if ended:
                raise AssertionError(f"{what}: the program ended with {self.process.returncode}: {self.err}")
            return False

        try:
            eventually(holds, what, seconds=seconds)
        except ComponentFailed as error:
            raise AssertionError(f"{error}\n{self.err[-3000:]}\n{self.out[-2000:]!r}") from error

    def wait_out(self, needle: str, *, seconds: float = 30) -> None:
        """Until standard output holds the text."""
        self.wait(lambda: needle.encode() in self.out, f"{needle!r} on stdout", seconds=seconds)

    def wait_err(self, needle: str, *, seconds: float = 30) -> None:
        """Until standard error holds the text."""
        self.wait(lambda: needle in self.err, f"{needle!r} on stderr", seconds=seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, *, seconds: float = 60) -> int:
        """Wait until it ends by itself; returns the exit code. In CI `PATIENCE` times as long."""
        seconds *= PATIENCE
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.err[-3000:]}") from None
        for reader in self._readers:
            reader.join()
        return code

    def finished(self, *, seconds: float = 60) -> str:
        """Wait for the end; its standard output, whatever the exit code."""
        self.end(seconds=seconds)
        return self.out.decode()

    def failure(self, *, seconds: float = 60) -> tuple[int, str]:
        """Wait for the end; the exit code, and the one sentence that it must leave on standard error."""
        code = self.end(seconds=seconds)
        lines = self.err.splitlines()
        assert "Traceback" not in self.err, self.err
        assert len(lines) == 1, f"one sentence, not {len(lines)} lines:\n{self.err}"
        assert lines[0].startswith("kube-bridge: "), lines[0]
        return code, lines[0].removeprefix("kube-bridge: ")


def _collect(pipe: IO[bytes], into: bytearray) -> None:
    with pipe:
        while data := os.read(pipe.fileno(), 65536):
            into.extend(data)


class RunBridge(Protocol):
    """The fixture `run_bridge`."""

    def __call__(self, *args: str | Path, kubeconfig: Path | None = None, **environ: str) -> Program: ...


class Kubeconfig(Protocol):
    """The fixture `kubeconfig`."""

    def __call__(
        self, user: dict[str, object], name: str = "kubeconfig", *, namespace: str = "default"
    ) -> Path: ...


class StartService(Protocol):
    """The fixture `start_service`."""

    def __call__(self, cluster: Cluster, streams: list[dict[str, object]], **config: object) -> "Service": ...


class Service:
    """A `kube-bridge run` with its configuration, state, output and log in one folder."""

    def __init__(
        self, folder: Path, cluster: Cluster, streams: list[dict[str, object]], config: dict[str, object]
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.out = folder / "out.jsonl"
        self.config = folder / "config.yaml"
        self.kubeconfig = cluster.write_kubeconfig(folder / "kubeconfig", cluster.token)
        self.log = ""
        self._program: Program | None = None
        self.document: dict[str, Any] = {
            "configVersion": 1,
            "cluster": {"name": "test", "kubeconfig": str(self.kubeconfig), "qps": 200, "burst": 400},
            "state": {"path": str(self.state), "maxBytes": "128Mi"},
            "streams": streams,
            "sinks": [{"name": "out", "type": "jsonlines", "path": str(self.out)}],
            **config,
        }

    @property
    def program(self) -> Program:
        """The process; there must be one."""
        if self._program is None:
            raise AssertionError("the service was not started")
        return self._program

    def start(self, **environ: str) -> Self:
        """Write the configuration as it is now, and start."""
        self.write()
        self._program = Program(bridge("run", "-c", self.config), self.folder, environ)
        return self

    def write(self) -> None:
        """Write the configuration as it is now."""
        self.config.write_text(json.dumps(self.document))

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._program is not None:
            self._program.__exit__(None, None, None)
            self.log += self._program.err
            self._program = None

    def stop(self, *, seconds: float = 40) -> int:
        """SIGTERM; returns the exit code."""
        program = self.program
        program.signal(signal.SIGTERM)
        code = program.end(seconds=seconds)
        self.kill()
        return code

    def records(self) -> list[Record]:
        """The whole lines of the output."""
        if not self.out.exists():
            return []
        return [json.loads(line) for line in self.out.read_bytes().split(b"\n")[:-1]]

    def changes(self, name: str | None = None, stream: str | None = None) -> list[Record]:
        """ADDED, MODIFIED and DELETED, of one name or of all."""
        return [
            record
            for record in self.records()
            if record["type"] not in ("RESYNC", "POISON")
            and (name is None or record["name"] == name)
            and (stream is None or record["stream"] == stream)
        ]

    def types(self, name: str) -> list[str]:
        """What happened to an object, in order."""
        return [record["type"] for record in self.changes(name)]

    def resyncs(self, cause: str | None = None, phase: str = "end") -> list[Record]:
        """The RESYNC records of one phase."""
        return [
            record
            for record in self.records()
            if record["type"] == "RESYNC"
            and record["phase"] == phase
            and (cause is None or record["cause"] == cause)
        ]

    def wait(self, condition: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
        """Until the condition holds; fails when the service ends before it does."""
        try:
            self.program.wait(condition, what, seconds=seconds)
        except AssertionError as error:
            seen = [(r["type"], r.get("name"), r.get("cause"), r.get("phase")) for r in self.records()[-20:]]
            raise AssertionError(f"{error}\n{seen}") from error

    def wait_types(self, name: str, *types: str, seconds: float = 30) -> None:
        """Until these, and no others, happened to an object."""
        self.wait(lambda: self.types(name) == list(types), f"{name}: {types}", seconds=seconds)

    def wait_listed(self, *, seconds: float = 30) -> None:
        """Until each stream has ended a listing."""
        names = {stream["name"] for stream in self.document["streams"]}
        self.wait(lambda: {r["stream"] for r in self.resyncs()} == names, "first listings", seconds=seconds)
