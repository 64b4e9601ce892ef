"""Killed at any moment, the broker paused and killed in between: a committed reader sees each record once."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.components.process import PATIENCE
from tests.sinks import kafka_program
from tests.sinks.kafka_support import fresh, read_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.components.fixtures import StartKafka
    from tests.components.kafka import Broker

    Hurt = tuple[Callable[[], None], Callable[[], None]]

KILLS = 60
BRIDGES = 3
"""Killed side by side, each with a log, a topic and a transactional id of its own: a run mostly waits."""
COUNT = 10_000
RECORDS = 20
WAIT_SECONDS = 90 * PATIENCE
# Each run is forked from a process that has imported everything: a start costs no second.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.sinks.kafka_program", "sinks.kafka.session"])


class Bridge:
    """Runs the program again and again on one state."""

    def __init__(self, folder: Path, broker: Broker, delivery: str, count: int, every: int) -> None:
        self.topic, self.cluster = fresh("topic"), fresh("cluster")
        folder.mkdir(exist_ok=True)
        self._folder, self._broker = folder, broker
        self._delivery, self._count, self._every = delivery, count, every

    def arguments(self, records: int = RECORDS) -> list[str]:
        cursor = str(self._folder / "cursor")
        sizes = [str(self._count), str(records), str(self._every)]
        return [self._broker.bootstrap, self.topic, self.cluster, cursor, *sizes, self._delivery]

    def crash(self, point: str) -> None:
        """One run that ends at a crash point."""
        command = [sys.executable, "-m", "tests.sinks.kafka_program", *self.arguments()]
        environment = os.environ | {"KUBE_BRIDGE_CRASH": point}
        done = subprocess.run(
            command, check=False, capture_output=True, timeout=WAIT_SECONDS, env=environment
        )
        assert done.returncode == -9, done.stderr[-3000:]

    def start(self) -> None:
        """One more run; `acknowledged` waits for it."""
        self._ours, theirs = _forks.Pipe(duplex=False)
        self._process = _forks.Process(target=kafka_program.run, args=(self.arguments(), theirs))
        self._process.start()
        theirs.close()

    def acknowledged(self) -> None:
        """Waits for the first acknowledgement of this run."""
        assert self._ours.poll(WAIT_SECONDS), "nothing was acknowledged"
        self._ours.recv()

    def kill(self, seconds: float = 0) -> None:
        """SIGKILL, after some time."""
        self._process.join(seconds)
        self._process.kill()
        self._process.join()
        self._ours.close()

    def finish(self) -> None:
        process = _forks.Process(target=kafka_program.run, args=(self.arguments(5000), None))
        process.start()
        process.join(WAIT_SECONDS)
        assert process.exitcode == 0


def kill_all(bridges: Sequence[Bridge], dice: random.Random, hurt: Hurt | None) -> None:
    """One run of each, killed some time after its first acknowledgement, with a broker that is hurt then."""
    for bridge in bridges:
        bridge.start()
    try:
        for bridge in bridges:
            bridge.acknowledged()
        if hurt is not None:
            hurt[0]()
    finally:
        for bridge in bridges:
            bridge.kill(dice.uniform(0, 0.15))
        if hurt is not None:
            hurt[1]()


def test_each_position_stands_once_and_in_order_after_many_kills(
    tmp_path: Path, start_kafka: StartKafka
) -> None:
    """The log's own cursor is never durable, so each run must go on where Kafka says."""
    broker = start_kafka()
    dice = random.Random(20261128)
    bridges = [
        Bridge(tmp_path / str(number), broker, "transactional", COUNT, every=1_000_000)
        for number in range(BRIDGES)
    ]
    hurts = {4: (broker.pause, broker.resume), 9: (broker.kill, broker.start)}
    for number in range(KILLS // BRIDGES):
        kill_all(bridges, dice, hurts.get(number % 10))
    for bridge in bridges:
        bridge.finish()
    topics = "|".join(bridge.topic for bridge in bridges)
    read = broker.read(topics, COUNT * BRIDGES)
    for bridge in bridges:
        positions = [
            int(message.headers["resourceVersion"])
            for message in read
            if message.key.startswith(bridge.cluster + "/")
        ]
        assert positions == list(range(1, COUNT + 1))
        assert len(read_now(broker.bootstrap, bridge.topic)) == COUNT, "and nothing behind them"


@pytest.mark.parametrize("point", ["sink.begin", "sink.written", "sink.acknowledged"])
def test_a_kill_at_each_crash_point_repeats_nothing(tmp_path: Path, kafka: Broker, point: str) -> None:
    bridge = Bridge(tmp_path, kafka, "transactional", 200, every=3)
    bridge.crash(f"{point}:4")
    bridge.crash(f"{point}:1")
    bridge.finish()
    read = read_now(kafka.bootstrap, bridge.topic)
    assert [message.position for message in read] == list(range(1, 201))
