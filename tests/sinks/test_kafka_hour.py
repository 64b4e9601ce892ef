"""A broker that is away for an hour, on a virtual clock: nothing expires, and nothing grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
import trio.testing

from bridge.delivery.pacing import Retry
from bridge.delivery.worker import Hooks, Plan, Worker
from bridge.logs import Incidents
from sinks.kafka import link as kafka_link
from sinks.kafka import transactions as kafka_transactions
from sinks.kafka.keeper import Keeper
from sinks.kafka.session import Session
from sinks.kafka.sink import Kafka
from tests.delivery.fakes import MemoryLog, change
from tests.sinks.fake_producer import TransactionBroker, install
from tests.sinks.kafka_support import BRIDGE, PODS, START

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.sinks.fake_producer import Producer

HOUR = 3600
WINDOW = 200
LONGEST_TRY = 45  # seconds, of a commit that is not answered
SUMS = 12  # an incident that goes on is summed up every five minutes


def without_threads(patch: pytest.MonkeyPatch, seconds: Callable[[], float]) -> None:
    """Calls that block last so long on the virtual clock, which sees no threads; topics are all right."""

    async def blocking(_session: object, function: Callable[..., object], *arguments: object) -> object:
        await trio.sleep(seconds())
        return function(*arguments)

    async def check(*_: object) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return ()

    patch.setattr(Session, "_blocking", blocking)
    patch.setattr(Keeper, "check", check)


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    """A small window, asked for reports once a second: more would take a minute, and show no more."""
    monkeypatch.setattr(kafka_link, "LIMIT", WINDOW)
    monkeypatch.setattr(kafka_link, "_WAITING_SECONDS", 1.0)
    without_threads(monkeypatch, lambda: 0)
    return install(monkeypatch)


class Hour:
    """A worker with the defaults of `retry`, whose broker goes away for an hour and comes back."""

    def __init__(self, kafka: Kafka, records: int) -> None:
        self.records = records
        self.said: list[str] = []
        self.log = MemoryLog()
        kafka._kept.incidents = Incidents(self._hear, clock=trio.current_time)
        hooks = Hooks(streams=lambda: [PODS])
        plan = Plan("out", BRIDGE, retry=Retry())
        self.worker = Worker(plan, kafka, self.log, START, hooks=hooks, logger=self._hear)

    async def passes(self, go: Callable[[], None], come: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.worker.run)
            await trio.testing.wait_all_tasks_blocked()
            go()
            for first in range(1, self.records, 100):
                self.log.append([change(number) for number in range(first, first + 100)])
            await trio.sleep(HOUR)
            assert self.worker.stats.position == 0
            assert self.worker.stats.retries.total() >= HOUR / (Retry().max + LONGEST_TRY)
            come()
            assert await self.worker.drain(trio.current_time() + 2 * LONGEST_TRY)
            nursery.cancel_scope.cancel()
        assert self.worker.stats.rejected == 0, "nothing became a dead letter"
        assert len(self.said) <= 2 * (SUMS + 3), self.said

    def _hear(self, _level: str, event: str, /, **_fields: object) -> None:
        self.said.append(event)


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses connections", "is silent"])
async def test_after_an_hour_without_a_broker_all_records_arrive_once_and_in_order(
    producers: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
    *,
    refuses: bool,
) -> None:
    """More records than may be on their way."""

    def go() -> None:
        producers[0].takes, producers[0].refuses = False, refuses

    def come() -> None:
        producers[0].takes = True

    await Hour(Kafka("b:9092", "t"), 5 * WINDOW).passes(go, come)
    (client,) = producers  # for all the hour: so its idempotence holds
    assert int(client.configuration["message.timeout.ms"]) > HOUR * 1000, "nothing expires in librdkafka"
    assert client.log == list(range(1, 5 * WINDOW + 1)), "nothing is lost, repeated or out of order"
    assert client.most <= WINDOW, "no more is on its way than the window holds"


async def test_after_an_hour_without_a_broker_transactions_go_on_from_their_cursor(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
) -> None:
    """Each call that is not answered gives up after its second, as librdkafka's does."""
    broker = TransactionBroker(monkeypatch)

    monkeypatch.setattr(kafka_transactions, "_IDLE_SECONDS", 1.0)
    without_threads(monkeypatch, lambda: 1 if broker.away else 0)

    def go() -> None:
        broker.away = True

    def come() -> None:
        broker.away = False
        assert len(broker.alive) <= 2, "a producer that is given up is let go"

    await Hour(Kafka("b:9092", "t", delivery="transactional"), 500).passes(go, come)
    assert broker.log == list(range(1, 501))
