"""A broker whose disk is full ends; when it has room again, everything arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from bridge.secret import Secret
from tests.components.process import eventually
from tests.sinks.kafka_flow import Flow
from tests.sinks.kafka_support import fresh, read, sink

if TYPE_CHECKING:
    from tests.components.fixtures import StartKafka

DISK_MEBIBYTES = 128
LEFT = 1 << 20


async def test_a_broker_with_a_full_disk_costs_no_record_and_no_order_of_a_key(
    start_kafka: StartKafka,
) -> None:
    """At least once and in transactions side by side, into a file system that is really full."""
    broker = start_kafka(disk_mebibytes=DISK_MEBIBYTES)
    assert broker.disk is not None
    plain = {"compression.type": Secret(value=b"none")}
    topics = {kind: fresh("topic") for kind in ("atLeastOnce", "transactional")}
    flows = {
        kind: Flow(sink(broker.bootstrap, topic, delivery=kind, properties=plain), pad=500)
        for kind, topic in topics.items()
    }
    async with flows["atLeastOnce"].running(), flows["transactional"].running():
        for flow in flows.values():
            await flow.goes_on()
        broker.disk.fill(leave=LEFT)
        await trio.to_thread.run_sync(eventually, lambda: not broker.running, "the broker gives up")
        assert "No space left on device" in broker.log.read_text()
        for flow in flows.values():
            await flow.hears_of_trouble(about="check `bootstrapServers`, or start the broker")
        broker.disk.empty()
        await trio.to_thread.run_sync(broker.restart)
        for flow in flows.values():
            await flow.goes_on()
    for kind, flow in flows.items():
        flow.check(await read(broker.bootstrap, topics[kind]))
