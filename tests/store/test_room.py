"""Bytes in memory are bounded, and whoever came first is let in first."""

from functools import partial
from pathlib import Path

import pytest
import trio

from bridge.errors import InvariantError
from bridge.store.log import SqliteLog
from bridge.store.room import Room
from tests.store.samples import PODS, change, emit


async def test_a_small_one_does_not_overtake_a_large_one_that_waits() -> None:
    """Else a busy stream of small batches would keep a large one out for ever."""
    room = Room(100)
    order: list[str] = []
    async with trio.open_nursery() as nursery:
        await room.enter(60)
        for name, size in (("large", 80), ("small", 10)):
            nursery.start_soon(room.enter, size, partial(order.append, name))
            await trio.testing.wait_all_tasks_blocked()
        assert order == []
        room.leave(60)
        assert order == ["large", "small"]
    assert room.used == 90


async def test_one_that_is_larger_than_the_room_is_let_in_alone() -> None:
    room = Room(100)
    await room.enter(500)
    with trio.move_on_after(0) as scope:
        await room.enter(1)
    assert scope.cancelled_caught
    room.leave(500)
    await room.enter(1)
    assert room.used == 1


async def test_who_is_cancelled_while_waiting_leaves_nothing_and_lets_the_next_in() -> None:
    room = Room(100)
    order: list[str] = []
    scope = trio.CancelScope()

    async def give_up() -> None:
        with scope:
            await room.enter(80)

    async with trio.open_nursery() as nursery:
        await room.enter(60)
        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(room.enter, 10, lambda: order.append("small"))
        await trio.testing.wait_all_tasks_blocked()
        assert order == []
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["small"]
    assert room.used == 70


async def test_a_failure_is_told_to_who_waits_and_to_who_comes_later() -> None:
    room = Room(10)
    await room.enter(10)
    told: list[str] = []

    async def wait() -> None:
        with pytest.raises(InvariantError, match="dead"):
            await room.enter(1)
        told.append("waiting")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        room.fail(InvariantError("dead"))
    assert told == ["waiting"]
    with pytest.raises(InvariantError, match="dead"):
        await room.enter(1)


async def test_the_newest_batches_in_memory_never_exceed_their_share(tmp_path: Path) -> None:
    """A sink that reads nothing costs disk, not memory."""
    async with SqliteLog.open(tmp_path, memory_bytes=1 << 20) as log:
        await log.open_sink("slow", "f")
        most = 0
        for n in range(60):
            await log.append(PODS, "", emit(change("a", n, body=b"x" * 40_000)), size=40_000)
            await log.flush()
            most = max(most, log._tail.size)
        assert 500_000 < most <= log._tail_bytes < 1 << 20
        assert log.stats().kept_records == 60
