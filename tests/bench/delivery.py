"""What delivering costs: each sink against its destination's own client, and how long a record takes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.clients import bridge_run
from tests.bench.programs import NotMeasured, Program, cpu_seconds, peak_bytes
from tests.bench.spread import Spread, ratio
from tests.bench.stage import Server, Stage
from tests.bench.table import Goal, Row
from tests.components.build import ComponentUnavailable
from tests.components.kafka import Kafka
from tests.sinks.kafka_support import create_topic

__all__ = ["flat", "kafka", "lagging", "latency", "webhook"]

Say = Callable[[str], None]

_CHECKOUT: Final = Path(__file__).parents[2]
_PATIENCE: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Took:
    """One program in one round: records a second, and microseconds of its processor time per record."""

    rate: float
    cpu: float


@dataclass(frozen=True, slots=True)
class _Contest:
    """One figure against another: the program's arguments, its name, and the floor of the ratio."""

    ours: str
    base: str
    goal: Goal | None = None


def kafka(stage: Stage, *, records: int, rounds: int, say: Say) -> list[Row]:
    """At-least-once and transactional, against a bare idempotent producer of the same bytes."""
    bare, rendering = "bare producer", "bare producer that renders"
    plain, transactional = "kafka atLeastOnce", "kafka transactional"
    contests = [
        _Contest(plain, bare, Goal(0.8)),
        _Contest(transactional, bare, Goal(0.6)),
        _Contest(rendering, bare),
        _Contest(plain, rendering),
    ]
    try:
        with _broker(stage) as bootstrap:
            names = iter(f"bench-{number}" for number in range(4 * rounds))

            def topic() -> str:
                """The same for all: of more partitions come more and smaller batches."""
                name = next(names)
                create_topic(bootstrap, name, partitions="3")
                return name

            def sink(delivery: str) -> list[str]:
                options = {
                    "type": "kafka", "bootstrapServers": bootstrap, "topic": topic(),
                    "delivery": delivery,
                    "onDelete": "event", "createTopics": {"partitions": 3, "replicationFactor": 1},
                }  # fmt: skip
                return ["tests.bench.feeder", json.dumps(options), str(records)]

            programs: dict[str, Callable[[], list[str]]] = {
                bare: lambda: ["tests.bench.bare", "kafka", bootstrap, topic(), str(records)],
                rendering: lambda: ["tests.bench.bare", "rendering", bootstrap, topic(), str(records)],
                plain: lambda: sink("atLeastOnce"),
                transactional: lambda: sink("transactional"),
            }
            return _race(stage, programs, contests, records, rounds, say)
    except ComponentUnavailable as missing:
        return [Row(f"{each.ours} / {each.base}", str(missing), "x", each.goal) for each in contests]


def webhook(stage: Stage, *, records: int, rounds: int, say: Say) -> list[Row]:
    """Against a loop over one httpx client at the same concurrency; and batched."""
    bare, single, batched = "bare httpx loop", "webhook", "webhook, 100 a request"
    contests = [_Contest(single, bare, Goal(0.9)), _Contest(batched, bare)]
    with _receiver(stage) as url:

        def sink(**more: object) -> list[str]:
            options = {"type": "webhook", "url": url, "concurrency": 4, **more}
            return ["tests.bench.feeder", json.dumps(options), str(records)]

        programs: dict[str, Callable[[], list[str]]] = {
            bare: lambda: ["tests.bench.bare", "httpx", url, str(records), "4"],
            single: sink,
            batched: lambda: sink(
                format="cloudevents", cloudEvents="batch", batch={"maxRecords": 100, "maxDelay": "20ms"}
            ),
        }
        return _race(stage, programs, contests, records, rounds, say)


def latency(stage: Stage, *, records: int, rounds: int, say: Say) -> list[Row]:
    """Read to acknowledged at 1,000 records a second: the commit, and what the sink adds to it."""
    rows = []
    for name, goal in (("file", 5.0), ("kafka", 15.0)):
        titles = [
            f"{name}: read to committed, median", f"{name}: read to committed, p99",
            f"{name}: committed to acknowledged, median", f"{name}: committed to acknowledged, p99",
        ]  # fmt: skip
        goals = [None, None, Goal(goal, at_most=True), None]
        found: list[tuple[float, ...]] = []
        try:
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: latency of {name} at 1,000 records/s")
                found.append(_latency(stage, name, records))
        except (NotMeasured, ComponentUnavailable) as error:
            rows += [Row(title, str(error), "ms", each) for title, each in zip(titles, goals, strict=True)]
            continue
        spreads = [Spread(tuple(column)) for column in zip(*found, strict=True)]
        rows += [
            Row(title, spread, "ms", each) for title, spread, each in zip(titles, spreads, goals, strict=True)
        ]
    return rows


def _latency(stage: Stage, name: str, records: int) -> tuple[float, ...]:
    folder = stage.fresh("latency")
    with _latency_sink(stage, name, folder) as options:
        command = ["tests.bench.latency", json.dumps(options), str(folder), str(records), "1000"]
        with _program(stage, command, folder / "log") as program:
            note = program.note("latency", seconds=records / 1000 + 60)
    stage.discard(folder)
    commit, beyond = note["commit"], note["beyond"]
    return commit["median"], commit["p99"], beyond["median"], beyond["p99"]


@contextmanager
def _latency_sink(stage: Stage, name: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    if name == "file":
        yield {"type": "jsonlines", "path": str(folder / "out.jsonl")}
        return
    with _broker(stage) as bootstrap:
        yield {
            "type": "kafka", "bootstrapServers": bootstrap, "topic": "latency", "onDelete": "event",
            "createTopics": {"partitions": 3, "replicationFactor": 1},
        }  # fmt: skip


def lagging(stage: Stage, *, pods: int, events: int, rounds: int, say: Say) -> list[Row]:
    """Three sinks, one of which waits for ever: what the two others get, against when it does not."""
    rates: dict[str, list[float]] = {"idle": [], "frozen": []}
    title = "run: the file beside a frozen webhook / beside an idle one"
    try:
        for number in range(rounds):
            for state in list(rates) if number % 2 else reversed(list(rates)):
                say(f"round {number + 1} of {rounds}: one sink of three is {state}")
                with (
                    _receiver(stage, *(["hang"] if state == "frozen" else [])) as url,
                    Server(stage, pods=pods, events=events) as server,
                ):
                    hook = {"name": "hook", "type": "webhook", "url": url, "types": ["DELETED"]}
                    if state == "frozen":
                        hook |= {"types": ["ADDED", "MODIFIED", "DELETED"]}
                    with bridge_run(server, more_sinks=[hook]) as service:
                        live = server.note("live", service.program)
                        rates[state].append(events / (service.done() - live["at"]))
    except NotMeasured as error:
        return [Row(title, str(error), "x", Goal(0.95))]
    return [
        *[
            Row(f"run, one sink of three {state}", Spread(tuple(got)), "events/s")
            for state, got in rates.items()
        ],
        Row(title, ratio(rates["frozen"], rates["idle"]), "x", Goal(0.95)),
    ]


def flat(stage: Stage, *, records: int, say: Say) -> list[Row]:
    """Resident memory of worker and file sink after a tenth of the records, and after all of them."""
    title = f"worker and file: memory after {records:,} records / after a tenth"
    folder = stage.fresh("flat")
    options = {"type": "jsonlines", "path": os.devnull}
    peaks = []
    try:
        for count in (records // 10, records):
            say(f"{count:,} records through one worker")
            with _program(
                stage, ["tests.bench.feeder", json.dumps(options), str(count)], folder / "log"
            ) as one:
                one.note("end", seconds=_PATIENCE * 3)
                peaks.append(peak_bytes(one.pid) / 1e6)
    except NotMeasured as error:
        return [Row(title, str(error), "x", Goal(1.05, at_most=True))]
    return [
        Row(f"worker and file: peak memory, {records:,} records", Spread((peaks[1],)), "MB"),
        Row(title, Spread((peaks[1] / peaks[0],)), "x", Goal(1.05, at_most=True)),
    ]


def _race(
    stage: Stage,
    programs: Mapping[str, Callable[[], list[str]]],
    contests: Sequence[_Contest],
    records: int,
    rounds: int,
    say: Say,
) -> list[Row]:
    names = list(programs)
    found: dict[str, list[_Took] | str] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            done = found[name]
            if isinstance(done, str):
                continue
            say(f"round {number + 1} of {rounds}: {name}")
            try:
                done.append(_measure(stage, programs[name](), records))
            except NotMeasured as error:
                found[name] = str(error)
    rows = [_row(name, took, "records/s", lambda it: it.rate) for name, took in found.items()]
    rows += [
        _row(f"{name}: processor time", took, "us/record", lambda it: it.cpu) for name, took in found.items()
    ]
    for contest in contests:
        rows += _against(contest, found[contest.ours], found[contest.base])
    return rows


def _measure(stage: Stage, command: Sequence[str], records: int) -> _Took:
    folder = stage.fresh("program")
    with _program(stage, command, folder / "log") as program:
        began = program.note("begin")["at"]
        before = cpu_seconds(program.pid)
        seconds = program.note("end", seconds=_PATIENCE)["at"] - began
        cpu = cpu_seconds(program.pid) - before
    stage.discard(folder)
    return _Took(records / seconds, cpu / records * 1e6)


def _row(title: str, took: Sequence[_Took] | str, unit: str, of: Callable[[_Took], float]) -> Row:
    return Row(title, took if isinstance(took, str) else Spread(tuple(of(it) for it in took)), unit)


def _against(contest: _Contest, ours: Sequence[_Took] | str, base: Sequence[_Took] | str) -> list[Row]:
    title = f"{contest.ours} / {contest.base}"
    if isinstance(ours, str) or isinstance(base, str):
        return [
            Row(
                title, f"{contest.ours if isinstance(ours, str) else contest.base} was not", "x", contest.goal
            )
        ]
    return [
        Row(title, ratio([it.rate for it in ours], [it.rate for it in base]), "x", contest.goal),
        Row(f"{title}, by processor time", ratio([it.cpu for it in base], [it.cpu for it in ours]), "x"),
    ]


@contextmanager
def _broker(stage: Stage) -> Iterator[str]:
    with Kafka() as kafka:
        if stage.server_core is not None:
            for task in Path(f"/proc/{kafka.broker.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {stage.server_core})
        yield kafka.broker.bootstrap


@contextmanager
def _receiver(stage: Stage, *arguments: str) -> Iterator[str]:
    folder = stage.fresh("receiver")
    command = ["tests.bench.receiver", *arguments]
    with _program(stage, command, folder / "log", core=stage.server_core) as program:
        yield f"http://127.0.0.1:{program.note('ready')['port']}/hook"
    stage.discard(folder)


def _program(stage: Stage, command: Sequence[str], log: Path, core: int | None = None) -> Program:
    environment = {**stage.environment, "PYTHONPATH": str(_CHECKOUT)}
    place = stage.client_core if core is None else core
    return Program([sys.executable, "-m", *command], log, environment, place)
