"""Sixteen lanes to a receiver that does everything wrong, through kills: order, ids and signatures hold."""

from collections import defaultdict
from random import Random
from typing import Final

import pytest
import trio

from bridge.changes.change import Change
from bridge.changes.envelope import Format, Renderer
from bridge.delivery.sink import Resume
from bridge.delivery.stats import SinkState
from bridge.delivery.worker import Batching, Hooks, Plan, Worker
from sinks.webhook.sink import Webhook
from tests.delivery.fakes import BRIDGE, PODS, START, Letters, MemoryLog
from tests.sinks.receiver import (
    OTHER,
    SECRET,
    Received,
    Receiver,
    Step,
    answer,
    drips,
    hangs_up,
    ok,
    receiving,
    says,
    secret,
    silence,
    verify,
)

LANES: Final = 16
NAMES: Final = 20
LIVES: Final = 2
SINK: Final = "hook"

TROUBLE: Final[tuple[Step, ...]] = (
    hangs_up,
    silence,
    answer(500),
    answer(503, retry_after="1"),
    answer(429, retry_after="Thu, 01 Jan 1970 00:00:00 GMT"),
    answer(408),
    answer(425),
    answer(302, location="https://elsewhere.example/"),
    drips(b"HTTP/1.1 200 OK\r\n", b"x"),
    says(b"HTTP/1.1 2"),
    says(b"nonsense\r\n\r\n"),
)
TAKEN: Final[tuple[Step, ...]] = (
    *(ok,) * 6,
    answer(204),
    says(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\nx"),
    says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx"),
    says(b"HTTP/1.0 202 Accepted\r\n\r\n"),
)


def churn(random: Random) -> list[Change]:
    """Objects that are made, changed, deleted and made again under the same name, all mixed."""
    queues = [
        [
            (kind, f"web-{name}", f"uid-{name}-{life}")
            for life in range(LIVES)
            for kind in ("ADDED", "MODIFIED", "MODIFIED", "DELETED")
        ]
        for name in range(NAMES)
    ]
    changes: list[Change] = []
    while queues := [queue for queue in queues if queue]:
        kind, name, uid = random.choice(queues).pop(0)
        rv = str(len(changes) + 1)
        body = b'{"metadata":{"name":"%b"}}' % name.encode()
        changes.append(Change(kind, "watch", 0, "shop", name, uid, rv, 0, body))
    return changes


def refused(rv: str) -> bool:
    """Some objects' states no receiver takes, however often they come."""
    return int(rv) % 29 == 0


class Judge:
    """What the receiver was sent and what it took, in order."""

    def __init__(self, random: Random) -> None:
        self.sent: list[tuple[int, str, str]] = []
        self.owned: set[str] = set()
        self.run = 0
        self.enough = trio.Event()
        self.left = 0
        self._random = random

    async def step(self, request: Received, stream: trio.abc.Stream) -> bool:
        records = verify(request)
        assert records == verify(request, OTHER), "each of the two keys verifies it"
        records = records if isinstance(records, list) else [records]
        for record in records:
            self.sent.append((self.run, record["name"], record["id"]))
        self.left -= 1
        if self.left == 0:
            self.enough.set()
        if self._random.random() < 0.3:
            return await self._random.choice(TROUBLE)(request, stream)
        if any(refused(record["resourceVersion"]) for record in records):
            return await answer(400, b"no")(request, stream)
        self.owned |= {record["id"] for record in records}
        return await self._random.choice(TAKEN)(request, stream)


async def live(judge: Judge, log: MemoryLog, letters: Letters, url: str, batch: int) -> bool:
    """One life of the bridge, killed after some requests; whether everything was delivered before."""
    sink = Webhook(url, signing_secret=(secret(SECRET), secret(OTHER)), concurrency=LANES)
    plan = Plan(SINK, BRIDGE, batching=Batching(max_records=batch))
    resume = Resume(START.log_id, START.incarnation, log.cursor)
    worker = Worker(plan, sink, log, resume, hooks=Hooks(letters=letters))
    done = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)

        async def finish() -> None:
            nonlocal done
            done = await worker.drain(float("inf"))
            nursery.cancel_scope.cancel()

        nursery.start_soon(finish)
        await judge.enough.wait()
        nursery.cancel_scope.cancel()
    return done


@pytest.mark.parametrize(("seed", "batch"), [(1, 1), (2, 1), (3, 5)])
async def test_order_ids_and_signatures_hold_through_everything_that_goes_wrong(
    seed: int,
    batch: int,
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    random = Random(seed)
    log, letters, judge, changes = MemoryLog(), Letters(), Judge(random), churn(random)
    for start in range(0, len(changes), 25):
        log.append(changes[start : start + 25])
    done = False
    async with receiving(always=judge.step) as receiver:
        while not done:
            judge.run += 1
            judge.enough, judge.left = trio.Event(), random.randrange(30, 120)
            done = await live(judge, log, letters, receiver.url, batch)
    assert judge.run > 2, "it was killed, and more than once"
    judged(judge, letters, changes)


def judged(judge: Judge, letters: Letters, changes: list[Change]) -> None:
    """Per object: all of it, in order, repeats with the same ids and only as replays."""
    renderer = Renderer(BRIDGE, PODS, Format.NATIVE)
    expected: defaultdict[str, list[str]] = defaultdict(list)
    bad = set()
    for position, change in enumerate(changes):
        record = renderer.render(change, position)
        assert record is not None
        expected[change.name].append(record.id)
        if refused(change.rv):
            bad.add(record.id)
    assert {letter.id for letter in letters.kept} == bad
    assert judge.owned == {id_ for ids in expected.values() for id_ in ids} - bad
    seen: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for run, name, id_ in judge.sent:
        seen[name].append((run, expected[name].index(id_)))
    for name, steps in seen.items():
        first = list(dict.fromkeys(index for _, index in steps))
        assert first == list(range(len(expected[name]))), "who drops known ids sees the exact order"


async def test_a_410_parks_the_sink_with_its_cursor_where_it_is(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    log, changes = MemoryLog(), churn(Random(1))[:3]
    log.append(changes)

    async def gone(request: Received, stream: trio.abc.Stream) -> bool:
        record = verify(request)
        return await answer(410 if record["resourceVersion"] == "2" else 200)(request, stream)

    receiver: Receiver
    async with receiving(always=gone) as receiver, trio.open_nursery() as nursery:
        sink = Webhook(receiver.url, signing_secret=(secret(SECRET),), concurrency=1)
        worker = Worker(Plan(SINK, BRIDGE), sink, log, START)
        nursery.start_soon(worker.run)
        assert not await worker.drain(float("inf"))
        assert worker.stats.state is SinkState.PARKED
        assert "answered 410 Gone" in worker.stats.reason
        assert log.cursor == 1
        nursery.cancel_scope.cancel()
