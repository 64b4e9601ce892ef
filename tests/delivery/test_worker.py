"""A worker delivers all at least once, in order, moves its cursor over what is owned, and fails alone."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.delivery.handout import Selection
from bridge.delivery.pacing import Retry
from bridge.delivery.sink import ClosedPipe, Delivery, Rejected, Reopen, Resume, Unavailable
from bridge.delivery.stats import SinkState
from bridge.delivery.worker import Hooks, Plan, Worker
from bridge.errors import BridgeError, InvariantError
from tests.delivery.fakes import BRIDGE, NODES, START, MemoryLog, ScriptedSink, Step, change


class Lines(list[tuple[str, str, dict[str, object]]]):
    """What was logged."""

    def __call__(self, level: str, event: str, /, **fields: object) -> None:
        self.append((level, event, fields))


@pytest.fixture
def said() -> Lines:
    return Lines()


def worker(
    log: MemoryLog,
    sink: ScriptedSink,
    resume: Resume = START,
    said: Lines | None = None,
    hooks: Hooks | None = None,
    name: str = "out",
    *,
    fresh: bool = False,
    **plan: object,
) -> Worker:
    planned = Plan(name, BRIDGE, **plan)  # type: ignore[arg-type]  # what a test plans
    logger = Lines() if said is None else said
    return Worker(planned, sink, log, resume, hooks=hooks, fresh=fresh, jitter=lambda: 1.0, logger=logger)


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for one in workers:
            nursery.start_soon(one.run)
        yield
        nursery.cancel_scope.cancel()


def numbers(sink: ScriptedSink) -> list[int]:
    return [json.loads(value)["object"]["n"] for value in sink.values]


async def test_records_arrive_in_order_and_the_cursor_follows() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    log.append([change(n) for n in range(25)])
    one = worker(log, sink)
    async with running(one):
        await wait_all_tasks_blocked()
        log.append([change(25)], gap=100)
        await wait_all_tasks_blocked()
    assert numbers(sink) == list(range(26))
    assert [len(batch.records) for batch in sink.owned] == [10, 10, 5, 1]
    assert log.acknowledged == [("out", 10), ("out", 20), ("out", 25), ("out", 126)]
    assert (one.stats.records, one.stats.batches, one.stats.position) == (26, 4, 126)
    assert one.stats.bytes == sum(map(len, sink.values))
    assert one.stats.state == SinkState.STOPPED
    assert sink.closed == 1


async def test_the_cursor_does_not_move_before_the_sink_owns_the_batch() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    log.append([change(1)])
    async with running(worker(log, sink)):
        await wait_all_tasks_blocked()
        assert len(sink.seen) == 1
        assert log.acknowledged == []
        sink.gate.set()
        await wait_all_tasks_blocked()
        assert log.acknowledged == [("out", 1)]


async def test_an_unavailable_sink_gets_the_same_batch_again_with_growing_waits_for_ever(
    autojump_clock: MockClock,
    said: Lines,
) -> None:
    log, sink = MemoryLog(), ScriptedSink([Unavailable("no room")] * 20)
    log.append([change(1), change(2)])
    one = worker(log, sink, said=said, retry=Retry(initial=1, max=8))
    begin = autojump_clock.current_time()
    async with running(one):
        await trio.sleep_until(begin + 1 + 2 + 4 + 17 * 8 - 0.01)
        assert numbers(sink) == []
        await trio.sleep_until(begin + 1 + 2 + 4 + 17 * 8 + 0.01)
    assert all(batch is sink.seen[0] for batch in sink.seen)
    assert numbers(sink) == [1, 2]
    assert one.stats.retries == {"unavailable": 20}
    assert sink.closed == 1, "retrying in place keeps the sink open"
    assert [level for level, _, _ in said] == ["warning", "info"], "when it begins, and when it ends"
    assert said[0][2] == {"sink": "out", "reason": "no room"}
    assert said[1][2] == {"sink": "out", "times": 20, "seconds": 143.0}


async def test_a_destination_may_ask_for_a_longer_wait(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), ScriptedSink([Unavailable("later", retry_after=100.0)])
    log.append([change(1)])
    async with running(worker(log, sink)):
        await trio.sleep_until(autojump_clock.current_time() + 99.9)
        assert numbers(sink) == []
        await trio.sleep_until(autojump_clock.current_time() + 0.2)
        assert numbers(sink) == [1]


async def test_a_sink_that_cannot_be_opened_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), ScriptedSink(enter=[Unavailable("not yet"), Unavailable("not yet")])
    log.append([change(1)])
    one = worker(log, sink)
    async with running(one):
        await trio.sleep_until(autojump_clock.current_time() + 0.1)
        assert (one.stats.state, one.stats.reason) == (SinkState.RETRYING, "not yet")
        await trio.sleep_until(autojump_clock.current_time() + 10)
        assert (one.stats.state, one.stats.reason) == (SinkState.DELIVERING, "")
    assert numbers(sink) == [1]


async def test_a_dead_sink_holds_back_nobody(
    autojump_clock: MockClock,
) -> None:
    log, dead, slow, well = (
        MemoryLog(),
        ScriptedSink([Unavailable("dead")] * 10_000),
        ScriptedSink(),
        ScriptedSink(),
    )
    slow.gate = trio.Event()
    log.append([change(1)])
    async with running(worker(log, dead, name="dead"), worker(log, slow, name="slow"), worker(log, well)):
        for number in range(2, 5):
            await trio.sleep_until(autojump_clock.current_time() + 1)
            log.append([change(number)])
        await wait_all_tasks_blocked()
        assert numbers(well) == [1, 2, 3, 4]
    assert numbers(dead) == numbers(slow) == []


async def test_a_refused_record_halts_this_sink_loudly_with_its_cursor_before_it(
    autojump_clock: MockClock,
    said: Lines,
) -> None:
    log = MemoryLog()
    sink = ScriptedSink([Rejected({2: "too large", 4: "too large"})])
    log.append([change(1), change(2), change(3, "ADDED"), change(4), change(5), change(6)])
    other = ScriptedSink()
    one = worker(log, sink, said=said, selection=Selection(types={"MODIFIED"}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker(log, other, name="other").run)
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        log.append([change(7)])
        await wait_all_tasks_blocked()
        assert not await one.drain(autojump_clock.current_time() + 100)
        nursery.cancel_scope.cancel()
    assert [p for name, p in log.acknowledged if name == "out"][-1] >= 3
    assert one.stats.position == 3, (
        "records 1 and 2 are owned, the added one was filtered, the fourth refused"
    )
    assert (one.stats.state, one.stats.rejected) == (SinkState.HALTED, 2)
    assert sink.owned == []
    assert numbers(other) == [1, 2, 3, 4, 5, 6, 7]
    ((level, _, fields),) = said
    assert level == "error"
    assert fields == {
        "sink": "out",
        "position": 4,
        "reason": "2 of 5 records were refused for good: too large",
    }


async def test_an_unexpected_error_restarts_the_sink_from_its_cursor_and_is_reported_once(
    autojump_clock: MockClock,
    said: Lines,
) -> None:
    log = MemoryLog()
    sink = ScriptedSink([None, OSError(5, "disk"), ZeroDivisionError(), OSError(5, "disk")])
    log.append([change(n) for n in range(15)])
    one = worker(log, sink, said=said)
    async with running(one):
        assert await one.drain(autojump_clock.current_time() + 100)
    assert numbers(sink) == list(range(15))
    assert one.stats.retries == {"error": 3}
    assert [resume.position for resume in sink.opened] == [0, 10, 10, 10]
    assert sink.closed == 4
    assert [level for level, _, _ in said] == ["error", "info"], "when it begins, and when it ends"
    assert said[0][2]["error"] == "OSError(5, 'disk')"
    assert "deliver (fakes.py:" in str(said[0][2]["at"])


async def test_a_sink_that_asks_to_be_opened_anew_is_no_bug(
    autojump_clock: MockClock,
    said: Lines,
) -> None:
    log, sink = MemoryLog(), ScriptedSink([None, Reopen("There are other credentials now.")])
    log.append([change(n) for n in range(15)])
    one = worker(log, sink, said=said)
    async with running(one):
        assert await one.drain(autojump_clock.current_time() + 100)
    assert numbers(sink) == list(range(15))
    assert [resume.position for resume in sink.opened] == [0, 10]
    assert [(level, fields.get("reason")) for level, _, fields in said] == [
        ("warning", "There are other credentials now."),
        ("info", None),
    ]


async def test_what_may_have_been_delivered_before_is_marked_as_a_replay(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), ScriptedSink([None, OSError("cut off")])
    log.append([change(1)])
    one = worker(log, sink)
    async with running(one):
        await wait_all_tasks_blocked()
        log.append([change(2)])
        await trio.sleep_until(autojump_clock.current_time() + 100)
        log.append([change(3)])
        await wait_all_tasks_blocked()
    assert [batch.replay for batch in sink.seen] == [True, False, True, False]


@pytest.mark.parametrize("kind", [InvariantError, ClosedPipe, BridgeError])
async def test_an_error_meant_for_the_command_leaves_the_worker(kind: type[BridgeError]) -> None:
    log, sink = MemoryLog(), ScriptedSink([kind("why")])
    log.append([change(1)])
    with pytest.raises(kind, match="why"):
        await worker(log, sink).run()
    assert log.acknowledged == []


async def test_a_broken_invariant_is_found_in_the_group_of_a_sinks_nursery() -> None:
    group = ExceptionGroup("tasks", [ValueError(), ExceptionGroup("inner", [InvariantError("broken")])])
    log, sink = MemoryLog(), ScriptedSink([group])
    log.append([change(1)])
    with pytest.raises(InvariantError, match="broken"):
        await worker(log, sink).run()


async def test_a_reader_that_fails_is_this_sinks_trouble_alone(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), ScriptedSink()
    log.append([change(1)])
    log.raises = ValueError("page")
    one = worker(log, sink)
    async with running(one):
        await trio.sleep_until(autojump_clock.current_time() + 1)
        assert one.stats.state == SinkState.RETRYING
        log.raises = None
        assert await one.drain(autojump_clock.current_time() + 100)
    assert numbers(sink) == [1]


async def test_a_destination_that_knows_better_where_it_is_moves_the_cursor() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    for number in range(1, 5):
        log.append([change(number)])
    sink.resumes_at = Resume("log", 1, 2)
    async with running(worker(log, sink)):
        await wait_all_tasks_blocked()
    assert numbers(sink) == [3, 4]
    assert log.acknowledged[0] == ("out", 2)


@pytest.mark.parametrize(("knows", "told"), [(1, "info"), (0, "warning")])
async def test_a_destination_that_fell_behind_what_it_acknowledged_is_told(
    said: Lines, knows: int, told: str
) -> None:
    """An earlier place is nothing special: records that it was not handed may lie between."""
    log, sink = MemoryLog(), ScriptedSink()
    for number in range(1, 5):
        log.append([change(number)])
    sink.resumes_at = Resume("log", 1, knows)
    async with running(worker(log, sink, Resume("log", 1, 3), said)):
        await wait_all_tasks_blocked()
    assert numbers(sink) == [4], "what it has acknowledged once may be trimmed"
    ((level, event, fields),) = said
    assert (level, fields["acknowledged"], fields["destination"]) == (told, 3, knows)
    assert "a snapshot of each stream brings it up to date" in event


async def test_a_destination_that_is_new_is_not_said_to_be_behind(said: Lines) -> None:
    log, sink = MemoryLog(), ScriptedSink()
    for number in range(1, 5):
        log.append([change(number)])
    sink.resumes_at = Resume("log", 1, 0)
    async with running(worker(log, sink, Resume("log", 1, 3), said, fresh=True)):
        await wait_all_tasks_blocked()
    assert (numbers(sink), said) == ([4], [])


async def test_filtered_records_move_the_cursor_of_a_quiet_sink() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    log.append([change(1), change(2)], NODES)
    one = worker(log, sink, selection=Selection(streams={"pods"}))
    async with running(one):
        await wait_all_tasks_blocked()
    assert sink.seen == []
    assert log.cursor == 2
    assert one.stats.filtered == 2


async def test_draining_waits_for_what_is_still_on_its_way_until_the_deadline(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), ScriptedSink()
    sink.gate = trio.Event()
    log.append([change(1)])
    one = worker(log, sink)
    async with running(one):
        assert not await one.drain(autojump_clock.current_time() + 5)
        sink.gate.set()
        assert await one.drain(autojump_clock.current_time() + 5)


async def test_draining_does_not_wait_for_the_rest_of_a_long_pause(
    autojump_clock: MockClock,
) -> None:
    log, sink = MemoryLog(), ScriptedSink([Unavailable("later", retry_after=500)])
    log.append([change(1)])
    one = worker(log, sink)
    async with running(one):
        await trio.sleep_until(autojump_clock.current_time() + 1)
        begin = autojump_clock.current_time()
        assert await one.drain(begin + 20)
        assert autojump_clock.current_time() == begin


def lose(taken: list[Delivery]) -> Step:
    """Own the records and die before saying so."""

    def step(batch: Delivery) -> None:
        taken.append(batch)
        raise OSError("reply lost")

    return step


FAULTS = st.lists(st.sampled_from(["ok", "unavailable", "error", "lost"]), max_size=12)
SIZES = st.lists(st.integers(1, 14), min_size=1, max_size=5)


@given(SIZES, FAULTS)
@settings(max_examples=40, deadline=None)
def test_through_any_faults_each_record_is_owned_and_a_replay_repeats_a_suffix_only(
    sizes: list[int], faults: list[str]
) -> None:
    log, lost = MemoryLog(), list[Delivery]()
    steps: dict[str, Step] = {
        "ok": None, "unavailable": Unavailable("u"), "error": OSError("e"), "lost": lose(lost),
    }  # fmt: skip
    sink = ScriptedSink([steps[fault] for fault in faults])
    delivered: list[int] = []

    async def scenario() -> None:
        count = 0
        for size in sizes:
            log.append([change(n) for n in range(count, count + size)])
            count += size
        one = worker(log, sink)
        async with running(one):
            assert await one.drain(trio.current_time() + 1e6)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert numbers(sink) == list(range(sum(sizes))), "what was acknowledged is never sent again"
    for batch in sink.seen:
        delivered += [json.loads(record.value)["object"]["n"] for record in batch.records]
    newest = -1
    for number in delivered:
        assert number <= newest + 1, "nothing is skipped"
        newest = max(newest, number)
