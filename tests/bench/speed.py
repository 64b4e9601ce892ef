"""Events per second, processor time and bytes on disk of a live watch, against baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.clients import CLIENTS, BridgeRun, bridge_run
from tests.bench.programs import NotMeasured, cpu_seconds, peak_bytes, written_bytes
from tests.bench.spread import Spread, ratio
from tests.bench.stage import Server, Stage
from tests.bench.table import Goal, Row

__all__ = ["Sample", "pace", "speed", "speed_rows"]

CAT: Final = "curl | cat"
OFFICIAL: Final = "official Python client"
WATCH: Final = "kube-bridge watch"
RUN: Final = "kube-bridge run"
_SLOW: Final = {OFFICIAL: 5}
"""Clients that get so many times fewer events: a rate needs no more, and a run should end."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One client in one round.

    Attributes:
        rate: events a second, from the first live event to the last one on the output.
        cpu: microseconds of processor time of the client's process per event.
        core: the same with what stands behind it, as `cat`.
        disk: bytes written per event beside the output file; None for a client that writes nothing.
        peak: bytes of memory at most.
    """

    rate: float
    cpu: float
    core: float
    disk: float | None
    peak: int


Samples = dict[str, list[Sample] | str]


def speed(stage: Stage, *, pods: int, events: int, rounds: int, say: Say) -> list[Row]:
    """All clients at full speed; each round begins with another one."""
    names = list(CLIENTS)
    samples: Samples = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            done = samples[name]
            if isinstance(done, str):
                continue
            say(f"round {number + 1} of {rounds}: {name}")
            try:
                done.append(_measure(stage, name, pods, events // _SLOW.get(name, 1)))
            except NotMeasured as error:
                samples[name] = str(error)
    return speed_rows(samples)


def speed_rows(samples: Samples) -> list[Row]:
    """The rows of all clients, then the ratios that matter."""
    rows = [_row(samples, name, f"{name}: live events", "events/s", lambda it: it.rate) for name in samples]
    rows += [
        _row(samples, name, f"{name}: processor time", "us/event", lambda it: it.cpu) for name in samples
    ]
    rows += [
        *_ratio(samples, WATCH, CAT, Goal(0.25)),
        *_ratio(samples, RUN, CAT, Goal(0.2)),
        *_ratio(samples, WATCH, OFFICIAL),
        *_ratio(samples, RUN, OFFICIAL),
        _row(
            samples, RUN, f"{RUN}: written beside the file, full speed", "B/event",
            lambda it: it.disk or 0, Goal(1500, at_most=True),
        ),
        _row(samples, WATCH, f"{WATCH}: peak memory, full speed", "MB", lambda it: it.peak / 1e6),
        _row(samples, RUN, f"{RUN}: peak memory, full speed", "MB", lambda it: it.peak / 1e6),
    ]  # fmt: skip
    return rows


def pace(stage: Stage, *, pods: int, events: int, rounds: int, say: Say) -> list[Row]:
    """`run` at 1,000 events a second, where commits are small."""
    samples: list[Sample] | str = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: {RUN} at 1,000 events/s")
        try:
            assert isinstance(samples, list)
            samples.append(_measure(stage, RUN, pods, events, rate=1000))
        except NotMeasured as error:
            samples = str(error)
            break
    found: Samples = {RUN: samples}
    return [
        _row(
            found, RUN, f"{RUN}: written beside the file, 1,000/s", "B/event",
            lambda it: it.disk or 0, Goal(4000, at_most=True),
        ),
        _row(found, RUN, f"{RUN}: processor time, 1,000/s", "us/event", lambda it: it.cpu),
    ]  # fmt: skip


def _measure(stage: Stage, name: str, pods: int, events: int, rate: float = 0) -> Sample:
    with Server(stage, pods=pods, events=events, rate=rate) as server:
        if name == RUN:
            with bridge_run(server) as service:
                return _measure_run(server, service, events)
        with CLIENTS[name](server) as client:
            program = client.program
            live = server.note("live", program)
            pids = [each.pid for each in (program, client.reader) if each is not None]
            before = [cpu_seconds(pid) for pid in pids]
            seconds = client.done() - live["at"]
            spent = [cpu_seconds(pid) - begin for pid, begin in zip(pids, before, strict=True)]
            each, core = spent[0] / events * 1e6, sum(spent) / events * 1e6
            return Sample(events / seconds, each, core, None, peak_bytes(program.pid))


def _measure_run(server: Server, service: BridgeRun, events: int) -> Sample:
    program = service.program
    live = server.note("live", program)
    before, written = cpu_seconds(program.pid), written_bytes(program.pid)
    size = service.output.stat().st_size if service.output.exists() else 0
    seconds = service.done() - live["at"]
    cpu, peak = cpu_seconds(program.pid) - before, peak_bytes(program.pid)
    # Only at the end: what a checkpoint still has to write belongs to these events.
    written = program.terminate() - written
    written -= service.output.stat().st_size - size
    each = cpu / events * 1e6
    return Sample(events / seconds, each, each, written / events, peak)


def _row(
    samples: Samples,
    name: str,
    title: str,
    unit: str,
    of: Callable[[Sample], float],
    goal: Goal | None = None,
) -> Row:
    found = samples[name]
    if isinstance(found, str):
        return Row(title, found, unit, goal)
    return Row(title, Spread(tuple(of(sample) for sample in found)), unit, goal)


def _ratio(samples: Samples, ours: str, base: str, goal: Goal | None = None) -> list[Row]:
    """By the clock, and by the processor: what the clock would say if nobody else used the machine."""
    title, mine, others = f"{ours} / {base}", samples[ours], samples[base]
    if isinstance(mine, str) or isinstance(others, str):
        missing = ours if isinstance(mine, str) else base
        return [Row(title, f"{missing} was not", "x", goal)]
    return [
        Row(title, ratio([it.rate for it in mine], [it.rate for it in others]), "x", goal),
        Row(f"{title}, by processor time", ratio([it.core for it in others], [it.core for it in mine]), "x"),
    ]
