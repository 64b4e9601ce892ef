"""SIGKILL in what the delivery asks of the log: a letter is in one place, a deletion in the log, always."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bridge.store.log import SqliteLog
from tests.components.process import PATIENCE
from tests.store.reading import flat, read_all

POINTS = ("log.buried", "log.redriven", "log.purged", "log.dropped", "log.written", "log.committed")


class Lives:
    """One state directory, several processes, and what they said before they were killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: dict[str, set[int]] = {
            word: set() for word in ("committed", "buried", "purging", "purged", "dropped")
        }
        self.first = 1

    def live(self, *, crash: str = "", seconds: float = 60.0) -> None:
        environment = {**os.environ, "KUBE_BRIDGE_CRASH": crash}
        command = [sys.executable, "-m", "tests.store.victim_of_delivery"]
        arguments = [str(self.directory), str(self.first)]
        victim = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, env=environment)
        try:
            output, _ = victim.communicate(timeout=60 * PATIENCE if crash else seconds)
        except subprocess.TimeoutExpired:
            victim.kill()
            output, _ = victim.communicate()
            assert not crash, f"never arrived at {crash}"
        assert victim.returncode == -signal.SIGKILL
        for line in output.decode().splitlines():
            word, number = line.split()
            self.said[word].add(int(number))

    async def inspect(self) -> None:
        said = self.said
        async with SqliteLog.open(self.directory) as log:
            position = (await log.open_sink("out", "f")).position
            told = [item for _, item in flat(await read_all(log, position))]
            gone = Counter(
                (item.extra["gone"], int(item.rv)) for item in told if item.type == "DELETED" and item.extra
            )
            records = {rv for kind, rv in gone if kind == "deleted"}
            last = max(records, default=0)
            assert records >= said["committed"], "a deletion is lost"
            assert records == set(range(1, last + 1))
            kept = [one.position for one in await log.dead_letters("out", 0, 10_000)]
            assert log.letter_counts().get("out", 0) == len(kept)
            redriven = [rv for kind, rv in gone if kind == "letter"]
            assert max(gone.values(), default=1) == 1, "told twice"
            assert not set(kept) & set(redriven), "redriven, and still a letter"
            everywhere = {*kept, *redriven}
            assert everywhere >= said["buried"] - said["purging"], "a letter is lost"
            assert not everywhere & said["purged"]
            assert len(kept) == len(set(kept))
            if said["dropped"]:
                (request,) = await log.snapshot_requests()
                assert int(request.id) >= max(said["dropped"])
            self.first = last + 1


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_each_point_leaves_every_letter_and_deletion_in_one_place(
    tmp_path: Path, point: str
) -> None:
    lives = Lives(tmp_path)
    for arrival in (1, 3, 20):
        lives.live(crash=f"{point}:{arrival}")
        await lives.inspect()
    assert lives.said["committed"]


async def test_kills_at_random_moments_leave_every_letter_and_deletion_in_one_place(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    seed = int(os.environ.get("SEED", random.randrange(1_000_000)))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    for life in range(60):
        lives.live(seconds=0.7 + chance.random())
        await lives.inspect()
        if life >= 3 and len(lives.said["committed"]) > 20:  # a busy machine may leave a life no time
            return
    raise AssertionError(f"only {len(lives.said['committed'])} committed")
