"""The broker is away, frozen or killed in the middle: nothing is lost, and no key out of order."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest
import trio

from bridge.delivery.sink import Delivery, Unavailable
from sinks.kafka import link as kafka_link
from tests.sinks.kafka_support import check_whole, fresh, opened, read, sink, span

if TYPE_CHECKING:
    from sinks.kafka.sink import Kafka
    from tests.components.kafka import Broker

BATCH = 40
KEYS = 7
UNDER_WAY = 20


class Pipeline:
    """Delivers batches as the worker does: several on their way, and after a failure all from it on again.

    There is always another one until `enough` is set: however fast a machine is, an outage meets some.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.complaints: list[str] = []
        self.done = 0
        self.under_way = trio.Event()
        self.enough = False
        self._kafka = kafka
        self._batches: list[Delivery] = []

    @property
    def records(self) -> int:
        """Position of the newest."""
        return BATCH * len(self._batches)

    async def run(self, pace: float) -> None:
        while not self.enough or self.done < len(self._batches):
            await self._round(pace)

    def _next(self, index: int) -> Delivery | None:
        """The batch with this number; it is the same when it comes again."""
        if index == len(self._batches):
            if self.enough:
                return None
            self._batches.append(span(self.records + 1, self.records + BATCH, keys=KEYS))
        return self._batches[index]

    async def _round(self, pace: float) -> None:
        """Calls begin in order, until one fails; those behind it are given up."""
        first = self.done
        owned: set[int] = set()
        async with trio.open_nursery() as nursery:
            free = trio.Semaphore(self._kafka.concurrency)

            async def call(index: int, batch: Delivery) -> None:
                try:
                    await self._kafka.deliver(batch)
                except Unavailable as error:
                    self.complaints.append(error.reason)
                    nursery.cancel_scope.cancel()
                else:
                    owned.add(index)
                    while self.done in owned:
                        self.done += 1
                    if self.done >= UNDER_WAY:
                        self.under_way.set()
                    free.release()

            for index in itertools.count(first):
                await free.acquire()
                batch = self._next(index)
                if batch is None:
                    return
                nursery.start_soon(call, index, batch)
                await trio.sleep(pace)


@pytest.mark.parametrize("how", ["away", "frozen", "killed"])
async def test_an_outage_loses_nothing_and_keeps_the_order_of_each_key(
    hurt_kafka: Broker, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the sink's patience, so the worker is told and comes again, several times."""
    monkeypatch.setattr(kafka_link, "PATIENCE_SECONDS", 2.0)
    broker, topic = hurt_kafka, fresh("topic")
    async with opened(sink(broker.bootstrap, topic)) as kafka:
        pipeline = Pipeline(kafka)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.run, 0.01)
            await pipeline.under_way.wait()
            await trio.to_thread.run_sync(hurt, broker, how)
            pipeline.enough = True
        assert pipeline.complaints, "the worker was told"
        assert set(pipeline.complaints) <= {"connect", "silent", "order"}
    check_whole(await read(broker.bootstrap, topic), pipeline.records)


def hurt(broker: Broker, how: str) -> None:
    """The outage takes its time by itself: what it is about is a broker that is not there."""
    if how == "frozen":
        broker.pause()
        _last(8)
        broker.resume()
    elif how == "killed":
        broker.kill()
        broker.start()
    else:
        broker.terminate()
        _last(8)
        broker.start()


def _last(seconds: float) -> None:
    time.sleep(seconds)  # an outage of a real broker lasts in real time


async def test_closing_with_a_dead_broker_takes_seconds_only(
    hurt_kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = hurt_kafka
    async with opened(sink(broker.bootstrap, fresh("topic"))) as kafka:
        await kafka.deliver(span(1, 10))  # with all patience: a broker that has just started is slow
        monkeypatch.setattr(kafka_link, "PATIENCE_SECONDS", 1.0)
        await trio.to_thread.run_sync(broker.kill)
        with pytest.raises(Unavailable):
            await kafka.deliver(span(11, 600))
        begun = trio.current_time()
    assert trio.current_time() - begun < 10
