"""Who holds back the log with what, and that a sink which holds only its deletions is left alone."""

from pathlib import Path
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock

from bridge.changes.change import Change, StreamInfo
from bridge.runtime import backlog
from bridge.runtime.backlog import BacklogKeeper, Policy
from bridge.runtime.lagging import Lagging, holders
from bridge.runtime.snapshots import SnapshotDesk
from bridge.store.log import SqliteLog
from tests.runtime.backlog_bench import MIB, Bench, FakeLog, FakeOutlets


def lagging(**behind: int) -> list[Lagging]:
    return [Lagging(name, mib * MIB, 90 * MIB) for name, mib in behind.items()]


@pytest.mark.parametrize(
    ("sinks", "full", "expected"),
    [
        pytest.param({}, True, [], id="nobody is there"),
        pytest.param({"a": 0, "b": 50}, False, [], id="there is room"),
        pytest.param({"a": 0, "b": 91}, False, ["b"], id="before it is full, so that nobody waits"),
        pytest.param({"a": 91, "b": 95}, False, ["b", "a"], id="the worst first"),
        pytest.param({"a": 0, "b": 50}, True, ["b"], id="full for another reason: who lags most"),
        pytest.param({"a": 49, "b": 50, "c": 3}, True, ["b", "a"], id="two that share what is kept"),
        pytest.param({"a": 0, "b": 3}, True, [], id="nothing worth dropping"),
    ],
)
def test_who_is_dealt_with(sinks: dict[str, int], *, full: bool, expected: list[str]) -> None:
    assert holders(lagging(**sinks), full=full) == expected


@pytest.mark.parametrize(
    ("sinks", "full", "expected"),
    [
        pytest.param([(95, 95)], False, [], id="there is nothing to drop"),
        pytest.param([(95, 91)], False, [], id="too little for writing the rest again"),
        pytest.param([(95, 80)], False, ["a"], id="there is something to drop"),
        pytest.param([(96, 96), (10, 0)], True, ["b"], id="full: who has something to drop"),
        pytest.param([(60, 60), (35, 35)], True, ["a"], id="full: no room for deletions, who has most"),
        pytest.param([(30, 30), (3, 0)], True, [], id="full for another reason"),
    ],
)
def test_what_a_drop_would_leave_is_no_reason_to_drop(
    sinks: list[tuple[int, int]], *, full: bool, expected: list[str]
) -> None:
    lagging = [
        Lagging(name, held * MIB, 90 * MIB, kept * MIB)
        for name, (held, kept) in zip("ab", sinks, strict=False)
    ]
    assert holders(lagging, full=full) == expected


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines = list[str]()
    monkeypatch.setattr(backlog, "log", lambda _level, event, /, **_: lines.append(event))
    return lines


async def look_for(bench: Bench, seconds: int) -> None:
    for _ in range(4 * seconds):
        await bench.keeper.look()
        await trio.sleep(0.25)


@pytest.mark.parametrize("when_full", ["resync", "park"])
async def test_a_sink_that_holds_deletions_alone_is_dropped_once_and_said_so_once(
    when_full: str, said: list[str], autojump_clock: MockClock
) -> None:
    del autojump_clock
    bench = Bench(when_full)
    bench.log.identities = 92
    slow = bench.outlets["slow"]
    await bench.grow(95)
    bench.outlets["fast"].stats.position = bench.log.last
    await look_for(bench, 600)
    assert bench.log.dropped == ["slow"]
    assert len(said) == 2, "what was dropped, and that no more can be"
    assert "92.0 MiB" in slow.stats.kept
    assert bench.outlets["fast"].stats.kept == ""
    slow.take(92)
    await look_for(bench, 1)
    assert slow.stats.kept == ""


async def test_sinks_whose_deletions_stand_behind_each_other_do_not_push_each_other_over_the_limit(
    said: list[str], autojump_clock: MockClock
) -> None:
    del autojump_clock
    bench = Bench()
    bench.log.identities = 48
    bench.log.last = 95
    await look_for(bench, 600)
    assert sorted(bench.log.dropped) == ["fast", "slow"]
    assert len(said) <= 4
    assert all("48.0 MiB" in outlet.stats.kept for outlet in bench.outlets.values())
    assert bench.sinks.parked == {}


async def test_a_log_that_deletions_alone_fill_goes_on_without_the_sink_that_holds_most(
    autojump_clock: MockClock,
) -> None:
    """There is no room for its deletions any more, and the others must not wait for it."""
    del autojump_clock
    bench = Bench()
    bench.log.identities = 97
    await bench.grow(95)
    bench.outlets["fast"].stats.position = bench.log.last
    bench.log.full = "the log has reached state.maxBytes"
    await look_for(bench, 60)
    assert bench.log.dropped == ["slow"]
    assert "gets a snapshot, not the deletions" in bench.sinks.parked["slow"]
    assert list(bench.outlets) == ["fast"]


async def test_what_two_sinks_keep_in_a_real_log_settles(
    tmp_path: Path, said: list[str], autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.1  # the log has a thread of its own
    pods = StreamInfo("pods", "", "v1", "pods", "Pod")
    gone = [Change("DELETED", "watch", 1, "n", uuid4().hex, uuid4().hex, "7", 0, b"{}") for _ in range(2000)]
    async with SqliteLog.open(tmp_path) as log:
        sinks = FakeOutlets(FakeLog())
        limited = [Policy(name, "resync", 30_000, {"pods": [""]}) for name in sinks.workers]
        keeper = BacklogKeeper(limited, log, SnapshotDesk(log), sinks)
        for name, outlet in sinks.workers.items():
            outlet.stats.position = (await log.open_sink(name, "f")).position
        await log.append(pods, "", lambda _: gone, size=100_000)
        drops = list[int]()
        for _ in range(20):
            await keeper.look()
            await trio.sleep(1)
            drops.append(sum("is dropped" in line for line in said))
        assert (drops[4], drops[-1]) == (2, 2)
        assert all(outlet.stats.kept for outlet in sinks.workers.values())
