"""Figures of one moment: memory of a first list, time to the first event, time after a kill."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.clients import (
    BridgeRun,
    bridge_run,
    count_lines,
    piped,
    run_command,
    wait_for_bytes,
    wait_for_lines,
    watch_command,
)
from tests.bench.programs import NotMeasured, Program, cpu_seconds, last_words, peak_bytes
from tests.bench.spread import Spread
from tests.bench.stage import Server, Stage
from tests.bench.table import Goal, Row
from tests.components.build import COMPONENTS, ComponentUnavailable, binary

__all__ = ["memory", "restart", "start"]

Say = Callable[[str], None]

_SMALLEST_POD: Final = 6000
_PATIENCE: Final = 30.0
_CHECKOUT: Final = Path(__file__).parents[2]


def memory(stage: Stage, *, pods: int, rounds: int, say: Say) -> list[Row]:
    """Peak resident memory, and speed, of the first list."""
    rows = []
    for name, listing in (("watch", _listed_by_watch), ("run", _listed_by_run)):
        title = f"kube-bridge {name}: first list of {pods:,} Pods"
        peaks, rates = [], []
        try:
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: {title}")
                with Server(stage, pods=pods, events=0) as server:
                    peak, seconds = listing(server, pods)
                peaks.append(peak / 1e6)
                rates.append(pods / seconds)
        except NotMeasured as error:
            rows.append(Row(f"{title}, peak memory", str(error), "MB", Goal(120, at_most=True)))
            continue
        rows.append(Row(f"{title}, peak memory", Spread(tuple(peaks)), "MB", Goal(120, at_most=True)))
        rows.append(Row(f"{title}, from its start", Spread(tuple(rates)), "objects/s"))
    return rows


def _listed_by_watch(server: Server, pods: int) -> tuple[int, float]:
    began = time.monotonic()
    with piped(server, watch_command(server)) as client:
        ended = wait_for_bytes(client.program, pods * _SMALLEST_POD)
        return peak_bytes(client.program.pid), ended - began


def _listed_by_run(server: Server, pods: int) -> tuple[int, float]:
    began = time.monotonic()
    with bridge_run(server, initial="emit") as service:
        ended = wait_for_lines(service.output, pods, service.program)
        return peak_bytes(service.program.pid), ended - began


def start(stage: Stage, *, rounds: int, say: Say) -> list[Row]:
    """From exec to the first event on the output, over TLS; on any core, as for a person."""
    found: dict[str, list[tuple[float, float]] | str] = {}
    commands: dict[str, Callable[[Server], Sequence[str | Path]]] = {
        "kube-bridge watch": watch_command,
        "kubectl get --watch": _kubectl,
        "official Python client": _official,
    }
    with Server(stage, pods=3, events=0) as server:
        for number in range(rounds + 1):
            say(f"round {number} of {rounds}: exec to first event" if number else "warming up")
            for name, command in commands.items():
                times = found.setdefault(name, [])
                if isinstance(times, str):
                    continue
                try:
                    moment = _first_event(command(server), stage.environment, server.folder / "client.log")
                except (NotMeasured, ComponentUnavailable) as error:
                    found[name] = str(error)
                    continue
                if number:  # the first one fills caches: compiled modules, kubectl's discovery
                    times.append(moment)
    rows = []
    for which, title in enumerate(("exec to first event", "processor time until then")):
        for name, times in found.items():
            floor = Goal(300, at_most=True) if which == 0 and name == "kube-bridge watch" else None
            spread = times if isinstance(times, str) else Spread(tuple(each[which] * 1000 for each in times))
            rows.append(Row(f"{name}: {title}", spread, "ms", floor))
    return rows


def _kubectl(server: Server) -> Sequence[str | Path]:
    component = next(each for each in COMPONENTS if each.name == "kubectl")
    if not component.folder.is_dir() and "KUBEBUILDER_ASSETS" not in os.environ:
        raise NotMeasured("kubectl is not built yet (`make cluster` builds it)")
    return [
        binary("kubectl"), "get", "pods", "-A", "--watch", "--output-watch-events", "-o", "json",
        "--kubeconfig", server.kubeconfig(), "--cache-dir", server.folder / "cache",
    ]  # fmt: skip


def _official(server: Server) -> Sequence[str | Path]:
    return [sys.executable, "-m", "tests.bench.official", server.url, server.stage.authority, "1"]


def _first_event(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> tuple[float, float]:
    """Seconds, and seconds of processor time, from exec to the first event."""
    with log.open("wb") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=dict(environment),
            cwd=_CHECKOUT,
        )
    try:
        assert process.stdout is not None
        seen = b""
        while b"ADDED" not in seen:
            if not select.select([process.stdout], [], [], _PATIENCE)[0]:
                raise NotMeasured(f"no event within {_PATIENCE:g} s")
            data = os.read(process.stdout.fileno(), 65_536)
            if not data:
                raise NotMeasured(f"it ended before the first event: {last_words(log)}")
            seen += data
        return time.monotonic() - began, cpu_seconds(process.pid)
    finally:
        process.kill()
        process.communicate()


def restart(stage: Stage, *, rounds: int, say: Say) -> list[Row]:
    """From SIGKILL of `run` to the first new whole record in its file, when it is started again at once."""
    title = "kube-bridge run: kill -9 to first new record"
    times = []
    try:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: {title}")
            with Server(stage, pods=500, events=10**6, rate=500) as server, bridge_run(server) as service:
                times.append(_restarted(server, service) * 1000)
    except NotMeasured as error:
        return [Row(title, str(error), "ms")]
    return [Row(title, Spread(tuple(times)), "ms")]


def _restarted(server: Server, service: BridgeRun) -> float:
    output, folder = service.output, service.output.parent
    _wait_for(service.program, output, 0, 200)
    began = time.monotonic()
    service.program.kill()
    size = output.stat().st_size
    command = run_command(server, folder, output, "skip")
    again = Program(command, service.program.log, server.stage.environment, server.stage.client_core)
    with again:
        _wait_for(again, output, size, 1)
        return time.monotonic() - began


def _wait_for(program: Program, output: Path, begin: int, lines: int, seconds: float = 60) -> None:
    """Waits until the file holds so many line ends behind an offset; looks every millisecond."""
    deadline = time.monotonic() + seconds
    while not output.exists() or count_lines(output, begin, output.stat().st_size) < lines:
        program.check()
        if time.monotonic() > deadline:
            raise NotMeasured(f"no new record within {seconds:g} s")
        time.sleep(0.001)
