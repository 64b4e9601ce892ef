"""Intake waits milliseconds for a sink that keeps up; a slow or dead one holds nothing back (promise 6)."""

import pytest
import trio
from trio.testing import MockClock

from bridge.changes.change import Batch, Change, StreamInfo
from bridge.store import pace
from bridge.store.pace import Pace
from bridge.store.tail import Tail

STREAM = StreamInfo("s", "", "v1", "pods", "Pod")
CHANGE = Change("ADDED", "watch", 0, "n", "a", "u", "1", 0, b"{}")


def paced(sinks: dict[str, int], *, first: int = 1, records: int = 100, lively: tuple[str, ...] = ()) -> Pace:
    """A pace over a full memory of `records`, one in a batch."""
    tail = Tail()
    tail.extend([Batch(first + n, STREAM, [CHANGE], 100) for n in range(records)])
    result = Pace(tail, records * 100, sinks)
    for name in lively:
        result.acknowledged(name)
    return result


async def waited(one: Pace, end: int) -> float:
    before = trio.current_time()
    await one.wait(end)
    return trio.current_time() - before


async def test_a_lively_sink_that_begins_to_lag_is_waited_for_but_never_longer_than_the_bound(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    one = paced({"out": 50}, lively=("out",))
    assert await waited(one, 100) == pytest.approx(pace._STEPS * pace._STEP_SECONDS)


@pytest.mark.parametrize(
    ("position", "lively", "why"),
    [
        (95, True, "it keeps up"),
        (50, False, "it took nothing lately"),
        (-10, True, "it fell out of memory long ago"),
    ],
)
async def test_nobody_else_is_waited_for(
    autojump_clock: MockClock, position: int, why: str, *, lively: bool
) -> None:
    del autojump_clock
    one = paced({"out": position}, first=1, lively=("out",) if lively else ())
    assert await waited(one, 100) == 0, why


async def test_the_wait_ends_when_the_sink_has_caught_up(autojump_clock: MockClock) -> None:
    del autojump_clock
    sinks = {"out": 50}
    one = paced(sinks, lively=("out",))

    async def catch_up() -> None:
        await trio.sleep(0.0035)
        sinks["out"] = 99

    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch_up)
        assert await waited(one, 100) < 0.006


async def test_an_empty_memory_makes_nobody_wait(autojump_clock: MockClock) -> None:
    del autojump_clock
    assert await waited(Pace(Tail(), 1000, {"out": 0}), 100) == 0
