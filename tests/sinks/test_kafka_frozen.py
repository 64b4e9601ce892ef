"""A broker that takes connections and answers nothing is told within seconds, whatever was going on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from sinks.kafka import keeper as kafka_keeper
from tests.components.process import PATIENCE
from tests.sinks.kafka_flow import Flow
from tests.sinks.kafka_support import fresh, read, sink

if TYPE_CHECKING:
    from tests.components.fixtures import StartKafka
    from tests.components.kafka import Broker

SECONDS = 12 * PATIENCE
"""What the sink waits for an answer, and a moment."""


async def at_open(broker: Broker, flow: Flow) -> str:
    broker.pause()
    async with flow.running():
        sentence = await flow.hears_of_trouble(SECONDS)
        broker.resume()
        await flow.goes_on()
    return sentence


async def before_the_first_record(broker: Broker, flow: Flow) -> str:
    """After the topics were looked at."""
    inspect, frozen = kafka_keeper.inspect, trio.Event()

    def freezing(*arguments: Any) -> Any:
        found = inspect(*arguments)
        if not frozen.is_set():
            broker.pause()
            trio.from_thread.run_sync(frozen.set)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_keeper, "inspect", freezing)
        async with flow.running():
            await frozen.wait()
            sentence = await flow.hears_of_trouble(SECONDS)
            broker.resume()
            await flow.goes_on()
    return sentence


async def under_way(broker: Broker, flow: Flow) -> str:
    async with flow.running():
        await flow.goes_on()
        broker.pause()
        sentence = await flow.hears_of_trouble(SECONDS)
        broker.resume()
        await flow.goes_on()
    return sentence


async def test_a_frozen_broker_is_named_within_seconds_and_costs_nothing(start_kafka: StartKafka) -> None:
    """At least once under way is in `test_kafka_outages`, and on a virtual clock in `test_kafka_window`."""
    broker = start_kafka()
    for kind, freezes in (
        ("atLeastOnce", at_open),
        ("transactional", before_the_first_record),
        ("transactional", under_way),
    ):
        topic = fresh("topic")
        flow = Flow(sink(broker.bootstrap, topic, delivery=kind))
        sentence = await freezes(broker, flow)
        assert broker.bootstrap in sentence, freezes.__name__
        flow.check(await read(broker.bootstrap, topic))
