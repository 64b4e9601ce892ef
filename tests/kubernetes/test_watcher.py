"""The watcher performs what the protocol asks: over a scripted server, in virtual time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.changes.change import Cause, Cursor
from bridge.kubernetes.failures import ApiError, Unreachable
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.watcher import Watcher
from tests.kubernetes.conversation import at
from tests.kubernetes.scripted_api import Live, Recorder, ScriptedApi, Whole, cut, watcher
from tests.kubernetes.wire_bodies import (
    W1,
    W9,
    added,
    bookmark,
    deleted,
    marker,
    modified,
    page,
    pod,
)


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    """Time that jumps when nothing else can happen."""
    return autojump_clock


@asynccontextmanager
async def running(clock: MockClock, it: Watcher) -> AsyncIterator[None]:
    assert clock.autojump_threshold == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        yield
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], Any]) -> None:
    """Virtual time passes until it is so."""
    with trio.fail_after(2000):
        while not condition():  # noqa: ASYNC110 - virtual time; the observer is what is looked at
            await trio.sleep(0.5)


async def test_from_first_start_to_live_events(clock: MockClock) -> None:
    """Items as pages, the marker as the end of the listing, live events with their cursor, in order."""
    api = ScriptedApi(
        Live([added("a", 3) + added("b", 4), marker(10), modified("a", 11), added("c", 12)], stays=True)
    )
    seen = Recorder()
    async with running(clock, watcher(api, seen)):
        await until(lambda: len(seen.of("changes")) == 2)
    assert seen.told == [
        ("phase", Phase.CONNECTING, ""),
        ("phase", Phase.LISTING, ""),
        ("listing", Cause.FIRST_START, ""),
        ("page", ["a", "b"]),
        ("listed", "10"),
        ("phase", Phase.LIVE, ""),
        ("changes", [("MODIFIED", "a", "11")], Cursor("10", "11", ("u-a/MODIFIED",))),
        ("changes", [("ADDED", "c", "12")], Cursor("11", "12", ("u-c/ADDED",))),
    ]


async def test_there_is_one_call_for_each_read_whatever_it_holds(clock: MockClock) -> None:
    """[G8] The reader never waits per event: a thousand events of one read are one call."""
    burst = b"".join(added(f"p{index}", 11 + index) for index in range(1000))
    api = ScriptedApi(Live([burst], stays=True), revision=10)
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: seen.of("changes"))
    ((events, cursor),) = seen.of("changes")
    assert len(events) == 1000
    assert cursor.rv == "1009"


async def test_a_restart_goes_on_from_the_durable_cursor_and_repeats_nothing(clock: MockClock) -> None:
    """[B18] [E8] The cursor that came with the last accepted batch is all that a new process needs."""
    api = ScriptedApi(Live([added("a", 11) + added("b", 12)], stays=True), revision=10)
    first = Recorder()
    async with running(clock, watcher(api, first, at(10), memory=shared())):
        await until(lambda: first.names)
    cursor = first.of("changes")[-1][1]
    api = ScriptedApi(Live([added("b", 12) + deleted("a", 13)], stays=True), revision=13)
    second = Recorder()
    async with running(clock, watcher(api, second, cursor, memory=shared())):
        await until(lambda: second.names)
    assert api.asked[-1][1]["resourceVersion"] == "11"
    assert first.names + second.names == ["a", "b", "a"]


@pytest.mark.parametrize("ending", ["end", "cut", "torn", "idle"])
async def test_however_a_stream_ends_the_next_goes_on_and_nothing_is_lost_or_repeated(
    clock: MockClock, ending: str
) -> None:
    """[B3] [C6] [C7] [H8] Clean end, broken body, torn line, silence: the same revision again."""
    steps: dict[str, list[Any]] = {
        "end": [added("a", 11), added("b", 12)[:-1]],
        "cut": [added("a", 11), added("b", 12), cut()],
        "torn": [added("a", 11) + added("b", 12)[:-30]],
        "idle": [added("a", 11), added("b", 12), 9999.0],
    }
    again = Live([added("b", 12), modified("b", 13)], stays=True)
    api = ScriptedApi(Live(steps[ending]), again, revision=12)
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: seen.names[-1:] == ["b"] and len(seen.names) == 3)
    assert seen.names == ["a", "b", "b"]
    assert seen.of("listing") == []


async def test_an_unreachable_server_is_asked_again_and_the_sentence_is_told(clock: MockClock) -> None:
    """[B11] [I1] No credential, no address, no route: a phase with the transport's own words, and backoff."""
    error = Unreachable("nothing answers at the API server https://x (connection refused)")
    api = ScriptedApi(Live(error=error), Live(error=error), Whole(page(10)), Live(stays=True))
    seen = Recorder()
    async with running(clock, watcher(api, seen)):
        await until(lambda: seen.phases[-1:] == [Phase.LIVE])
    assert seen.phases == [Phase.CONNECTING, Phase.LISTING, Phase.BACKOFF, Phase.LISTING, Phase.LIVE]
    assert (Phase.BACKOFF, str(error)) in seen.of("phase")
    assert 2.4 <= trio.current_time() <= 10


@pytest.mark.parametrize(
    ("status", "phase"), [(401, Phase.FORBIDDEN), (302, Phase.BACKOFF), (200, Phase.BACKOFF)]
)
async def test_what_the_transport_refuses_is_told_in_its_words(
    clock: MockClock, status: int, phase: Phase
) -> None:
    """[K7] [B16] [A17] A refused credential, a redirect, a login page: kept, told, tried again."""
    error = ApiError("the server wants something else", status=status, reason="WebPage")
    api = ScriptedApi(Live(error=error), Live([added("a", 11)], stays=True), revision=10)
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: seen.names)
    assert (phase, "the server wants something else") in seen.of("phase")
    assert seen.of("listing") == []


async def test_a_page_that_is_too_large_is_asked_for_in_halves(clock: MockClock) -> None:
    """[A19] The transport bounds what a page may hold; half the items fit."""
    error = ApiError("more than 256 MiB", status=200, reason="TooLarge")
    api = ScriptedApi(Live(status=422, steps=[W9]), Whole(error=error), Whole(page(7)), Live(stays=True))
    seen = Recorder()
    async with running(clock, watcher(api, seen)):
        await until(lambda: seen.of("listed"))
    assert [params.get("limit") for _, params in api.asked[1:3]] == ["50", "25"]


async def test_a_hanging_page_is_given_up_in_time(clock: MockClock) -> None:
    """[A19] [A23] No answer in 90 s: halved and asked again; nothing is left behind."""
    api = ScriptedApi(
        Live(status=422, steps=[W9]), Whole(after=1000), Whole(page(7, pod("a", 3))), Live(stays=True)
    )
    seen = Recorder()
    async with running(clock, watcher(api, seen)):
        await until(lambda: seen.of("listed"))
    assert [params.get("limit") for _, params in api.asked[1:3]] == ["50", "25"]


async def test_a_demand_breaks_into_a_silent_watch_and_passes_over_nothing(clock: MockClock) -> None:
    """A snapshot that somebody wants begins at once, at the revision reached; the watch goes on from
    there."""
    api = ScriptedApi(
        Live([added("a", 11), added("b", 12)], stays=True),
        Whole(page(12, pod("a", 11), pod("b", 12))),
        Live([added("c", 13)], stays=True),
        revision=12,
    )
    seen = Recorder()
    it = watcher(api, seen, at(10), memory=shared())
    async with running(clock, it):
        await until(lambda: len(seen.of("changes")) == 2)
        before = trio.current_time()
        it.request_listing(Cause.REQUESTED)
        await until(lambda: seen.names[-1:] == ["c"])
        assert trio.current_time() - before < 5
    assert api.asked[1][1]["resourceVersionMatch"] == "Exact"
    assert seen.of("listing") == [(Cause.REQUESTED, "11")]
    assert seen.names == ["a", "b", "c"]


async def test_a_demand_while_the_observer_is_busy_waits_for_it(clock: MockClock) -> None:
    """What was read is told whole before a listing begins: a demand never cancels the observer."""
    api = ScriptedApi(
        Live([added("a", 11) + added("b", 12), added("c", 13)], stays=True),
        Whole(page(12)),
        Live([added("c", 13)], stays=True),
        revision=12,
    )
    seen = Recorder()
    it = watcher(api, seen, at(10), memory=shared())
    async with running(clock, it):
        await until(lambda: seen.phases[-1:] == [Phase.LIVE])
        seen.hold = trio.Event()
        await wait_all_tasks_blocked()
        it.request_listing(Cause.REQUESTED)
        await wait_all_tasks_blocked()
        seen.hold.set()
        await until(lambda: seen.names[-1:] == ["c"])
    assert seen.names == ["a", "b", "c"]


async def test_a_demand_during_a_listing_does_not_break_it(clock: MockClock) -> None:
    """The stream that lists is not left; the demanded listing follows."""
    api = ScriptedApi(
        Live([added("a", 3), 5.0, marker(9)], stays=True), Whole(page(9, pod("a", 3))), Live(stays=True)
    )
    seen = Recorder()
    it = watcher(api, seen)
    async with running(clock, it):
        await until(lambda: seen.of("page"))
        it.request_listing(Cause.REQUESTED)
        await until(lambda: len(seen.of("listed")) == 2)
    assert [cause for cause, _ in seen.of("listing")] == [Cause.FIRST_START, Cause.REQUESTED]


async def test_only_some_watches_list_at_once(clock: MockClock) -> None:
    """[A24] [I4] The slot is held from the first item to the end of the listing, and not while live."""
    slots = trio.CapacityLimiter(1)
    first = ScriptedApi(Live([added("a", 3), 20.0, marker(9)], stays=True))
    second = ScriptedApi(Live([marker(9)], stays=True))
    one, two = Recorder(), Recorder()
    async with running(clock, watcher(first, one, lists=slots)):
        await until(lambda: one.of("page"))
        async with running(clock, watcher(second, two, lists=slots)):
            await trio.sleep(10)
            assert second.asked == []
            await until(lambda: two.of("listed"))
            assert one.of("listed")
            assert slots.borrowed_tokens == 0


async def test_a_listing_in_pages_leaves_the_slot_to_others_however_quiet_its_watch_is(
    clock: MockClock,
) -> None:
    """[I4] Else each watch of a quiet namespace would hold up the others until its next bookmark."""
    slots = trio.CapacityLimiter(1)
    api = ScriptedApi(
        Live([added("a", 11), added("b", 12)], stays=True),
        Whole(page(12, pod("a", 11), pod("b", 12))),
        Live(stays=True),
        revision=12,
    )
    seen = Recorder()
    it = watcher(api, seen, at(10), memory=shared(), lists=slots)
    async with running(clock, it):
        await until(lambda: len(seen.of("changes")) == 2)
        it.request_listing(Cause.REQUESTED)
        await until(lambda: seen.of("listed"))
        await wait_all_tasks_blocked()
        assert slots.borrowed_tokens == 0


async def test_waiting_after_a_failure_leaves_the_slot_to_others(clock: MockClock) -> None:
    """[A24] [I5] A listing that cannot be made does not hold up the others."""
    slots = trio.CapacityLimiter(1)
    api = ScriptedApi(Live(error=Unreachable("down")), Live(error=Unreachable("down")))
    seen = Recorder()
    async with running(clock, watcher(api, seen, lists=slots)):
        await until(lambda: seen.phases[-1:] == [Phase.BACKOFF])
        assert slots.borrowed_tokens == 0


@pytest.mark.parametrize("steps", [[], [added("a", 3)], [added("a", 3), marker(9)], [added("a", 3), 3.0]])
async def test_cancelled_anywhere_it_leaves_nothing_behind(clock: MockClock, steps: list[Any]) -> None:
    """[A23] [H6] [J10] No connection open, no listing slot taken, whatever it was doing."""
    for delay in (0.0, 0.1, 1.0, 29.0, 31.0):
        slots = trio.CapacityLimiter(1)
        api = ScriptedApi(Live(steps, stays=True), Whole(after=50.0))
        async with running(clock, watcher(api, Recorder(), lists=slots)):
            await trio.sleep(delay)
        assert slots.borrowed_tokens == 0
        assert api.open == 0


async def test_cancelled_while_the_observer_waits_it_leaves_nothing_behind(clock: MockClock) -> None:
    """[A23] Backpressure and shutdown at once."""
    seen = Recorder()
    seen.hold = trio.Event()
    slots = trio.CapacityLimiter(1)
    api = ScriptedApi(Live([added("a", 3), marker(9)], stays=True))
    async with running(clock, watcher(api, seen, lists=slots)):
        await wait_all_tasks_blocked()
        assert api.open == 1
    assert slots.borrowed_tokens == 0
    assert api.open == 0


async def test_a_410_lists_again_and_the_listing_tells_from_where(clock: MockClock) -> None:
    """[B5] [N18] The new state is told as a listing to be compared, never swallowed."""
    api = ScriptedApi(
        Live([added("a", 11), added("b", 12), W1 + b"\n"]),
        Live([added("b", 12) + added("c", 15), marker(20), modified("c", 21)], stays=True),
        revision=12,
    )
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: seen.names[-1:] == ["c"])
    assert seen.of("listing") == [(Cause.EXPIRED, "11")]
    assert seen.of("page") == [(["b", "c"],)]
    assert seen.of("listed") == [("20",)]


async def test_poison_is_told_before_the_listing_that_steps_over_it(clock: MockClock) -> None:
    """[C14] One reconnect, then the record, then the listing."""
    api = ScriptedApi(
        Live([added("a", 11), b"garbage\n"]),
        Live([added("a", 11), b"garbage\n"]),
        Live([marker(20)], stays=True),
        revision=12,
    )
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: seen.of("listed"))
    order = [report[0] for report in seen.told if report[0] in {"changes", "poison", "listing", "listed"}]
    assert order == ["changes", "poison", "listing", "listed"]
    assert seen.of("poison")[0][0] == b"garbage"


async def test_hundreds_of_reconnects_leave_no_stream_open(clock: MockClock) -> None:
    """[H6] [I2] Cut after each event: each is told once, and nothing piles up."""
    script = [Live([added(f"p{rv}", rv), cut()]) for rv in range(11, 311)]
    api = ScriptedApi(*script, revision=10_000)
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: len(seen.names) == 300)
        assert api.open <= 1
    assert seen.names == [f"p{rv}" for rv in range(11, 311)]


async def test_idle_bookmarks_are_told_as_progress(clock: MockClock) -> None:
    """[E2] [H12] A watch without events still moves its cursor."""
    api = ScriptedApi(Live([bookmark(20), 60.0, bookmark(30)], stays=True), revision=10)
    seen = Recorder()
    async with running(clock, watcher(api, seen, at(10), memory=shared())):
        await until(lambda: len(seen.of("bookmark")) == 2)
    assert seen.of("bookmark") == [(Cursor("10", "20"),), (Cursor("20", "30"),)]


def shared() -> ServerMemory:
    """A server whose Events are known to share its revisions: one probe is enough."""
    memory = ServerMemory()
    memory.events_share_revisions = True
    return memory
