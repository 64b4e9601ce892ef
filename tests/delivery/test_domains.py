"""Each sink is its own failure domain: what one does, or does not do, changes nothing for another."""

import math
import random
from collections.abc import Collection
from copy import copy
from types import TracebackType
from typing import Any, Self

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.changes.deadletter import DeadLetter
from bridge.changes.envelope import Format
from bridge.delivery.handout import Selection
from bridge.delivery.rates import Rates
from bridge.delivery.sink import (
    Context,
    Delivery,
    Overlap,
    Rejected,
    Resume,
    Sink,
    Stopped,
    Unavailable,
)
from bridge.delivery.stats import SinkState
from bridge.delivery.throttle import Throttle
from bridge.delivery.worker import Batching, Hooks, Plan, Worker
from bridge.errors import StateError
from bridge.secret import SecretError
from tests.delivery.fakes import BRIDGE, NODES, PODS, START, Letters, MemoryLog, ScriptedSink, change

PLACES = ["enter", "open", "deliver", "exit", "read", "bury", "verify"]
ERRORS: list[Exception] = [
    ValueError("v"),
    OSError(5, "io"),
    ExceptionGroup("g", [KeyError("k"), Unavailable("u")]),
    Unavailable("u"),
    Stopped("s"),
    Rejected({0: "r"}),
    Rejected({7: "no such record"}),
    Rejected({}),
    SecretError("the secret's file cannot be read"),
    trio.BrokenResourceError(),
    TimeoutError(),
    AssertionError(),
]


class Failing:
    """Fails at one place, always, after it has let others run."""

    max_records = 3
    max_bytes = 10_000
    concurrency = 3

    def __init__(self, overlap: Overlap, place: str, error: BaseException) -> None:
        self.overlap, self.place, self.error = overlap, place, error

    async def _at(self, place: str) -> None:
        await trio.sleep(0.01)
        if place == self.place:
            raise copy(self.error)

    async def __aenter__(self) -> Self:
        await self._at("enter")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._at("exit")

    async def open(self, resume: Resume, context: Context) -> Resume:
        await self._at("open")
        assert context.name.startswith("bad")
        return resume

    async def deliver(self, batch: Delivery) -> None:
        assert batch.records
        await self._at("deliver")
        if self.place == "bury":
            raise Rejected({0: "r"})


class FailingLog(MemoryLog):
    """The same for one reader of a shared log."""

    def __init__(self, log: MemoryLog, place: str, error: Exception) -> None:
        super().__init__()
        self.log, self.place, self.error = log, place, error

    async def read(self, after: int, max_bytes: int) -> list:  # type: ignore[type-arg]  # of batches
        if self.place == "read":
            await trio.sleep(0.01)
            raise copy(self.error)
        return list(await self.log.read(after, max_bytes))

    def end(self) -> int:
        return self.log.end()

    def acknowledge(self, name: str, position: int) -> None:
        self.log.acknowledge(name, position)

    async def bury(self, letters: list[DeadLetter]) -> None:
        await trio.sleep(0.01)
        assert letters
        raise copy(self.error)


def worker(
    sink: Sink, log: MemoryLog, name: str = "out", hooks: Hooks | None = None, **plan: object
) -> Worker:
    planned = Plan(name, BRIDGE, **plan)  # type: ignore[arg-type]  # what a test plans
    return Worker(planned, sink, log, START, hooks=hooks, jitter=lambda: 1.0, logger=lambda *_, **__: None)


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("place", PLACES)
async def test_one_sinks_exception_at_any_await_never_cancels_another(
    overlap: Overlap, place: str, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0
    log, well = MemoryLog(), ScriptedSink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker(well, log, "well").run)
        for number, error in enumerate(ERRORS):
            broken = FailingLog(log, place, error)
            hooks = Hooks(letters=broken)  # type: ignore[arg-type]  # it only fails
            nursery.start_soon(worker(Failing(overlap, place, error), broken, f"bad{number}", hooks).run)
        for number in range(10):
            log.append([change(number)])
            await trio.sleep(5)
            assert log.acknowledged.count(("well", number + 1)) == 1, "at once, whatever the others do"
        nursery.cancel_scope.cancel()
    assert autojump_clock.current_time() >= 50
    assert well.closed == 1


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("place", ["enter", "open", "deliver", "exit"])
async def test_a_sink_whose_library_ends_the_process_is_begun_anew_as_after_any_other_error(
    overlap: Overlap, place: str, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0
    log, well = MemoryLog(), ScriptedSink()
    bad = worker(Failing(overlap, place, SystemExit(3)), FailingLog(log, place, OSError()), "bad")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker(well, log, "well").run)
        nursery.start_soon(bad.run)
        log.append([change(1)])
        await trio.sleep(5)
        await bad.pause(trio.current_time() + 5)  # so that it leaves
        bad.resume()
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert ("well", 1) in log.acknowledged
    assert bad.stats.retries["error"] > 0


async def test_a_sink_that_is_frozen_for_an_hour_changes_nothing_for_another(
    autojump_clock: MockClock,
) -> None:
    async def latencies(*frozen: Overlap) -> list[float]:
        log, well, found = MemoryLog(), ScriptedSink(), list[float]()
        async with trio.open_nursery() as nursery:
            for overlap in frozen:
                dead = ScriptedSink()
                dead.gate = trio.Event()
                dead.overlap, dead.concurrency = overlap, 4  # type: ignore[misc]  # of this one only
                nursery.start_soon(worker(dead, log, f"dead-{overlap}", window_bytes=2000).run)
            nursery.start_soon(worker(well, log, "well").run)
            dice = random.Random(1)
            for number in range(360):
                begin = autojump_clock.current_time()
                log.append([change(number, size=1_500_000 if number % 90 == 0 else 100)])
                await wait_all_tasks_blocked()
                assert len(well.owned) == number + 1
                found.append(autojump_clock.current_time() - begin)
                await trio.sleep(dice.random() * 20)
            nursery.cancel_scope.cancel()
        return found

    assert await latencies(*Overlap) == await latencies()


@pytest.mark.parametrize("known", [Resume("another", 1, 0), Resume("log", 7, 0), Resume("log", 1, 99)])
async def test_a_destination_that_is_ahead_of_this_state_ends_the_bridge_or_gets_a_snapshot(
    known: Resume,
) -> None:
    log, lost = MemoryLog(), list[str]()
    log.append([change(1)])

    async def note(name: str, streams: Collection[str] | None) -> None:
        assert streams is None, "of all"
        lost.append(f"{name} at {log.cursor}")

    sink = ScriptedSink()
    sink.resumes_at = known
    with pytest.raises(StateError, match=r"sink out: .*never gave out"):
        await worker(sink, log, hooks=Hooks(on_state_loss=note)).run()
    assert (lost, sink.owned) == ([], [])
    async with trio.open_nursery() as nursery:
        one = worker(sink, log, hooks=Hooks(on_state_loss=note), resync_on_state_loss=True)
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert lost == ["out at 0"], "before anything is handed out"
    assert log.cursor == 1


@pytest.mark.parametrize(("on_state_loss", "asked"), [("resync", [("out", ["pods"])]), ("fail", [])])
async def test_a_sink_that_says_what_its_destination_lost_gets_it_again_where_that_is_configured(
    on_state_loss: str, asked: list[tuple[str, Collection[str] | None]]
) -> None:
    lost = list[tuple[str, Collection[str] | None]]()
    contexts = list[Context]()

    class Listening(ScriptedSink):
        async def open(self, resume: Resume, context: Context) -> Resume:
            contexts.append(context)
            return await super().open(resume, context)

    async def note(name: str, streams: Collection[str] | None) -> None:
        await trio.lowlevel.checkpoint()
        lost.append((name, streams))

    hooks, resync = Hooks(on_state_loss=note), on_state_loss == "resync"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker(Listening(), MemoryLog(), hooks=hooks, resync_on_state_loss=resync).run)
        await wait_all_tasks_blocked()
        assert await contexts[-1].lost(["pods"]) is resync
        nursery.cancel_scope.cancel()
    assert lost == asked


async def test_a_lost_state_asks_for_one_snapshot_however_often_it_opens(
    autojump_clock: MockClock,  # noqa: ARG001 - the sink is opened again after waits
) -> None:
    """Until the first record is owned the destination stays where it was; what it knew is one loss."""
    log, lost = MemoryLog(), list[str]()
    log.append([change(1)])

    async def note(name: str, streams: Collection[str] | None) -> None:
        assert streams is None, "of all"
        lost.append(name)

    sink = ScriptedSink([Unavailable("away"), RuntimeError("torn")])
    sink.resumes_at = Resume("another", 1, 40)
    async with trio.open_nursery() as nursery:
        one = worker(sink, log, hooks=Hooks(on_state_loss=note), resync_on_state_loss=True)
        nursery.start_soon(one.run)
        assert await one.drain(trio.current_time() + 600)
        await one.pause(math.inf)
        assert (lost, log.cursor) == (["out"], 1)
        assert len(sink.opened) > 1

        sink.resumes_at = Resume("a third", 1, 40)
        one.resume()
        await wait_all_tasks_blocked()
        assert lost == ["out", "out"], "another place is another loss"
        nursery.cancel_scope.cancel()


async def test_a_sink_is_told_where_it_stands() -> None:
    told = list[Context]()

    class Curious(ScriptedSink):
        default_records = 4

        async def open(self, resume: Resume, context: Context) -> Resume:
            told.append(context)
            return await super().open(resume, context)

    async def tell(**plan: Any) -> Context:
        async with trio.open_nursery() as nursery:
            one = worker(Curious(), MemoryLog(), hooks=Hooks(streams=lambda: [PODS, NODES]), **plan)
            nursery.start_soon(one.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return told.pop()

    assert await tell() == Context("out", "c", "cluster-uid", [PODS, NODES], "application/json", 4)
    chosen = await tell(
        selection=Selection(streams={"nodes"}), form=Format.CLOUDEVENTS, batching=Batching(max_records=7)
    )
    assert chosen == Context("out", "c", "cluster-uid", [NODES], "application/cloudevents+json", 7)
    assert not (await tell(form=Format.KUBERNETES)).control, "that format has no RESYNC"
    assert (await tell(batching=Batching(max_records=1000))).max_records == 10, "never more than it can take"


async def test_a_sink_that_makes_several_requests_of_a_delivery_stays_within_the_rate_limit(
    autojump_clock: MockClock,
) -> None:
    class Halving(ScriptedSink):
        async def open(self, resume: Resume, context: Context) -> Resume:
            self.admit = context.admit
            return await super().open(resume, context)

        async def deliver(self, batch: Delivery) -> None:
            for _ in range(4):
                await self.admit(1, 1)
            await super().deliver(batch)

    log, sink = MemoryLog(), Halving()
    log.append([change(1)])
    begin = autojump_clock.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker(sink, log, throttle=Throttle(Rates(requests=2, burst=1))).run)
        await trio.sleep_until(begin + 1.9)
        assert not sink.owned
        await trio.sleep_until(begin + 2.1)
        assert sink.owned, "one request, and four more"
        nursery.cancel_scope.cancel()


async def test_sinks_that_share_a_rate_limit_stay_within_it_together(autojump_clock: MockClock) -> None:
    log, throttle = MemoryLog(), Throttle(Rates(records=10, burst=10))
    log.append([change(n) for n in range(100)])
    sinks = [ScriptedSink(), ScriptedSink()]
    begin = autojump_clock.current_time()
    async with trio.open_nursery() as nursery:
        for number, sink in enumerate(sinks):
            nursery.start_soon(worker(sink, log, str(number), throttle=throttle).run)
        await trio.sleep_until(begin + 9.5)
        assert [len(sink.values) for sink in sinks] == [50, 50], "in turn"
        await trio.sleep_until(begin + 19.5)
        assert [len(sink.values) for sink in sinks] == [100, 100]
        nursery.cancel_scope.cancel()


async def test_letters_without_a_record_are_never_buried() -> None:
    """A sink that refuses records it was not handed has answered nothing: all of it comes again."""
    log, letters = MemoryLog(), Letters()
    log.append([change(1)])
    sink = ScriptedSink([Rejected({3: "what?"})])
    one = worker(sink, log, hooks=Hooks(letters=letters))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await wait_all_tasks_blocked()
        assert (one.stats.state, log.cursor, letters.kept) == (SinkState.RETRYING, 0, [])
        nursery.cancel_scope.cancel()
