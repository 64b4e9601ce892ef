"""A partition that loses its leader, by a crash and by an election, loses and reorders nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.components.process import eventually
from tests.sinks.kafka_flow import Flow
from tests.sinks.kafka_support import fresh, read, sink

if TYPE_CHECKING:
    from tests.components.fixtures import StartBrokers

# A broker that says nothing for so long is dead for the controller; the default is nine seconds.
SOON = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}


class Partition:
    """The one partition of a topic, led by whichever of two brokers is alive, by the second if it can."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._admin.create_topics([NewTopic(topic, 1, replica_assignment=[[2, 1]])])[topic].result(30)
        self.led_by(2)

    def led_by(self, leader: int, in_sync: int = 1) -> None:
        """Returns when it is so."""

        def so() -> bool:
            found = self._admin.list_topics(self.topic, timeout=10).topics[self.topic].partitions.get(0)
            return found is not None and found.leader == leader and len(found.isrs) >= in_sync

        eventually(so, f"{self.topic} is led by {leader}", seconds=60)

    def elect(self) -> None:
        """Gives it back to the second broker, while both are alive."""
        wanted = TopicPartition(self.topic, 0)
        self._admin.elect_leaders(ElectionType.PREFERRED, [wanted]).result(30)
        self.led_by(2)


async def test_a_new_leader_costs_no_record_and_no_order_of_a_key(start_brokers: StartBrokers) -> None:
    """At least once and in transactions side by side: the leader is killed, comes back, and is elected."""
    first, second = start_brokers(2, SOON)
    bootstrap = f"{first.bootstrap},{second.bootstrap}"
    kinds = ("atLeastOnce", "transactional")
    partitions = [Partition(first.bootstrap, fresh("topic")) for _ in kinds]
    flows = [
        Flow(sink(bootstrap, partition.topic, delivery=kind))
        for partition, kind in zip(partitions, kinds, strict=True)
    ]
    async with flows[0].running(), flows[1].running():
        for flow in flows:
            await flow.goes_on()
        await trio.to_thread.run_sync(second.kill)
        for flow, partition in zip(flows, partitions, strict=True):
            await trio.to_thread.run_sync(partition.led_by, 1)
            await flow.goes_on()
        await trio.to_thread.run_sync(second.start)
        for flow, partition in zip(flows, partitions, strict=True):
            await trio.to_thread.run_sync(partition.led_by, 1, 2)
            await trio.to_thread.run_sync(partition.elect)
            await flow.goes_on()
    for flow, partition in zip(flows, partitions, strict=True):
        flow.check(await read(bootstrap, partition.topic))
