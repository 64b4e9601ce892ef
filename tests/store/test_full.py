"""No room: intake waits, sinks drain, everything goes on by itself, and nothing is lost."""

import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bridge.changes.change import Cursor
from bridge.store.ballast import Ballast
from bridge.store.failures import LogError
from bridge.store.log import SqliteLog
from bridge.store.space import BALLAST_BYTES, MIN_BYTES, Space
from tests.store.apsw_disk import Disk, connector
from tests.store.samples import PODS, change, emit
from tests.store.waiting import until

OBJECT = 200_000


class Load:
    """Appends `count` objects that do not compress, and delivers them when told to."""

    def __init__(self, log: SqliteLog, count: int) -> None:
        self.log = log
        self.count = count
        self.accepted = 0
        self.got: list[int] = []
        self.position = 0

    async def produce(self) -> None:
        chance = random.Random(1)
        for number in range(1, self.count + 1):
            item = change(f"p{number % 7}", number, body=chance.randbytes(OBJECT))
            cursor = Cursor(str(number), str(number))
            await self.log.append(PODS, "", emit(item), size=OBJECT, cursor=cursor)
            self.accepted = number
        await self.log.flush()

    async def deliver(self, through: int) -> None:
        while not self.got or self.got[-1] < through:
            for batch in await self.log.read(self.position, 1 << 20):
                self.got += [int(item.rv) for item in batch.changes]
                self.position = batch.last_position
            self.log.acknowledge("out", self.position)

    async def run(self) -> str:
        """Fill until intake waits, then drain; returns why it waited."""
        self.position = (await self.log.open_sink("out", "f")).position
        with trio.fail_after(150):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.produce)
                await until(lambda: self.log.full)
                why = self.log.full
                accepted = self.accepted
                assert self.log.stats().full == why
                for _ in range(3):  # rounds of the writer: still waiting, and still answering
                    assert (await self.log.read(self.position, 1))[0].position == self.position + 1
                assert self.accepted - accepted <= 21  # what fits in flight, no more
                assert self.accepted < self.count
                await self.deliver(self.count)
        await until(lambda: not self.log.full)
        assert self.got == list(range(1, self.count + 1))
        return why


@asynccontextmanager
async def small_log(path: Path, disk: Disk | None = None) -> AsyncIterator[SqliteLog]:
    if disk is None:
        async with SqliteLog.open(path, max_bytes=MIN_BYTES) as log:
            yield log
    else:
        async with SqliteLog.open(path, max_bytes=MIN_BYTES, connector=connector(disk)) as log:
            yield log


def used(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.iterdir())


async def test_at_max_bytes_intake_waits_until_sinks_have_caught_up(tmp_path: Path) -> None:
    async with small_log(tmp_path) as log:
        why = await Load(log, 220).run()
        assert "state.maxBytes" in why
        assert used(tmp_path) <= MIN_BYTES * 1.05
    async with small_log(tmp_path) as log:
        state = await log.watch_state("pods", "")
        assert state is not None
        assert state.cursor == Cursor("220", "220")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk whose capacity also bounds the ballast and shows in what the system says is free."""
    disk = Disk(tmp_path / "ballast")
    write = Ballast.write

    def free() -> int:
        return 1 << 40 if disk.capacity is None else max(0, disk.capacity - disk.used())

    def bounded_write(ballast: Ballast) -> bool:
        return ballast.whole or (free() >= ballast.size and write(ballast))

    monkeypatch.setattr(Ballast, "write", bounded_write)
    monkeypatch.setattr(Space, "_disk_bytes", lambda _: free())
    return disk


async def test_on_a_full_disk_the_ballast_lets_sinks_empty_the_log(tmp_path: Path, disk: Disk) -> None:
    """The disk holds the ballast and 12 MiB, and never gets larger: the log goes on in place."""
    disk.capacity = BALLAST_BYTES + (12 << 20)
    async with small_log(tmp_path, disk) as log:
        why = await Load(log, 150).run()
        assert "disk" in why
        assert disk.refused > 0
        assert not (tmp_path / "ballast").stat().st_size
        disk.capacity = 1 << 30
        await until(lambda: (tmp_path / "ballast").stat().st_size == BALLAST_BYTES)


async def test_closing_on_a_full_disk_ends_and_loses_nothing_that_was_durable(
    tmp_path: Path, disk: Disk
) -> None:
    async with small_log(tmp_path, disk) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"))
        await log.flush()
        disk.capacity = 0
        await log.append(PODS, "", emit(change("b", 2)), size=10, cursor=Cursor("2", "2"))
        await until(lambda: log.full)
    async with small_log(tmp_path) as log:
        state = await log.watch_state("pods", "")
        assert state is not None
        assert state.cursor == Cursor("1", "1")
        assert [item.rv for batch in await log.read(start, 1 << 20) for item in batch.changes] == ["1"]


async def test_an_input_output_error_ends_the_log_at_once_for_all_who_wait(
    tmp_path: Path, disk: Disk
) -> None:
    failed: list[str] = []

    async def attempt(call: Callable[[], object]) -> None:
        with pytest.raises(LogError) as caught:
            await call()  # type: ignore[misc]  # each is an async function
        failed.append(str(caught.value))

    async with small_log(tmp_path, disk) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("a", 1)), size=10)
        await log.flush()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, lambda: log.read(log.end(), 10))
            await trio.testing.wait_all_tasks_blocked()
            disk.broken = True
            await log.append(PODS, "", emit(change("b", 2)), size=10)
            nursery.start_soon(attempt, log.flush)
        await attempt(lambda: log.append(PODS, "", emit(change("c", 3)), size=10))
        assert log.end() == start + 1
    assert len(failed) == 3
    assert all(
        "log.db" in message and "SQLITE_IO" in message and "recovers at its next start" in message
        for message in failed
    )
    async with small_log(tmp_path) as log:
        assert log.end() == start + 1


REAL = """
import pathlib, sys, trio
from tests.store.test_full import Load, small_log
async def main():
    async with small_log(pathlib.Path(sys.argv[1])) as log:
        print(await Load(log, 150).run())
trio.run(main)
"""


async def test_a_really_full_file_system_is_survived(tmp_path: Path, disk: Disk) -> None:
    """A tmpfs of 36 MiB in a mount namespace of its own; where that is not allowed, emulated as above."""
    script = f'mount -t tmpfs -o size=36m tmpfs "{tmp_path}" && exec "{sys.executable}" -c "$0" "{tmp_path}"'
    if not await may_mount():
        disk.capacity = 36 << 20
        async with small_log(tmp_path, disk) as log:
            assert "disk" in await Load(log, 150).run()
        return
    done = await trio.run_process(["unshare", "-rm", "sh", "-c", script, REAL], capture_stdout=True)
    assert f"the disk under {tmp_path} is full" in done.stdout.decode()


async def may_mount() -> bool:
    """Whether this process may have a mount namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = await trio.run_process(trial, check=False, capture_stderr=True)
    return done.returncode == 0
