"""SIGKILL at every named point of the write path and at random moments: nothing promised is lost."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bridge.changes.change import Change
from bridge.changes.reconcile import Inventory
from bridge.store.log import SqliteLog
from tests.components.process import PATIENCE
from tests.store.samples import PODS

POINTS = ("log.begin", "log.written", "log.grouped", "log.committed", "log.trimmed", "log.folded")


class Lives:
    """One state directory, several processes, and what they said before they were killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.committed = 0
        self.delivered: list[int] = []
        self.end = 0
        self.first = 1

    def live(self, *, crash: str = "", seconds: float = 20.0) -> None:
        """Run a victim until it dies at `crash`, or is killed after `seconds`."""
        environment = {**os.environ, "KUBE_BRIDGE_CRASH": crash}
        command = [sys.executable, "-m", "tests.store.victim", str(self.directory), str(self.first)]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        try:
            output, _ = victim.communicate(timeout=60 * PATIENCE if crash else seconds)
        except subprocess.TimeoutExpired:
            victim.kill()
            output, _ = victim.communicate()
            assert not crash, f"never arrived at {crash}"
        assert victim.returncode == -signal.SIGKILL
        for line in output.decode().splitlines():
            what, *numbers = line.split()
            if what == "opened":
                assert int(numbers[1]) >= self.end
            elif what == "committed":
                self.committed, position = int(numbers[0]), int(numbers[1])
                assert position > self.end
                self.end = position
            else:
                self.delivered.append(int(numbers[0]))

    async def inspect(self) -> None:
        """Open what is left, hold it against the promises, and find where a source would go on."""
        async with SqliteLog.open(self.directory) as log:
            state = await log.watch_state("pods", "")
            assert log.identity.incarnation > 0
            cursor = int(state.cursor.rv) if state and state.cursor else 0
            assert cursor >= self.committed, "a flush was answered, but the cursor is not there"
            position = (await log.open_sink("out", "f")).position
            rest: list[int] = []
            while position < log.end():
                for batch in await log.read(position, 1 << 20):
                    rest += [int(item.rv) for item in batch.changes]
                    assert all(item.object.startswith(item.rv.encode() + b".") for item in batch.changes)
                    position = batch.last_position
            assert sorted({*self.delivered, *rest}) == list(range(1, cursor + 1)), (
                "lost, or ahead of the cursor"
            )
            assert rest == sorted(set(rest))
            names: list[tuple[bytes, str]] = []

            def look(inventory: Inventory) -> Sequence[Change]:
                names.extend((key, known.rv) for key, known in inventory.scan(b"", None))
                return ()

            await log.append(PODS, "", look, size=1)
            await log.flush()
            newest = {f"shop/p{n % 50}".encode(): str(n) for n in range(1, cursor + 1)}
            assert dict(names) == newest
        with sqlite3.connect(self.directory / "log.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        self.first = cursor + 1


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_each_point_of_a_transaction_loses_nothing(tmp_path: Path, point: str) -> None:
    """Three lives in a row on the same state, dying at the first, a middle and a later arrival."""
    lives = Lives(tmp_path)
    for arrival in (1, 7, 40):
        lives.live(crash=f"{point}:{arrival}")
        await lives.inspect()
    assert lives.committed > 0


async def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    for life in range(60):
        lives.live(seconds=0.5 + chance.random())
        await lives.inspect()
        if (
            life >= 5 and lives.committed > 100
        ):  # on a busy machine some lives end before they have done anything
            return
    raise AssertionError(f"only {lives.committed} committed")
