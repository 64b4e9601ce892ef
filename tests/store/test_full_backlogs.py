"""A full log, and a sink that lags: its backlog is dropped, intake goes on, no deletion is lost."""

import random
from pathlib import Path

import pytest
import trio

from bridge.changes.change import Change
from bridge.store import backlog
from bridge.store.contract import Dropped, LettersFull
from bridge.store.log import SqliteLog
from bridge.store.space import BALLAST_BYTES, MIN_BYTES
from tests.store.apsw_disk import Disk
from tests.store.reading import flat, read_all
from tests.store.samples import PODS, change, emit, letter, owed
from tests.store.test_full import disk, small_log, used
from tests.store.waiting import until

__all__ = ["disk"]

OBJECT = 100_000


class Stream:
    """Objects that come and go, as large as they may be."""

    def __init__(self, log: SqliteLog, count: int) -> None:
        self.log = log
        self.count = count
        self.chance = random.Random(1)

    def item(self, number: int) -> Change:
        kind = "DELETED" if number % 3 == 0 else "ADDED"
        return change(f"p{number}", number, kind=kind, body=self.chance.randbytes(OBJECT))

    async def run(self) -> None:
        for number in range(1, self.count + 1):
            await self.log.append(PODS, "", emit(self.item(number)), size=OBJECT)
        await self.log.flush()


async def dropped_when_full(log: SqliteLog, count: int) -> tuple[Dropped, list[Change]]:
    """Fill the log, drop the backlog of the one sink as often as it is full; what that sink is told then."""
    await log.open_sink("out", "f")
    drops: list[Dropped] = []
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            stream = Stream(log, count)
            nursery.start_soon(stream.run)
            while True:
                await until(lambda: log.full or not nursery.child_tasks)
                if not nursery.child_tasks:
                    break
                drops.append(await log.drop_backlog("out", ["pods"], [owed(key=f"s{len(drops)}")]))
                await until(lambda: not log.full or not nursery.child_tasks)
    assert drops, "the log was never full: this proves nothing"
    told = [item for _, item in flat(await read_all(log, drops[-1].end))]
    return drops[-1], told


def deletions_are_all_there(told: list[Change], count: int) -> None:
    assert told[0].type == "RESYNC"
    gone = [int(item.rv) for item in told if item.type == "DELETED"]
    assert gone == list(range(3, count + 1, 3))
    rest = [int(item.rv) for item in told if item.type == "ADDED"]
    assert rest == [n for n in range(rest[0], count + 1) if n % 3]


async def test_at_max_bytes_a_dropped_backlog_lets_intake_go_on_and_keeps_every_deletion(
    tmp_path: Path,
) -> None:
    async with small_log(tmp_path) as log:
        last, told = await dropped_when_full(log, 700)
        deletions_are_all_there(told, 700)
        assert await log.snapshot_requests() != []
        assert last.records["pods"] > last.deletions["pods"] > 0
        assert used(tmp_path) <= MIN_BYTES * 1.05


async def test_on_a_full_disk_a_dropped_backlog_lets_intake_go_on_and_keeps_every_deletion(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk never gets larger."""
    monkeypatch.setattr(backlog, "_ROWS", 5)
    disk.capacity = BALLAST_BYTES + (12 << 20)
    async with small_log(tmp_path, disk) as log:
        _, told = await dropped_when_full(log, 400)
        deletions_are_all_there(told, 400)
        assert disk.refused > 0


async def test_letters_are_refused_on_a_full_disk_and_taken_when_there_is_room(
    tmp_path: Path, disk: Disk
) -> None:
    async with small_log(tmp_path, disk) as log:
        await log.open_sink("out", "f")
        disk.capacity = disk.used()
        body = random.Random(1).randbytes(1 << 20)
        with pytest.raises(LettersFull, match="no room for another dead letter"):
            await log.bury([letter(1, change("a", 1, body=body))])
        assert dict(log.letter_counts()) == {}
        disk.capacity = None
        await log.bury([letter(1, change("a", 1, body=body))])
        await log.append(PODS, "", emit(change("b", 2)), size=10)
        await log.flush()


async def test_a_log_at_max_bytes_still_takes_a_dead_letter(tmp_path: Path) -> None:
    """The sink that lags because of it must be able to go on."""
    async with small_log(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Stream(log, 700).run)
                await until(lambda: log.full)
                (batch, *_) = await log.read(start, 1)
                await log.bury([letter(start + 1, batch.changes[0])])
                assert dict(log.letter_counts()) == {"out": 1}
                nursery.cancel_scope.cancel()
