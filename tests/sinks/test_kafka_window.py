"""What comes again after a failure keeps the order of each key; no broker is needed to say so."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.delivery.sink import Unavailable
from sinks.kafka.link import Link, Parcel
from sinks.kafka.messages import Message
from sinks.kafka.voice import Voice
from sinks.kafka.window import LIMIT, Window
from tests.sinks.fake_producer import Error, Producer, install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    return install(monkeypatch)


def parcels(*positions: int) -> list[Parcel]:
    return [(n, (Message("t", b"k", b"%d" % n, []),)) for n in positions]


class Caller:
    """Calls a link as the session does: one after the other, several on their way."""

    def __init__(self) -> None:
        self.link = Link({}, Voice("out", "b:9092", ()), lambda _topics: ["ACLS"])
        self.order = trio.StrictFIFOLock()
        self.calls = 0
        self.refused: dict[int, str] = {}

    async def deliver(self, *positions: int) -> None:
        alone = not self.calls
        self.calls += 1
        try:
            async with self.order:
                slots = await self.link.send(parcels(*positions), self.refused, alone=alone)
            await self.link.settle(slots)
        finally:
            self.calls -= 1


@contextlib.asynccontextmanager
async def serving(producers: list[Producer]) -> AsyncIterator[tuple[Caller, Producer, trio.Nursery]]:
    caller = Caller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.link.serve)
        yield caller, producers[-1], nursery
        nursery.cancel_scope.cancel()


async def outcome(caller: Caller, *positions: int) -> str:
    try:
        await caller.deliver(*positions)
    except Unavailable as error:
        return error.reason
    return "owned"


async def test_batches_behind_a_failed_one_come_again_with_it(
    producer: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    results: dict[str, str] = {}

    async def call(caller: Caller, name: str, *positions: int) -> None:
        results[name] = await outcome(caller, *positions)

    async with serving(producer) as (caller, client, _):
        client.takes = False
        async with trio.open_nursery() as calls:
            calls.start_soon(call, caller, "first", 1, 2, 3)
            await trio.testing.wait_all_tasks_blocked()
            calls.start_soon(call, caller, "second", 4, 5)
            await trio.testing.wait_all_tasks_blocked()
            client.fails[2] = "TOPIC_AUTHORIZATION_FAILED"
            client.takes = True
        assert results == {"first": "authorization", "second": "authorization"}
        assert await outcome(caller, 1, 2, 3) == "owned"
        assert await outcome(caller, 4, 5) == "owned"
    assert client.log == [1, 3, 4, 5, 2, 3, 4, 5], "what was delivered before the failure is not repeated"


async def test_a_batch_cannot_overtake_one_that_was_cut_off(
    producer: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    """The first call is cancelled while the window is full; the second has waited behind it."""
    many = range(1, LIMIT + 10)
    results: dict[str, str] = {}
    async with serving(producer) as (caller, client, _):
        client.takes = False
        async with trio.open_nursery() as calls:
            first = trio.CancelScope()

            async def begin() -> None:
                with first:
                    await caller.deliver(*many)

            async def follow() -> None:
                results["second"] = await outcome(caller, LIMIT + 10)

            calls.start_soon(begin)
            await trio.sleep(0.1)
            calls.start_soon(follow)
            await trio.sleep(0.1)
            first.cancel()
        assert results == {"second": "order"}
        client.takes = True
        assert await outcome(caller, *many) == "owned"
        assert await outcome(caller, LIMIT + 10) == "owned"
    assert client.log == list(range(1, LIMIT + 11))


async def test_no_more_is_on_its_way_than_one_burst_of_reports_may_take(
    producer: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    async with serving(producer) as (caller, client, nursery):
        client.takes = False
        nursery.start_soon(outcome, caller, *range(1, 3 * LIMIT))
        await trio.sleep(1)
        assert len(client.waiting) == LIMIT


async def test_silence_is_told_after_some_seconds_and_nothing_is_sent_twice(
    producer: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    async with serving(producer) as (caller, client, _):
        client.takes = False
        for _ in range(20):
            assert await outcome(caller, 1, 2) == "silent"
        assert trio.current_time() >= 200
        client.takes = True
        assert await outcome(caller, 1, 2) == "owned"
    assert client.log == [1, 2]


async def test_a_culprit_is_found_alone_and_the_others_keep_their_order(
    producer: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    async with serving(producer) as (caller, client, _):
        client.fails |= dict.fromkeys((1, 2, 3), "MSG_SIZE_TOO_LARGE")
        assert await outcome(caller, 1, 2, 3, 4) == "tooLarge"
        client.fails[2] = "MSG_SIZE_TOO_LARGE"
        assert await outcome(caller, 1, 2, 3, 4) == "owned"
    assert list(caller.refused) == [2]
    assert "MSG_SIZE_TOO_LARGE" in caller.refused[2]
    assert client.log == [4, 1, 3, 4]


async def test_a_full_queue_is_waited_for(
    producer: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    async with serving(producer) as (caller, client, nursery):
        client.takes = False
        nursery.start_soon(outcome, caller, 1)
        await trio.testing.wait_all_tasks_blocked()
        client.full = True
        nursery.start_soon(outcome, caller, 2)
        await trio.testing.wait_all_tasks_blocked()
        client.full, client.takes = False, True
        await trio.sleep(2)
    assert client.log == [1, 2]


async def owned_of(caller: Caller, batches: Sequence[Sequence[int]]) -> int:
    """Begins a call for each in order; how many of them Kafka owns, up to the first that it does not."""
    results = ["" for _ in batches]

    async def call(index: int) -> None:
        results[index] = await outcome(caller, *batches[index])

    async with trio.open_nursery() as calls:
        for index in range(len(batches)):
            calls.start_soon(call, index)
            await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
    return next((at for at, result in enumerate(results) if result != "owned"), len(results))


def test_a_late_report_of_an_old_window_changes_no_other() -> None:
    old, new = Window(), Window()
    late = old.take(1, "t", 1)
    new.take(1, "t", 1)
    late(Error("_PURGE_INFLIGHT"), None)
    assert (new.in_flight, new.failed_at, old.failed_at) == (1, None, 1)


@given(
    keys=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=10),
    failures=st.lists(st.integers(0, 39), max_size=6),
)
@example(keys=[0, 0, 0, 0, 0, 0, 0, 1], cuts=[2], failures=[0, 7])
@settings(max_examples=60)
def test_whatever_is_refused_nothing_is_lost_and_a_key_ends_in_its_last_record(
    keys: list[int], cuts: list[int], failures: list[int]
) -> None:
    """What a broker refuses for good comes again with everything behind it; what it only delays, librdkafka
    keeps in order by itself."""

    async def run() -> list[int]:
        batches, rest = list[list[int]](), list(range(len(keys)))
        while rest:
            size = cuts[len(batches) % len(cuts)]
            batches.append(rest[:size])
            rest = rest[size:]
        with pytest.MonkeyPatch.context() as patch:
            async with serving(install(patch)) as (caller, client, _):
                client.fails = dict.fromkeys(failures, "NOT_LEADER_FOR_PARTITION")
                while batches:
                    batches = batches[await owned_of(caller, batches[:4]) :]
            return client.log

    log = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert set(log) == set(range(len(keys))), "nothing is lost"
    for key in set(keys):
        of_key = [at for at, k in enumerate(keys) if k == key]
        delivered = [at for at in log if keys[at] == key]
        assert delivered[-1] == of_key[-1], "a compacted topic would keep an old record"
        if not set(failures).intersection(of_key):
            assert list(dict.fromkeys(delivered)) == of_key, "its first deliveries are in order"
