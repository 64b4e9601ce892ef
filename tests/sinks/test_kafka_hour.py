"""A broker that is away for an hour, on a virtual clock: nothing expires, and nothing grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from bridge.delivery.pacing import Retry
from bridge.delivery.worker import Hooks, Plan, Worker
from bridge.logs import Incidents
from sinks import kafka_keeper, kafka_link
from sinks.kafka import Kafka
from sinks.kafka_admin import Findings
from sinks.kafka_window import LIMIT
from tests.delivery.fakes import MemoryLog, change
from tests.sinks.fake_producer import install
from tests.sinks.kafka_support import BRIDGE, PODS, START

if TYPE_CHECKING:
    from tests.sinks.fake_producer import Producer

HOUR = 3600
RECORDS = 2 * LIMIT
SUMS = 12  # an incident that goes on is summed up every five minutes


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    """Asked for reports once a second: fifty times would take the test a minute, and show no more."""
    monkeypatch.setattr(kafka_link, "_WAITING_SECONDS", 1.0)
    monkeypatch.setattr(kafka_keeper, "inspect", lambda *_: (Findings(), []))
    return install(monkeypatch)


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses connections", "is silent"])
async def test_after_an_hour_without_a_broker_all_records_arrive_once_and_in_order(
    producers: list[Producer],
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - time passes by itself
    *,
    refuses: bool,
) -> None:
    """With the defaults of `retry`; more records than may be on their way."""
    said: list[str] = []

    def hear(_level: str, event: str, /, **_fields: object) -> None:
        said.append(event)

    log, kafka = MemoryLog(), Kafka("b:9092", "t")
    kafka._runtime.incidents = Incidents(hear, clock=trio.current_time)
    hooks = Hooks(streams=lambda: [PODS])
    worker = Worker(Plan("out", BRIDGE, retry=Retry()), kafka, log, START, hooks=hooks, logger=hear)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        (client,) = producers
        client.takes, client.refuses = False, refuses
        for first in range(0, RECORDS, 100):
            log.append([change(number) for number in range(first, first + 100)])
        await trio.sleep(HOUR)
        assert client.log == []
        assert worker.stats.retries.total() >= HOUR / (Retry().max + kafka_link.PATIENCE_SECONDS)
        client.takes = True
        assert await worker.drain(trio.current_time() + 60)
        nursery.cancel_scope.cancel()
    assert producers == [client], "one producer for all the hour: its idempotence holds"
    assert int(client.configuration["message.timeout.ms"]) > HOUR * 1000, "nothing expires in librdkafka"
    assert client.log == list(range(1, RECORDS + 1)), "nothing is lost, repeated or out of order"
    assert worker.stats.rejected == 0, "and nothing became a dead letter"
    assert client.most <= LIMIT, "no more is on its way than the window holds"
    assert len(said) <= 2 * (SUMS + 3), said
