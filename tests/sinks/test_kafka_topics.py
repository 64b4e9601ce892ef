"""Topics that are deleted under the sink's feet: made again as configured, told, and the sink goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from trio.lowlevel import ParkingLot

from bridge.delivery.sink import Rejected, Resume, Unavailable
from bridge.secret import Secret
from sinks.kafka import keeper as kafka_keeper
from sinks.kafka.topics import CreateTopics
from tests.components.process import PATIENCE
from tests.sinks.kafka_flow import KEYS, Flow
from tests.sinks.kafka_support import context, create_topic, delivery, fresh, opened, read, record, sink, span

if TYPE_CHECKING:
    from bridge.delivery.sink import Delivery
    from sinks.kafka.sink import Kafka
    from tests.components.kafka import Broker

MODES = ["atLeastOnce", "transactional"]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_keeper, "_EVERY_SECONDS", 0.5)


class Said:
    """What the keeper writes into the bridge's log.

    Attributes:
        lost: topics that are told as new ones, each with what brings it up to date.
        doubted: topics that are new and need not have been.
        limits: what topics take, where that has changed.
    """

    def __init__(self) -> None:
        self.lost: dict[str, str] = {}
        self.doubted: dict[str, str] = {}
        self.limits: dict[str, int] = {}
        self._moved = ParkingLot()

    def hear(self, level: str, event: str, /, **fields: Any) -> None:
        if level == "error" and "what was in the old one is gone" in event:
            self.lost[fields["topic"]] = fields.get("snapshot", "")
        elif "if there was one before" in event:
            self.doubted[fields["topic"]] = fields.get("snapshot", "")
        elif "max.message.bytes" in event:
            self.limits[fields["topic"]] = fields["bytes"]
        self._moved.unpark_all()

    async def tells_of(self, topic: str) -> None:
        with trio.fail_after(60 * PATIENCE):
            while topic not in self.lost:
                await self._moved.park()

    async def tells_the_limit_of(self, topic: str) -> None:
        with trio.fail_after(60):
            while topic not in self.limits:
                await self._moved.park()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    found = Said()
    monkeypatch.setattr(kafka_keeper, "log", found.hear)
    return found


async def delete(kafka: Broker, *topics: str) -> None:
    def now() -> None:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for future in admin.delete_topics(list(topics)).values():
            future.result(20)

    await trio.to_thread.run_sync(now)


async def make(kafka: Broker, topic: str, **config: str) -> None:
    await trio.to_thread.run_sync(
        lambda: create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "compact"}, **config)
    )


async def alter(kafka: Broker, topic: str, name: str, value: str) -> None:
    def now() -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(20)

    await trio.to_thread.run_sync(now)


async def shape(kafka: Broker, topic: str) -> tuple[int, str]:
    """Partitions and cleanup.policy."""

    def now() -> tuple[int, str]:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        (described,) = admin.describe_topics(TopicCollection([topic])).values()
        (configured,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return len(described.result(20).partitions), configured.result(20)["cleanup.policy"].value

    return await trio.to_thread.run_sync(now)


async def taken(kafka: Kafka, batch: Delivery) -> None:
    """Delivered as the worker does: a look between the makings of two topics finds the second missing."""
    with trio.fail_after(60 * PATIENCE):
        while True:
            try:
                return await kafka.deliver(batch)
            except Unavailable:
                await trio.sleep(0.1)


@pytest.mark.parametrize("delivery", MODES)
async def test_a_data_topic_that_is_deleted_is_made_again_as_configured_and_told_as_empty(
    kafka: Broker, delivery: str, said: Said
) -> None:
    """This broker would make topics by itself, with one partition and without compaction."""
    topic = fresh("topic")
    flow = Flow(sink(kafka.bootstrap, topic, delivery=delivery, create_topics=CreateTopics(partitions=3)))
    async with flow.running():
        await flow.goes_on()
        await delete(kafka, topic)  # a broker may take records for it a little longer
        await said.tells_of(topic)
        await flow.goes_on()
    assert await shape(kafka, topic) == (3, "compact")
    name = flow.worker.stats.name
    assert said.lost == {topic: f"kube-bridge snapshot --stream pods --sink {name}"}
    got = await read(kafka.bootstrap, topic)
    for key in {message.key for message in got}:
        positions = [message.position for message in got if message.key == key]
        assert positions == sorted(set(positions)), "in order, and once"


@pytest.mark.parametrize("delivery", MODES)
async def test_what_was_in_a_data_topic_that_is_deleted_is_sent_anew_where_that_is_configured(
    kafka: Broker, delivery: str, said: Said
) -> None:
    topic = fresh("topic")
    flow = Flow(sink(kafka.bootstrap, topic, delivery=delivery), resync=True)
    async with flow.running():
        await flow.goes_on()
        await delete(kafka, topic)
        await said.tells_of(topic)
        await flow.goes_on()
    assert flow.lost == ["pods"]
    assert said.lost == {topic: ""}, "nobody has to do anything"


async def test_a_cursor_topic_that_is_deleted_is_made_again_and_the_sink_goes_on(
    kafka: Broker, said: Said
) -> None:
    topic = fresh("topic")
    flow = Flow(sink(kafka.bootstrap, topic, delivery="transactional"))
    cursor = f"kube-bridge.c.{flow.worker.stats.name}.cursor"
    async with flow.running():
        await flow.goes_on()
        await delete(kafka, cursor)
        await said.tells_of(cursor)
        await flow.goes_on()
    assert await shape(kafka, cursor) == (1, "compact")
    assert said.lost == {cursor: ""}
    flow.check(await read(kafka.bootstrap, topic))


@pytest.mark.parametrize("delivery", MODES)
async def test_without_createtopics_the_missing_topic_is_named_and_the_sink_goes_on_when_it_is_back(
    kafka: Broker, delivery: str, said: Said
) -> None:
    """With fewer partitions: what waited for the others goes to those that are left."""
    topic = fresh("topic")
    await make(kafka, topic, partitions="3")
    options = sink(kafka.bootstrap, topic, delivery=delivery)
    flow = Flow(options)
    async with flow.running():
        await flow.goes_on()
        object.__setattr__(options, "create_topics", None)  # it made the cursor topic
        await delete(kafka, topic, f"{topic}.control")
        await flow.hears_of_trouble(about=f"Topic {topic} does not exist: create it")
        waited_from = flow.end + 1
        await make(kafka, topic, partitions="1")
        await said.tells_of(topic)
        await flow.goes_on()
    positions = sorted({got.position for got in await read(kafka.bootstrap, topic)})
    assert set(positions) >= {*range(waited_from, flow.end + 1)}, "what came while there was no topic"
    for key in range(KEYS):  # each partition of the old topic had come to a place of its own
        of_key = [position for position in positions if position % KEYS == key]
        assert of_key == [*range(of_key[0], flow.end + 1, KEYS)], "nothing is left out"


async def test_a_topic_that_a_person_deletes_and_makes_again_while_nothing_flows_is_told(
    kafka: Broker, said: Said
) -> None:
    topic = fresh("topic")
    await make(kafka, topic)
    async with opened(sink(kafka.bootstrap, topic, create_topics=None)) as quiet:
        await quiet.deliver(span(1, 5))
        await delete(kafka, topic, f"{topic}.control")
        await make(kafka, topic, partitions="5")
        await said.tells_of(topic)
        await taken(quiet, span(6, 20))
    assert sorted(got.position for got in await read(kafka.bootstrap, topic)) == [*range(6, 21)]


@pytest.mark.parametrize("delivered", [0, 5])
async def test_topics_that_are_missing_at_a_start_are_doubted_when_something_was_delivered_before(
    kafka: Broker, delivered: int, said: Said
) -> None:
    topic, where = fresh("topic"), context()
    async with opened(sink(kafka.bootstrap, topic), where, Resume("log", 1, delivered)):
        pass
    command = f"kube-bridge snapshot --stream pods --sink {where.name}"
    assert said.doubted == ({topic: command, f"{topic}.control": ""} if delivered else {})
    assert not said.lost


@pytest.mark.parametrize("delivered", [0, 5])
async def test_a_topic_that_only_the_first_record_after_a_start_names_is_doubted_as_well(
    kafka: Broker, delivered: int, said: Said
) -> None:
    """At the start of a bridge no stream is known yet; one topic a namespace may well be a first one."""
    topic, where = fresh("topic"), context(streams=())
    namespaced = sink(kafka.bootstrap, topic + ".{namespace}", control_topic=f"{topic}.control")
    for options in sink(kafka.bootstrap, topic), namespaced:
        async with opened(options, where, Resume("log", 1, delivered)) as open_sink:
            await open_sink.deliver(delivery(record(6)))
    command = f"kube-bridge snapshot --stream pods --sink {where.name}"
    assert said.doubted == ({topic: command} if delivered else {})


@pytest.mark.parametrize("delivery_", MODES)
async def test_a_limit_of_a_topic_that_is_raised_counts_soon_so_that_a_redrive_is_not_in_vain(
    kafka: Broker, delivery_: str, said: Said
) -> None:
    topic = fresh("topic")
    await make(kafka, topic, **{"max.message.bytes": "20000"})
    large = delivery(record(1, pad=30_000))
    properties = {"compression.type": Secret(value=b"none")}
    async with opened(sink(kafka.bootstrap, topic, delivery=delivery_, properties=properties)) as open_sink:
        with pytest.raises(Rejected, match="more than the 20000"):
            await open_sink.deliver(large)
        await alter(kafka, topic, "max.message.bytes", "50000")
        await said.tells_the_limit_of(topic)
        await open_sink.deliver(large)
        assert said.limits == {topic: 50_000}
        await open_sink.deliver(delivery(record(2)))  # no transaction begins before the last one is seen
    assert [got.position for got in await read(kafka.bootstrap, topic)][:1] == [1]
