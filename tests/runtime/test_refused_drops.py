"""A drop that is refused half way, on a real log with real workers: the sink is given up and resumed."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridge.changes.change import Cause
from bridge.changes.envelope import Bridge
from bridge.config import SinkConfig
from bridge.delivery.sink import Delivery, Unavailable
from bridge.delivery.stats import SinkState
from bridge.runtime import lagging
from bridge.runtime.backlog import BacklogKeeper, policies
from bridge.runtime.outlets import Outlets
from bridge.runtime.snapshots import SnapshotDesk, snapshot_requests
from bridge.store import backlog
from bridge.store.amend import insist
from bridge.store.contract import Refused
from bridge.store.log import SqliteLog
from tests.delivery.fakes import ScriptedSink
from tests.runtime.test_outlets import configured
from tests.store.samples import PODS, change, deleted, emit, tell
from tests.store.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROWS = 200
RECREATED = msgspec.structs.replace(change("a150", 400), uid="the second a150", type="ADDED")


class Down(ScriptedSink):
    """Takes nothing for as long as it is down."""

    down = True

    async def deliver(self, batch: Delivery) -> None:
        if self.down:
            await trio.lowlevel.checkpoint()
            raise Unavailable("down")
        await super().deliver(batch)

    @property
    def known(self) -> dict[str, str]:
        """What whoever follows its records takes to exist: uids by name."""
        objects: dict[str, str] = {}
        for item in (record.change for batch in self.owned for record in batch.records):
            if item.type == "DELETED":
                objects.pop(item.name, None)
            elif item.name:
                objects[item.name] = item.uid
        return objects


@dataclass
class Room:
    """Whether the log has room for one more step of a drop."""

    steps: float = float("inf")

    def insist(self, *told: Any, **options: Any) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Refused("the log is full")
        insist(*told, **options)


@dataclass
class Life:
    """One sink that is down and lags, beside one that takes everything."""

    log: SqliteLog
    room: Room
    slow: Down = field(default_factory=Down)

    def __post_init__(self) -> None:
        config = configured(self.slow, ScriptedSink())
        first, second = config.sinks
        config = replace(config, sinks=(replace(first, max_lag=1), second))
        self.desk = SnapshotDesk(self.log)
        self.outlets = Outlets(config, self.log, self.owe)
        self.keeper = BacklogKeeper(policies(config), self.log, self.desk, self.outlets)

    async def owe(self, sink: SinkConfig, cause: Cause, _: Collection[str] | None) -> None:
        await self.desk.request(snapshot_requests(sink.name, "pods", [""], cause))

    async def give_up(self) -> None:
        """It lags, and there is room for the first step of a drop only."""
        for number in range(ROWS):
            await self.log.append(PODS, "", emit(change(f"a{number}", number + 1)), size=10)
            await self.log.flush()
        await self.log.append(PODS, "", emit(deleted("a150", 300)), size=10)
        await self.log.flush()
        await until(lambda: self.outlets.workers["second"].stats.position == self.log.end())
        await self.keeper.look()
        self.room.steps = 1
        await self.keeper.look()
        assert list(self.outlets.workers) == ["second"]

    async def list(self) -> None:
        """A listing, with all that is there: it pays what is owed now."""
        names = [f"a{number}" for number in range(ROWS) if number != 150]
        there = [change(name, number + 1) for number, name in enumerate(names)]
        for request in self.desk.owed("pods", ""):
            work = tell(*there, RECREATED)
            await self.log.append(PODS, "", work, size=10, audience=request.sink, fulfils=[request])
            self.desk.paid(request)
        await self.log.flush()


@pytest.fixture
async def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "AsyncIterator[Life]":
    room = Room()
    monkeypatch.setattr(backlog, "insist", room.insist)
    monkeypatch.setattr(lagging, "_MOVING_SECONDS", 0)
    async with SqliteLog.open(tmp_path, memory_bytes=1 << 20) as log, trio.open_nursery() as nursery:
        one = Life(log, room)
        await one.outlets.open(Bridge("c", "cluster-uid"), nursery)
        yield one
        nursery.cancel_scope.cancel()


async def test_a_sink_reads_nothing_between_a_refused_drop_and_its_release(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would read is trimmed by then, and to read it ends the bridge."""
    requests = life.log.snapshot_requests

    async def slowly() -> Any:
        await wait_all_tasks_blocked(0.05)
        return await requests()

    monkeypatch.setattr(life.log, "snapshot_requests", slowly)
    await life.give_up()
    await wait_all_tasks_blocked(0.05)
    stats = life.outlets.stats[0]
    assert (stats.state, stats.name) == (SinkState.PARKED, "first")


async def test_an_object_that_is_made_again_while_its_sink_is_given_up_is_there_once_that_is_resumed(
    life: Life,
) -> None:
    """Its snapshot stands behind the older deletions, which come when the sink is opened again."""
    await life.give_up()
    await life.log.append(PODS, "", emit(RECREATED), size=10)
    await life.list()
    life.room.steps, life.slow.down = float("inf"), False
    await life.outlets.resume("first")
    await until(lambda: life.outlets.workers["first"].stats.position == life.log.end())
    await life.keeper.look()
    await life.list()
    await until(lambda: life.outlets.workers["first"].stats.position == life.log.end())
    assert life.slow.known.get("a150") == RECREATED.uid
    assert len(life.slow.known) == ROWS


async def test_a_sink_whose_resume_is_refused_holds_back_nothing(life: Life) -> None:
    """Nobody looks after it: the log would fill up behind it for good."""
    await life.give_up()
    life.room.steps = 0
    with pytest.raises(Refused):
        await life.outlets.resume("first")
    assert not life.log._journal.sinks.attached("first")
    life.room.steps = float("inf")
    await life.outlets.resume("first")
    assert list(life.outlets.workers) == ["first", "second"]
