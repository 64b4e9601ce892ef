"""A sink that lags beyond what the log has room for: who is dealt with, when, and what it costs whom."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from bridge.delivery.stats import SinkState
from bridge.runtime.backlog import policies
from tests.delivery.fakes import ScriptedSink
from tests.runtime.backlog_bench import MIB, Bench
from tests.runtime.test_outlets import configured


async def after_a_restart() -> Bench:
    """What begins where another one ended, which had dropped a backlog."""
    before, bench = Bench(), Bench()
    await before.grow(95)
    bench.log.owed, bench.log.last = before.log.owed, before.log.last
    await bench.desk.load(["slow", "fast"])
    return bench


async def test_a_dropped_sink_is_owed_a_snapshot_of_each_watch_once_it_takes_records_again(
    autojump_clock: MockClock,
) -> None:
    """A dead sink would have the log filled for it again and again otherwise."""
    del autojump_clock
    bench = Bench()
    await bench.grow(89)
    assert bench.log.dropped == []
    await bench.grow(1)
    assert bench.log.dropped == ["slow"]
    owed = bench.desk.waiting("slow")
    assert {(r.stream, r.scope, r.cause) for r in owed} == {
        ("pods", "a", "backlogFull"), ("pods", "b", "backlogFull"), ("cm", "", "backlogFull"),
    }  # fmt: skip
    await trio.sleep(3600)
    await bench.grow(1)
    assert bench.desk.owed("cm", "") == []
    bench.outlets["slow"].take(1)
    await bench.grow(0)
    assert len(bench.desk.owed("cm", "")) == 1


async def test_what_was_dropped_before_a_restart_waits_for_the_sink_too(autojump_clock: MockClock) -> None:
    del autojump_clock
    bench = await after_a_restart()
    bench.keeper.resume()
    bench.outlets["slow"].stats.position = bench.log.last - 2
    await bench.grow(1)
    assert bench.desk.owed("cm", "") == []
    bench.outlets["slow"].take(1)
    await bench.grow(0)
    assert len(bench.desk.owed("cm", "")) == 1


async def test_a_sink_that_falls_behind_during_its_snapshot_is_tried_later_and_later(
    autojump_clock: MockClock,
) -> None:
    """A log without room for one snapshot must not spend its life with writing it."""
    del autojump_clock
    bench = Bench()
    pauses = []
    for _ in range(8):
        await bench.grow(95)
        bench.outlets["slow"].take(1)
        begun = trio.current_time()
        with trio.move_on_after(4000):
            while not bench.desk.owed("cm", ""):
                await trio.sleep(1)
                await bench.keeper.look()
        pauses.append(round((trio.current_time() - begun) / 60))
        await bench.serve()
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60]


async def test_a_sink_that_was_down_while_its_backlog_was_dropped_often_gets_its_snapshot_at_once(
    autojump_clock: MockClock,
) -> None:
    """Its snapshot was never begun, so nothing is known against it."""
    del autojump_clock
    bench = Bench()
    for _ in range(5):
        await bench.grow(95)
    assert len(bench.log.dropped) > 1
    bench.outlets["slow"].take(1)
    await bench.grow(0)
    assert len(bench.desk.owed("cm", "")) == 1


async def test_a_sink_that_took_its_snapshot_starts_with_a_clean_record(autojump_clock: MockClock) -> None:
    del autojump_clock
    bench = Bench()
    for _ in range(3):
        await bench.grow(95)
        bench.outlets["slow"].take(1)
        await bench.grow(0)
        assert len(bench.desk.owed("cm", "")) == 1
        await bench.serve()
        await bench.grow(0)
        bench.outlets["slow"].take(bench.log.last - bench.outlets["slow"].stats.position)
        await bench.grow(0)


async def test_max_lag_is_a_limit_of_its_own(autojump_clock: MockClock) -> None:
    del autojump_clock
    bench = Bench(max_lag=10 * MIB)
    await bench.grow(9)
    assert bench.log.dropped == []
    await bench.grow(1)
    assert bench.log.dropped == ["slow"]


async def test_what_is_trimmed_bit_by_bit_costs_nobody_else_a_backlog(autojump_clock: MockClock) -> None:
    """Just after a drop the log is still full: the next in line did nothing wrong."""
    del autojump_clock
    bench = Bench()
    bench.log.full = "the log has reached state.maxBytes"
    bench.log.last = 50
    bench.outlets["fast"].stats.position = 40
    await bench.keeper.look()
    await trio.sleep(3)
    await bench.keeper.look()
    await bench.keeper.look()
    assert bench.log.dropped == ["slow"]
    await trio.sleep(10)
    await bench.keeper.look()
    assert bench.log.dropped == ["slow", "fast"], "still full: the next one is in the way after all"


async def test_a_parked_sink_stops_and_holds_back_nothing_but_its_deletions(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    bench = Bench("park")
    await bench.grow(95)
    stats = bench.outlets["slow"].stats
    assert stats.state is SinkState.PARKED
    assert "resume it" in stats.reason
    assert bench.log.dropped == ["slow"], "the identities of deletions are kept"
    await bench.grow(95)
    assert bench.log.dropped == ["slow", "slow"], "also those that come while it is parked"
    assert bench.sinks.parked == {}, "the log does not forget it"
    assert not bench.desk.owed("cm", ""), "it gets no snapshot before it takes records again"


async def test_a_sink_that_waits_for_room_for_dead_letters_is_parked_too(autojump_clock: MockClock) -> None:
    """Its state says so already, but it would go on by itself once its backlog is dropped."""
    del autojump_clock
    bench = Bench("park")
    slow = bench.outlets["slow"]
    slow.stats.state = SinkState.PARKED
    await bench.grow(95)
    assert slow.parked


async def test_a_parked_sink_that_is_resumed_gets_its_snapshot_at_once(autojump_clock: MockClock) -> None:
    del autojump_clock
    bench = Bench("park")
    await bench.grow(95)
    await bench.grow(95)
    outlet = bench.outlets["slow"]
    outlet.stats.state = SinkState.DELIVERING
    outlet.take(1)
    await bench.keeper.look()
    assert bench.desk.owed("cm", "")


def test_of_a_sink_for_all_streams_also_the_deletions_of_one_that_is_configured_no_more_are_kept() -> None:
    """They stand in its backlog, and it would have been handed them."""
    config = configured(ScriptedSink(), ScriptedSink())
    all_, one = config.sinks
    config = replace(config, sinks=(all_, replace(one, streams=("pods",))))
    assert [policy.streams for policy in policies(config)] == [None, ("pods",)]


async def test_block_does_nothing_but_say_so_once_intake_waits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock
    said: list[str] = []
    monkeypatch.setattr("bridge.runtime.backlog.log", lambda *told, **_: said.append(told[1]))
    bench = Bench("block")
    await bench.grow(95)
    assert said == [], "there is room still"
    bench.log.full = "the log is full"
    await bench.grow(5)
    assert said == ["intake waits for this sink, as whenFull: block says"]
    assert (bench.log.dropped, bench.sinks.parked) == ([], {})


@pytest.mark.parametrize(
    ("max_lag", "reason"), [(10 * MIB, "more than its maxLag"), (None, "the log has no room")]
)
async def test_a_parked_sink_is_told_which_limit_it_reached(
    autojump_clock: MockClock, max_lag: int | None, reason: str
) -> None:
    del autojump_clock
    bench = Bench("park", max_lag=max_lag)
    await bench.grow(95 if max_lag is None else 12)
    assert reason in bench.outlets["slow"].stats.reason


async def test_a_sink_whose_deletions_find_no_room_parks(autojump_clock: MockClock) -> None:
    """Deletions are never dropped: without room for them the sink stops, loudly."""
    del autojump_clock
    bench = Bench()
    bench.log.refuses = True
    await bench.grow(95)
    assert "no room even for the identities" in bench.sinks.parked["slow"]
    assert bench.desk.waiting("slow") == []


async def test_what_a_drop_that_ran_out_of_room_has_noted_down_is_owed_without_a_restart(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    bench = Bench()
    bench.log.refuses = bench.log.drops_a_part = True
    slow = bench.outlets["slow"]
    await bench.grow(95)
    assert list(bench.sinks.parked) == ["slow"]
    assert bench.desk.waiting("slow") == bench.log.owed
    assert bench.desk.owed("cm", "") == [], "what is left of its backlog comes first"
    bench.outlets["slow"] = slow
    slow.stats.position = bench.log.last - 2
    await bench.keeper.look()
    assert bench.desk.owed("cm", "") == []
    slow.take(1)
    await bench.keeper.look()
    assert bench.desk.owed("cm", ""), "it is resumed, and takes records"


async def test_a_sink_that_cannot_be_opened_yet_is_not_listed_for(autojump_clock: MockClock) -> None:
    """What is left of its backlog, which finds no room now, comes before its snapshot."""
    del autojump_clock
    bench = await after_a_restart()
    slow = bench.outlets.pop("slow")
    bench.keeper.resume()
    await bench.grow(1)
    assert bench.desk.owed("cm", "") == []
    bench.outlets["slow"] = slow
    slow.stats.position = bench.log.last - 2
    slow.take(1)
    await bench.grow(0)
    assert len(bench.desk.owed("cm", "")) == 1


async def test_a_sink_that_moves_is_waited_for_and_not_for_ever(autojump_clock: MockClock) -> None:
    """A burst or a snapshot puts everybody behind for a moment; a trickle must not hold up the others."""
    del autojump_clock
    bench = Bench()
    bench.log.last = 99
    slow = bench.outlets["slow"].stats
    bench.outlets["fast"].stats.position = 99
    for _ in range(30):
        slow.position += 1
        bench.log.last += 1
        bench.outlets["fast"].stats.position += 1
        await bench.keeper.look()
        await trio.sleep(0.25)
    assert bench.log.dropped == [], "7.5 s"
    for _ in range(15):
        slow.position += 1
        bench.log.last += 1
        bench.outlets["fast"].stats.position += 1
        await bench.keeper.look()
        await trio.sleep(0.25)
    assert bench.log.dropped == ["slow"], "more than 10 s"
    bench = Bench()
    bench.log.last = 99
    for _ in range(30):
        for outlet in bench.outlets.values():
            outlet.stats.position += 5
        await bench.keeper.look()
        await trio.sleep(0.25)
    assert bench.log.dropped == [], "it caught up"
