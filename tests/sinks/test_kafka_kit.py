"""Kafka passes the kit that third-party sinks are asked to pass."""

from typing import TYPE_CHECKING

from bridge.testing import check_sink
from sinks.kafka.sink import Kafka
from sinks.kafka.topics import CreateTopics
from tests.sinks.kafka_support import create_topic, fresh, read

if TYPE_CHECKING:  # importing fixtures for real would keep pytest from rewriting its assertions
    from tests.components.kafka import Broker


async def test_kafka_passes(kafka: "Broker") -> None:
    """In one partition, so that what the topic holds has one order. Outages: `test_kafka_outages`."""
    broker, topic = kafka.bootstrap, fresh("kit")
    create_topic(broker, topic)

    async def held() -> list[bytes]:
        found = await read(broker, topic, f"{topic}.control")
        return [got.value for got in found if got.value is not None]

    await check_sink(
        lambda: Kafka(broker, topic, on_delete="event", create_topics=CreateTopics()),
        held,
    )
