"""The sinks of one bridge together: what one of them does to a request for all, and requests that meet."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.changes.change import Cause, Change, StreamInfo
from bridge.changes.envelope import Bridge
from bridge.config import Config, SinkConfig, loads
from bridge.delivery.sink import Unavailable
from bridge.delivery.stats import SinkState
from bridge.runtime.commands import Commands
from bridge.runtime.health import Health
from bridge.runtime.outlets import Outlets
from bridge.runtime.snapshots import SnapshotDesk
from bridge.store.contract import OpenedSink, SnapshotRequest
from bridge.store.memory import MemoryLog
from tests.delivery.fakes import ScriptedSink

CONFIG = """\
cluster: {name: c}
state: {path: state}
streams: [{name: pods, resource: pods}]
sinks:
- {name: first, type: jsonlines, path: /first}
- {name: second, type: jsonlines, path: /second}
"""
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")


class Reopening(ScriptedSink):
    """Counts what it is asked, and fails at it if it shall."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error, self.reopened = error, 0

    async def reopen(self) -> None:
        await trio.lowlevel.checkpoint()
        self.reopened += 1
        if self.error is not None:
            raise self.error


def configured(*sinks: Any) -> Config:
    config = loads(CONFIG, "c.yaml", check_files=False)
    return replace(
        config,
        sinks=tuple(replace(one, options=sink) for one, sink in zip(config.sinks, sinks, strict=True)),
    )


async def test_a_sink_that_fails_to_reopen_keeps_no_other_from_it() -> None:
    broken, well = Reopening(OSError("no such luck")), Reopening()
    outlets = Outlets(configured(broken, well), MemoryLog(), lambda *_: pytest.fail("nothing is owed"))
    await outlets.reopen()
    assert (broken.reopened, well.reopened) == (1, 1)


async def test_a_sink_that_hangs_in_its_reopening_keeps_no_other_from_it() -> None:
    class Hanging(Reopening):
        async def reopen(self) -> None:
            await trio.sleep_forever()

    well = Reopening()
    outlets = Outlets(configured(Hanging(), well), MemoryLog(), lambda *_: pytest.fail("nothing is owed"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlets.reopen)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert well.reopened == 1


@dataclass
class SlowToOpen:
    """A log that answers the second request to open a sink only once the sink has gone on."""

    log: MemoryLog
    asked: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def open_sink(self, name: str, *told: Any) -> OpenedSink:
        opened = await self.log.open_sink(name, *told)
        if name == "first":
            self.asked += 1
            if self.asked == 3:  # after the start and the first `resume`
                await wait_all_tasks_blocked()  # the first one has done its work, and the sink its own
        return opened


@pytest.mark.parametrize("returns", ["by resume", "by a restart"])
async def test_a_sink_that_the_log_went_on_without_is_not_taken_for_a_new_one_when_it_returns(
    returns: str,
) -> None:
    """A new one is not sent what `initial: skip` leaves out; this one has missed it."""
    log, owed = MemoryLog(), list[tuple[str, Cause]]()

    async def owe(sink: SinkConfig, cause: Cause, _: Collection[str] | None) -> None:
        await trio.lowlevel.checkpoint()
        owed.append((sink.name, cause))

    outlets = Outlets(configured(ScriptedSink(), ScriptedSink()), log, owe)
    async with trio.open_nursery() as nursery:
        await outlets.open(Bridge("c", "cluster-uid"), nursery)
        await outlets.release("first", "there is no room for its deletions")
        change = Change("ADDED", "watch", 1, "n", "a", "u", "7", 0, b"{}")
        await log.append(PODS, "", lambda _: [change], size=1)
        await wait_all_tasks_blocked()  # the other one takes it, and the log forgets it
        if returns == "by resume":
            await outlets.resume("first")
        nursery.cancel_scope.cancel()
    if returns == "by a restart":
        async with trio.open_nursery() as nursery:
            again = Outlets(configured(ScriptedSink(), ScriptedSink()), log, owe)
            await again.open(Bridge("c", "cluster-uid"), nursery)
            nursery.cancel_scope.cancel()
    assert owed == [("first", Cause.STATE_LOST)]


async def test_two_that_resume_a_released_sink_at_once_do_it_once() -> None:
    log, sink = MemoryLog(), ScriptedSink()
    slow: Any = SlowToOpen(log)
    outlets = Outlets(configured(sink, ScriptedSink()), slow, lambda *_: pytest.fail("nothing was missed"))
    async with trio.open_nursery() as nursery:
        await outlets.open(Bridge("c", "cluster-uid"), nursery)
        await outlets.pause("second")  # which keeps all that is in the log
        await outlets.release("first", "the log has no room for it")
        change = Change("ADDED", "watch", 1, "n", "a", "u", "7", 0, b"{}")
        await log.append(PODS, "", lambda _: [change], size=1)
        async with trio.open_nursery() as persons:
            persons.start_soon(outlets.resume, "first")
            persons.start_soon(outlets.resume, "first")
        await wait_all_tasks_blocked()
        assert sum(len(delivery.records) for delivery in sink.owned) == 1
        assert list(outlets.workers) == ["first", "second"]
        nursery.cancel_scope.cancel()


async def test_a_sink_that_takes_one_more_stream_is_owed_a_snapshot_of_that_one() -> None:
    """Its records have passed the sink by; a stream that is new to everybody begins with everything."""
    log = MemoryLog()
    owed: list[tuple[str, Cause, Collection[str] | None]] = []

    async def owe(sink: SinkConfig, cause: Cause, streams: Collection[str] | None) -> None:
        owed.append((sink.name, cause, streams))
        await log.request_snapshots(
            [SnapshotRequest(sink.name, name, "", cause, "s") for name in streams or ()]
        )

    async def run(*streams: str, takes: tuple[str, ...] | None) -> None:
        config = configured(ScriptedSink(), ScriptedSink())
        first, second = config.sinks
        every = tuple(replace(config.streams[0], name=name) for name in streams)
        config = replace(config, streams=every, sinks=(replace(first, streams=takes), second))
        async with trio.open_nursery() as nursery:
            await Outlets(config, log, owe).open(Bridge("c", "cluster-uid"), nursery)
            nursery.cancel_scope.cancel()

    await run("pods", "jobs", "nodes", takes=("pods",))
    await run("pods", "jobs", "nodes", "new", takes=("pods", "jobs", "new"))
    assert owed == [("first", Cause.FIRST_START, ("jobs",))]
    await run("pods", "jobs", "nodes", "new", takes=None)
    assert owed[1:] == [("first", Cause.FIRST_START, ("nodes",))]
    await run("pods", "jobs", "nodes", "new", takes=None)
    assert len(owed) == 2


async def test_status_says_when_a_sink_that_was_asked_to_wait_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    log, sink = MemoryLog(), ScriptedSink([Unavailable("too many requests", retry_after=500.0)])
    config = configured(sink, ScriptedSink())
    outlets = Outlets(config, log, lambda *_: pytest.fail("nothing is owed"))
    commands = Commands(config, log, Health(log, ["pods"]), outlets, SnapshotDesk(log))

    async def send(_: Any) -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await outlets.open(Bridge("c", "cluster-uid"), nursery)
        change = Change("ADDED", "watch", 1, "n", "a", "u", "7", 0, b"{}")
        await log.append(PODS, "", lambda _: [change], size=1)
        await trio.sleep(100)
        first, second = (await commands("status", {}, send))["sinks"]
        assert (first["state"], first["nextTrySeconds"]) == ("retrying", pytest.approx(400, abs=1))
        assert second["nextTrySeconds"] is None
        await trio.sleep(401)
        first, _ = (await commands("status", {}, send))["sinks"]
        assert (first["state"], first["nextTrySeconds"]) == ("delivering", None)
        nursery.cancel_scope.cancel()


async def test_resuming_tells_what_the_sink_did_until_then() -> None:
    outlets = Outlets(
        configured(ScriptedSink(), ScriptedSink()), MemoryLog(), lambda *_: pytest.fail("nothing was missed")
    )
    async with trio.open_nursery() as nursery:
        await outlets.open(Bridge("c", "cluster-uid"), nursery)
        await wait_all_tasks_blocked()
        assert await outlets.resume("first") is SinkState.DELIVERING
        await outlets.pause("first")
        assert await outlets.resume("first") is SinkState.PAUSED
        await outlets.release("first", "the log has no room for it")
        assert await outlets.resume("first") is SinkState.PARKED
        nursery.cancel_scope.cancel()


Initial: TypeAlias = Literal["emit", "skip"]


@pytest.mark.parametrize(("initial", "told"), [("emit", [["secrets"]]), ("skip", [])])
async def test_a_sink_that_takes_one_more_stream_is_owed_what_exists_of_it_unless_that_is_skipped(
    initial: Initial, told: list[list[str]]
) -> None:
    """Once it takes the stream that is settled, whatever `initial` says later."""
    log, owed = MemoryLog(), list[list[str]]()

    async def owe(sink: SinkConfig, cause: Cause, streams: Collection[str] | None) -> None:
        assert (sink.name, cause) == ("second", Cause.FIRST_START)
        owed.append(sorted(streams or ()))
        await log.request_snapshots(
            [SnapshotRequest(sink.name, stream, "", cause.value, "id") for stream in streams or ()]
        )

    async def live(initial: Initial, *, narrow: bool) -> None:
        config = configured(ScriptedSink(), ScriptedSink())
        [pods], (first, second) = config.streams, config.sinks
        streams = (pods, replace(pods, name="secrets", resource="secrets", initial=initial))
        second = replace(second, streams=("pods",) if narrow else None)
        outlets = Outlets(replace(config, streams=streams, sinks=(first, second)), log, owe)
        async with trio.open_nursery() as nursery:
            await outlets.open(Bridge("c", "cluster-uid"), nursery)
            nursery.cancel_scope.cancel()

    await live(initial, narrow=True)
    await live(initial, narrow=False)
    await live("emit", narrow=False)
    assert owed == told
