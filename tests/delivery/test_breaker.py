"""A sink that is down is asked by one call at a time; one object that is always refused is no outage."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.delivery.breaker import Breaker, BreakerState
from bridge.delivery.gate import Gate
from bridge.delivery.pacing import Backoff, Retry
from bridge.delivery.waits import Quit, Waits

CLOSED, OPEN, PROBING = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.PROBING


def breaker(failures: int = 3, lanes: int = 2, most: float = 600) -> Breaker:
    backoff = Backoff(Retry(initial=1, max=8, max_retry_after=most), lambda: 1.0)
    return Breaker(backoff, failures=failures, lanes=lanes)


def begun(one: Breaker, now: float) -> int:
    ticket = one.begin(now)
    assert ticket is not None
    return ticket


def test_it_opens_after_failures_in_a_row_of_several_lanes_and_one_probe_at_a_time_closes_it() -> None:
    one = breaker()
    for lane in (0, 0, 0, 0):
        assert one.failed(begun(one, 0), 0, lane=lane), "one lane alone paces itself"
    assert not one.failed(begun(one, 0), 0, lane=1)
    assert (one.state, one.ready_at) == (OPEN, 1)
    assert one.begin(0.9) is None
    probe = begun(one, 1)
    assert one.begin(1) is None, "one probe at a time"
    assert not one.failed(probe, 1, lane=0)
    assert one.ready_at == 3, "longer each time"
    one.succeeded(begun(one, 3))
    assert one.state is CLOSED
    assert one.failed(begun(one, 3), 3), "it counts anew"


def test_a_success_in_between_starts_the_count_over() -> None:
    one = breaker()
    for lane in range(20):
        assert one.failed(begun(one, 0), 0, lane=lane)
        if lane % 2:
            one.succeeded(begun(one, 0))
    assert one.state is CLOSED


def test_calls_that_began_before_it_opened_are_one_failure() -> None:
    one = breaker()
    tickets = [begun(one, 0) for _ in range(16)]
    for lane, ticket in enumerate(tickets):
        one.failed(ticket, 0.5, lane=lane)
    assert (one.state, one.ready_at) == (OPEN, 1.5)


def test_what_the_destination_asks_for_pauses_the_whole_sink_at_once_up_to_a_maximum() -> None:
    one = breaker(most=100)
    early = begun(one, 0)
    assert not one.failed(begun(one, 0), 0, retry_after=5000)
    assert (one.state, one.ready_at) == (OPEN, 100)
    one.succeeded(early)
    assert one.state is OPEN, "a call from before does not end the pause"
    ignoring = breaker(most=0)
    assert ignoring.failed(begun(ignoring, 0), 0, retry_after=5000)
    assert ignoring.state is CLOSED
    assert breaker().failed(0, 0, retry_after=-5), "a date in the past asks for nothing"


def test_a_later_answer_may_ask_for_a_longer_pause() -> None:
    one = breaker()
    early = begun(one, 0)
    one.failed(begun(one, 0), 0, retry_after=10)
    one.failed(early, 5, retry_after=60)
    assert one.ready_at == 65


def test_a_probe_that_is_cut_off_tells_nothing() -> None:
    one = breaker(failures=1, lanes=1)
    one.failed(begun(one, 0), 0)
    begun(one, 1)
    one.abandon()
    assert one.state is OPEN
    begun(one, 1)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 4)), max_size=60))
def test_while_it_is_open_at_most_one_call_is_on_its_way(steps: list[tuple[int, bool, float]]) -> None:
    one, now, row = breaker(), 0.0, list[int]()
    for lane, works, pause in steps:
        now += pause
        before, ready = one.state, one.ready_at
        ticket = one.begin(now)
        assert (ticket is None) == (before is OPEN and now < ready)
        if ticket is None:
            continue
        if before is OPEN:
            assert one.state is PROBING
            assert one.begin(now) is None
        if works:
            one.succeeded(ticket)
            row = []
            assert one.state is CLOSED
        else:
            row.append(lane)
            one.failed(ticket, now, lane=lane)
            down = before is OPEN or (len(row) >= 3 and len(set(row)) >= 2)
            assert (one.state is OPEN) == down
            if down:
                assert now < one.ready_at <= now + 8


async def test_the_probe_is_the_head_that_was_tried_least(autojump_clock: MockClock) -> None:
    gate, probes = Gate(breaker(failures=1, lanes=1), Waits()), list[tuple[str, float]]()
    gate.failed(await gate.enter(), 0, None)
    begin = autojump_clock.current_time()

    async def fail(name: str, tries: int) -> None:
        while True:
            ticket = await gate.enter(tries)
            probes.append((name, trio.current_time() - begin))
            tries += 1
            gate.failed(ticket, 0, None)

    async def work(name: str) -> None:
        ticket = await gate.enter()
        probes.append((name, trio.current_time() - begin))
        gate.succeeded(ticket)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, "old", 2)
        nursery.start_soon(fail, "new", 1)
        await trio.sleep(8)
        assert probes in ([("new", 1), ("old", 3), ("new", 7)], [("new", 1), ("new", 3), ("old", 7)])
        nursery.start_soon(work, "fresh")
        await trio.sleep(8)
        assert probes[3] == ("fresh", 15), "at the next probe, whoever waited longer"
        nursery.cancel_scope.cancel()


async def test_who_waits_at_the_gate_goes_when_it_rests_or_hurries(autojump_clock: MockClock) -> None:
    one, waits = breaker(failures=1, lanes=1), Waits()
    gate = Gate(one, waits)
    gate.failed(await gate.enter(), 0, 500.0)
    begin = autojump_clock.current_time()
    async with trio.open_nursery() as nursery:

        async def enter() -> None:
            await gate.enter()

        nursery.start_soon(enter)
        await wait_all_tasks_blocked()
        gate.hurry()
    assert autojump_clock.current_time() == begin
    quits = list[bool]()

    async def quit_at_the_gate() -> None:
        with pytest.raises(Quit):
            await gate.enter()
        quits.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(quit_at_the_gate)
        await wait_all_tasks_blocked()
        waits.quit()
    assert quits == [True]
