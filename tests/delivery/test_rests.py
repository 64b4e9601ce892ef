"""A sink that shall rest, or go on elsewhere: what becomes of what is in flight, and what is told."""

import math
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.changes.deadletter import DeadLetter
from bridge.delivery.rates import Rates
from bridge.delivery.sink import Context, Delivery, Overlap, Rejected, Resume, Stopped, Unavailable
from bridge.delivery.stats import SinkState
from bridge.delivery.throttle import Throttle
from bridge.delivery.worker import Hooks, Plan, Worker
from tests.delivery.fakes import BRIDGE, START, Letters, MemoryLog, ScriptedSink, change


class Deaf(ScriptedSink):
    """Hears of no cancellation while it is at something, as a thread that blocks."""

    async def open(self, resume: Resume, context: Context) -> Resume:
        with trio.CancelScope(shield=True):
            if self.opens is not None:
                await self.opens.wait()
        return await super().open(resume, context)

    async def deliver(self, batch: Delivery) -> None:
        with trio.CancelScope(shield=True):
            await super().deliver(batch)

    opens: trio.Event | None = None


def worker(sink: ScriptedSink, log: MemoryLog, throttle: Throttle | None = None) -> Worker:
    plan = Plan("out", BRIDGE, throttle=throttle)
    return Worker(plan, sink, log, START, jitter=lambda: 1.0, logger=lambda *_, **__: None)


async def test_a_pause_lets_what_is_in_flight_end_and_a_resume_goes_on_behind_it() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        nursery.start_soon(one.pause, math.inf)
        await wait_all_tasks_blocked()
        assert one.stats.state is SinkState.DELIVERING, "the call is in flight"
        log.append([change(2)])
        sink.gate.set()
        await wait_all_tasks_blocked()
        assert (one.stats.state, log.cursor, sink.closed) == (SinkState.PAUSED, 1, 1)
        assert not await one.drain(trio.current_time() + 100)
        one.resume()
        await wait_all_tasks_blocked()
        assert (one.stats.state, log.cursor) == (SinkState.DELIVERING, 2)
        nursery.cancel_scope.cancel()
    assert len(sink.seen) == 2


async def test_a_pause_cuts_off_at_its_deadline_what_does_not_end_and_it_comes_again(
    autojump_clock: MockClock,
) -> None:
    """Whoever pauses a sink in trouble must not wait for that trouble to end."""
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        begin = autojump_clock.current_time()
        await one.pause(begin + 25)
        assert autojump_clock.current_time() == begin + 25
        assert (one.stats.state, one.stats.reason, sink.closed) == (SinkState.PAUSED, "by a command", 1)
        sink.gate.set()
        one.resume()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (len(sink.seen), len(sink.owned), log.cursor) == (2, 1, 1)


async def test_a_pause_is_answered_also_where_a_call_does_not_end_and_says_so(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), Deaf()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1), change(2)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        begin = autojump_clock.current_time()
        await one.pause(begin + 25)
        assert autojump_clock.current_time() <= begin + 30
        assert one.stats.state is SinkState.PAUSED
        assert "has not ended yet" in one.stats.reason
        sink.gate.set()
        await wait_all_tasks_blocked()
        assert (one.stats.state, one.stats.reason) == (SinkState.PAUSED, "by a command")
        nursery.cancel_scope.cancel()


async def test_a_resume_ends_a_pause_that_still_waits_and_cuts_nothing_off(autojump_clock: MockClock) -> None:
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        nursery.start_soon(one.pause, autojump_clock.current_time() + 25)
        await wait_all_tasks_blocked()
        one.resume()
        await trio.sleep(60)
        sink.gate.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(sink.seen) == len(sink.owned) == 1


async def test_a_move_of_the_cursor_that_began_is_followed_to_its_end_whoever_is_cancelled() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1), change(2)])
    moved = trio.Event()

    async def move() -> int:
        await moved.wait()
        return 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        async with trio.open_nursery() as asking:
            asking.start_soon(one.drop, move)
            await wait_all_tasks_blocked()
            asking.cancel_scope.cancel()  # as the drain does; the log goes on with what it was asked
            sink.gate.set()
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
                assert not sink.owned, "nothing is handed out from where the cursor may not be any more"
                moved.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [record.position for delivery in sink.owned for record in delivery.records] == [2]


@pytest.mark.parametrize("answer", [None, Rejected({0: "r"}), Stopped("s"), Unavailable("u"), OSError("o")])
@pytest.mark.parametrize("overlap", list(Overlap))
async def test_the_cursor_is_moved_without_waiting_for_a_call_that_does_not_end_and_whose_answer_is_void(
    overlap: Overlap, answer: Exception | None, autojump_clock: MockClock
) -> None:
    """A destination that hangs, its disk for one, must not keep the log full for all others."""
    del autojump_clock
    log, sink = MemoryLog(), Deaf([answer])
    sink.overlap, sink.concurrency = overlap, 3  # type: ignore[misc]  # of this one only
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1), change(2)])

    async def move() -> int:
        await trio.sleep(1)
        return 5

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        log.append([change(number) for number in range(3, 8)])
        with trio.fail_after(2):
            await one.drop(move)
        assert (one.stats.position, log.acknowledged) == (5, []), "moved in the log, not by the sink"
        sink.gate.set()
        await trio.sleep(60)
        one.resume()  # what the late answer may have stopped
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert [position for _, position in log.acknowledged] == [7]
    assert [record.position for record in sink.owned[-1].records][-1] == 7
    again = [record.position for delivery in sink.seen[1:] for record in delivery.records]
    assert min(position for position in again if position > 2) == 6, "what was dropped is not handed out"


async def test_what_a_destination_knows_is_void_once_the_cursor_was_moved(autojump_clock: MockClock) -> None:
    del autojump_clock
    log, sink = MemoryLog(), Deaf()
    sink.opens, sink.resumes_at = trio.Event(), Resume("log", 1, 2)
    one = worker(sink, log)
    log.append([change(number) for number in range(1, 8)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await one.skip_to(5)
        sink.opens.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [record.position for delivery in sink.owned for record in delivery.records] == [6, 7]


async def test_a_sink_is_parked_at_once_also_where_its_call_does_not_end() -> None:
    log, sink = MemoryLog(), Deaf()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        one.park("the log has no room")
        assert (one.stats.state, one.stats.reason) == (SinkState.PARKED, "the log has no room")
        sink.gate.set()
        nursery.cancel_scope.cancel()


async def test_a_parked_sink_is_cut_off_at_once_and_says_why() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    one = worker(sink, log)
    log.append([change(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        one.park("the log has no room")
        await wait_all_tasks_blocked()
        assert (one.stats.state, one.stats.reason) == (SinkState.PARKED, "the log has no room")
        assert sink.closed == 1
        await one.pause(math.inf)
        assert one.stats.state is SinkState.PARKED, "a pause does not hide it"
        sink.gate.set()
        one.resume()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert log.cursor == 1


async def test_a_sink_that_waits_for_room_for_dead_letters_is_not_parked_until_it_is_told_to() -> None:
    """Its state says parked either way; only one of them outlives a move of its cursor."""
    log, sink = MemoryLog(), ScriptedSink([Rejected({0: "no"})])
    one = Worker(Plan("out", BRIDGE), sink, log, START, hooks=Hooks(letters=Letters(0)))
    log.append([change(1), change(2)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        assert (one.stats.state, one.parked) == (SinkState.PARKED, False)
        one.park("whenFull says so")
        await one.skip_to(1)
        await wait_all_tasks_blocked()
        assert (one.stats.state, one.parked) == (SinkState.PARKED, True)
        assert sink.owned == []
        nursery.cancel_scope.cancel()


async def test_a_letter_that_was_kept_unheard_counts_each_try_once(autojump_clock: MockClock) -> None:
    """The letter counts its tries on: whoever hands it in again tells of those that came since."""
    del autojump_clock

    class Unheard(Letters):
        async def bury(self, letters: Sequence[DeadLetter]) -> None:
            await super().bury(letters)
            await trio.sleep(10)

    log, sink, box = MemoryLog(), ScriptedSink([Rejected({0: "no"}), Rejected({0: "no"})]), Unheard()
    one = Worker(Plan("out", BRIDGE), sink, log, START, hooks=Hooks(letters=box))
    log.append([change(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        await one.pause(trio.current_time())
        one.resume()
        await trio.sleep(30)
        assert [letter.attempts for letter in box.kept] == [len(sink.seen)]
        nursery.cancel_scope.cancel()


async def test_a_rest_interrupts_the_wait_for_a_rate_limit(autojump_clock: MockClock) -> None:
    log, sink = MemoryLog(), ScriptedSink()
    log.append([change(n) for n in range(20)])
    one = worker(sink, log, throttle=Throttle(Rates(records=0.001, burst=1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        begin = autojump_clock.current_time()
        await one.pause(math.inf)
        assert autojump_clock.current_time() == begin
        assert log.cursor == 10
        nursery.cancel_scope.cancel()
