"""Whatever a destination does, in lanes, a pipeline or one by one: nothing is lost, no object goes back."""

import math
import random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.sink import Overlap
from bridge.delivery.stats import SinkState
from bridge.delivery.worker import Batching, Hooks
from tests.delivery.chaos import ChaoticSink, Fault
from tests.delivery.fakes import BRIDGE
from tests.delivery.rig import Rig, of

WAYS = list(Overlap)
KINDS = ["ok", "ok", "unavailable", "wait", "error", "lost", "stopped"]
FAULTS = st.lists(st.builds(Fault, st.sampled_from(KINDS), st.sampled_from([0.0, 0.5, 3.0])), max_size=25)
KEYS = st.lists(st.integers(0, 5), min_size=1, max_size=40)
ORDERS = st.lists(st.sampled_from(["pause", "resume", "resume", "wait"]), max_size=6)


@pytest.mark.parametrize("overlap", WAYS)
@given(keys=KEYS, script=FAULTS, poison=st.frozensets(st.integers(1, 40), max_size=4), orders=ORDERS)
@settings(max_examples=60, deadline=None)
def test_through_any_faults_nothing_is_lost_and_the_last_word_of_each_object_is_the_newest(
    overlap: Overlap, keys: list[int], script: list[Fault], poison: frozenset[int], orders: list[str]
) -> None:
    rig = Rig(overlap, script, poison=poison)

    async def scenario() -> None:
        rig.append(keys[::2])
        for order in orders:
            match order:
                case "pause":
                    await rig.worker.pause(math.inf)
                    assert not rig.sink.flying, "a paused sink has nothing in flight"
                case "resume":
                    rig.worker.resume()
                case _:
                    await trio.sleep(0.7)
        rig.append(keys[1::2])
        await rig.finish()

    rig.run(scenario)
    rig.oracle.check_end(skips=overlap is Overlap.PIPELINE)


@given(keys=st.lists(st.integers(0, 60), min_size=30, max_size=120), stuck=st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_all_that_is_handed_out_stays_within_the_window_at_every_step(keys: list[int], stuck: int) -> None:
    rig = Rig(Overlap.LANES, [Fault("ok", 50.0)] * (1 + stuck % 4), window_bytes=3000)
    most = 0

    async def scenario() -> None:
        nonlocal most
        rig.append(keys)
        with trio.fail_after(3000):
            while rig.worker.stats.position < rig.log.end():
                held = rig.worker._ledger.outstanding
                most = max(most, held)
                assert sum(delivery.size for delivery in rig.sink.flying) <= 3000
                await trio.sleep(0.25)

    rig.run(scenario)
    rig.oracle.check_end()
    assert most <= 3000 // 200, "no record is smaller than 200 bytes"


def test_calls_for_different_keys_run_in_parallel_and_those_of_a_pipeline_overlap() -> None:
    for overlap, expected in ((Overlap.LANES, 4), (Overlap.PIPELINE, 4), (Overlap.NONE, 1)):
        rig = Rig(overlap, [Fault("ok", 1.0)] * 100)
        rig.append(list(range(60)))
        rig.run(rig.finish)
        assert rig.sink.most == expected, overlap


def test_a_lane_that_is_stuck_stops_the_others_only_when_the_window_is_full() -> None:
    rig = Rig(Overlap.LANES, [Fault("ok", 3600.0)], records=1, window_bytes=100 * 300)

    async def scenario() -> None:
        rig.append([0])
        await trio.sleep(1)
        rig.append([1, 2, 3, 4, 5] * 20)
        await trio.sleep(1)
        stuck = rig.worker.stats.position
        assert stuck == 0, "the cursor stays before what is stuck"
        lane = rig.sink.flying[0].records[0].key
        others = {key for key in range(1, 6) if rig.oracle.taken[f"n{key}"]}
        assert len(others) >= 3, lane
        assert all(len(rig.oracle.taken[f"n{key}"]) == 20 for key in others)
        await trio.sleep(3600)
        assert rig.worker.stats.position == rig.log.end()

    rig.run(scenario)
    rig.oracle.check_end()


def test_one_object_that_is_always_answered_with_an_error_neither_hammers_nor_blocks_the_others() -> None:
    class Stubborn(ChaoticSink):
        tries = 0

        async def deliver(self, batch: Any) -> None:
            if batch.records[0].change.name == "n0":
                self.tries += 1
                self.script.insert(0, Fault("unavailable"))
            await super().deliver(batch)

    rig = Rig(Overlap.LANES, records=1)
    rig.sink.__class__ = Stubborn
    spare = next(key for key in range(1, 50) if _lane(key) != _lane(0))

    async def scenario() -> None:
        rig.append([0])
        for _ in range(50):
            rig.append([spare])
            await trio.sleep(10)
            assert len(rig.oracle.taken[f"n{spare}"]) == sum(
                1 for batch in rig.log.batches for one in batch.changes if one.name == f"n{spare}"
            ), "at once"
        assert rig.worker.stats.breaker == "closed"
        assert rig.worker.stats.state is SinkState.RETRYING

    rig.run(scenario)
    assert isinstance(rig.sink, Stubborn)
    assert 500 / 8 <= rig.sink.tries <= 2 * 500 / (0.7 * 8)


def _lane(key: int) -> int:
    from bridge.changes.envelope import Renderer  # noqa: PLC0415 - only here
    from bridge.delivery.limits import Limits  # noqa: PLC0415
    from bridge.delivery.queues import LaneQueues  # noqa: PLC0415
    from tests.delivery.fakes import PODS  # noqa: PLC0415

    record = Renderer(BRIDGE, PODS).render(of(1, key), 1)
    assert record is not None
    return LaneQueues(Limits(1, 1, 0, 4, 1, 1)).lane_of(record)


def test_a_sink_that_is_down_is_asked_by_one_call_at_a_time() -> None:
    rig = Rig(Overlap.LANES, [Fault("unavailable", 0.1)] * 40, records=1, concurrency=16)

    async def scenario() -> None:
        rig.append(list(range(60)))
        await trio.sleep(1)
        assert rig.worker.stats.breaker == "open"
        rig.sink.most = 0
        await trio.sleep(100)
        assert rig.sink.most == 1
        left = len(rig.sink.script)
        assert left >= 40 - 16 - 100 / (0.7 * 8) - 5
        await rig.finish()

    rig.run(scenario)
    rig.oracle.check_end()
    assert [level for level, _ in rig.said] == ["warning", "info"]


def test_a_pause_that_the_destination_asks_for_stops_all_lanes() -> None:
    rig = Rig(Overlap.LANES, [Fault("wait")], records=1)

    async def scenario() -> None:
        rig.append([0])
        await trio.sleep(1)
        rig.append(list(range(1, 30)))
        await trio.sleep(18)
        assert not rig.oracle.settled()
        await trio.sleep(2)
        assert len(rig.oracle.settled()) == 30

    rig.run(scenario)
    assert rig.worker.stats.retries == {"throttled": 1}


@pytest.mark.parametrize("overlap", WAYS)
def test_refused_records_are_buried_exactly_and_the_others_are_owned(overlap: Overlap) -> None:
    rig = Rig(overlap, poison=frozenset({2, 3, 9}))

    async def scenario() -> None:
        rig.append([0, 0, 0, 1, 2, 3, 4, 0, 0, 0])
        await rig.finish()

    rig.run(scenario)
    rig.oracle.check_end()
    assert sorted(letter.change.rv for letter in rig.letters.kept) == ["2", "3", "9"]
    letter = min(rig.letters.kept, key=lambda one: one.position)
    assert (letter.sink, letter.position, letter.reason, letter.attempts) == ("out", 2, "it is poison", 1)
    assert letter.id.endswith("/u0/2/U")
    assert 0 < letter.first_at <= letter.last_at
    assert (rig.worker.stats.rejected, rig.worker.stats.records) == (3, 7)


class FakeTime:
    """The wall clock goes as the virtual one does."""

    @staticmethod
    def time() -> float:
        return 1000 + trio.current_time()


@pytest.mark.parametrize("overlap", WAYS)
@pytest.mark.parametrize("seed", range(20))
def test_a_dead_letter_tells_how_often_its_record_was_handed_over_and_when_first(
    overlap: Overlap, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it came again before, and in whatever company."""
    monkeypatch.setattr("bridge.delivery.handover.time", FakeTime)
    dice = random.Random(seed)
    faults = [Fault(dice.choice(KINDS), dice.choice([0.0, 0.5, 3.0])) for _ in range(25)]
    rig = Rig(overlap, faults, poison=frozenset(range(1, 41, 3)))

    async def scenario() -> None:
        for _ in range(10):
            rig.append([dice.randrange(6) for _ in range(4)], at_once=2)
            await trio.sleep(dice.choice([0.0, 1.0]))
        await rig.finish()

    rig.run(scenario)
    assert len(rig.letters.kept) == 14
    for letter in rig.letters.kept:
        handed = rig.sink.handed[letter.position]
        assert (letter.attempts, letter.first_at) == (len(handed), int((1000 + handed[0]) * 1e6)), (
            letter.position
        )
    assert max(letter.attempts for letter in rig.letters.kept) > 1, "nothing came again: choose another seed"
    assert rig.worker._tries._before == {}, "nothing is remembered of what is settled"


@pytest.mark.parametrize("overlap", WAYS)
def test_without_room_for_a_dead_letter_the_sink_parks_before_the_record_until_there_is_room(
    overlap: Overlap,
) -> None:
    rig = Rig(overlap, poison=frozenset({2, 5}), room=1, records=1)

    async def scenario() -> None:
        rig.append([0, 0, 0, 1, 0, 1])
        await trio.sleep(100)
        assert rig.worker.stats.state is SinkState.PARKED
        assert "no room" in rig.worker.stats.reason
        assert rig.worker.stats.position == 4, "before the record"
        assert not await rig.worker.drain(trio.current_time() + 5)
        rig.append([3] * 30)
        await trio.sleep(100)
        assert len(rig.oracle.taken["n3"]) <= 4, "nothing more is handed out"
        rig.letters.room = 100
        await trio.sleep(31)
        assert str(rig.worker.stats.state) == "delivering"
        await rig.finish()

    rig.run(scenario)
    rig.oracle.check_end()


@pytest.mark.parametrize("overlap", WAYS)
def test_where_it_is_configured_the_sink_halts_before_a_refused_record_and_goes_on_when_told(
    overlap: Overlap,
) -> None:
    rig = Rig(overlap, poison=frozenset({5}))
    rig.worker._hooks = Hooks(letters=None)

    async def scenario() -> None:
        rig.append([0] * 8)
        await trio.sleep(100)
        assert rig.worker.stats.state is SinkState.HALTED
        assert rig.worker.stats.position == 4
        rig.oracle.poison = frozenset()
        rig.worker.resume()
        await rig.finish()

    rig.run(scenario)
    rig.oracle.check_end(skips=True)  # of the refused batch it owned the others


@pytest.mark.parametrize("overlap", WAYS)
def test_a_sink_that_is_stopped_by_its_destination_keeps_its_cursor_until_a_person_acts(
    overlap: Overlap,
) -> None:
    rig = Rig(overlap, [Fault("ok"), Fault("stopped")], records=1)

    async def scenario() -> None:
        rig.append([0] * 8)
        await trio.sleep(10_000)
        assert (rig.worker.stats.state, rig.worker.stats.reason) == (SinkState.PARKED, "gone")
        assert (rig.worker.stats.position, rig.sink.opened) == (1, 1)
        rig.worker.resume()
        await rig.finish()

    rig.run(scenario)
    rig.oracle.check_end(skips=overlap is Overlap.PIPELINE)


@pytest.mark.parametrize("overlap", WAYS)
def test_a_dropped_backlog_interrupts_what_is_retried_and_nothing_older_is_acknowledged(
    overlap: Overlap,
) -> None:
    rig = Rig(overlap, [Fault("unavailable")] * 30)

    async def scenario() -> None:
        rig.append(list(range(30)))
        await trio.sleep(20)
        moved = list[int]()

        async def move() -> int:
            await trio.sleep(50)
            assert not rig.sink.flying
            assert not rig.log.acknowledged
            moved.append(rig.log.end())
            rig.log.batches.clear()  # for the oracle: nobody misses them any more
            rig.log.acknowledged.append(("out", moved[0]))
            return moved[0]

        await rig.worker.drop(move)
        assert rig.worker.stats.position == moved[0] == 30
        rig.sink.script.clear()
        rig.append([7, 8, 9])
        await rig.finish()
        assert rig.oracle.settled() == {31, 32, 33}
        await rig.worker.skip_to(rig.log.end())

    rig.run(scenario)


def test_a_batch_waits_for_more_no_longer_than_it_may_and_not_once_it_is_full_or_drained() -> None:
    for overlap in WAYS:
        rig = Rig(overlap, records=3, batching=Batching(max_delay=10))
        seen = list[tuple[float, int]]()

        async def scenario(rig: Rig = rig, seen: list[tuple[float, int]] = seen) -> None:
            begin = trio.current_time()
            taken = rig.oracle.taken["n0"]

            async def note(seconds: float) -> None:
                await trio.sleep_until(begin + seconds)
                seen.append((seconds, len(taken)))

            rig.append([0])
            await note(9.9)
            await note(10.1)
            rig.append([0], 1)
            await note(15)
            rig.append([0, 0], 1)
            await note(15.1)
            rig.append([0])
            await note(16)
            assert await rig.worker.drain(trio.current_time() + 1)
            await note(16.1)

        rig.run(scenario)
        assert seen == [(9.9, 0), (10.1, 1), (15, 1), (15.1, 4), (16, 4), (16.1, 5)], overlap


def test_a_pipeline_whose_breaker_is_ready_before_its_last_call_has_failed_goes_on() -> None:
    rig = Rig(Overlap.PIPELINE, [Fault("unavailable", 0.05), Fault("unavailable", 3.0)], records=1)

    async def scenario() -> None:
        rig.append([0] * 2)
        await trio.sleep(0.1)
        assert (rig.worker.stats.breaker, len(rig.sink.flying)) == ("open", 1)
        rig.append([0] * 5)  # read while the second call is on its way, so the third waits for the breaker
        await trio.sleep(60)
        assert rig.worker.stats.position == 7

    rig.run(scenario)
