"""Kafka passes the kit that third-party sinks are asked to pass."""

from typing import TYPE_CHECKING

from bridge.testing import check_sink
from sinks.kafka import Kafka
from sinks.kafka_options import CreateTopics
from tests.sinks.kafka_support import create_topic, fresh, read

if TYPE_CHECKING:  # importing fixtures for real would keep pytest from rewriting its assertions
    from tests.components.fixtures import StartKafka


async def test_kafka_passes(start_kafka: "StartKafka") -> None:
    """In one partition, so that what the topic holds has one order. Outages: `test_kafka_outages`."""
    broker, topic = start_kafka(), fresh("kit")
    create_topic(broker.bootstrap, topic)

    async def held() -> list[bytes]:
        found = [*await read(broker.bootstrap, topic), *await read(broker.bootstrap, f"{topic}.control")]
        return [got.value for got in found if got.value is not None]

    await check_sink(
        lambda: Kafka(broker.bootstrap, topic, on_delete="event", create_topics=CreateTopics()),
        held,
    )
