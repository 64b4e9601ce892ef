"""Records for Kafka, and a reader of topics that is quick; Java's reader (`Broker.read`) is the judge."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bridge.changes.change import Change, StreamInfo
from bridge.changes.envelope import Bridge, Format, Renderer
from bridge.delivery.sink import Context, Delivery, Record, Resume
from sinks.kafka.sink import Kafka
from sinks.kafka.topics import CreateTopics
from tests.components.process import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

BRIDGE = Bridge("c", "cluster-uid")
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
START = Resume("log", 1, 0)
TIMEOUT = 20 * PATIENCE
"""Seconds that one answer of a broker may take."""
_numbers = itertools.count(1)


def fresh(what: str) -> str:
    """A name that no other test and no earlier run has used."""
    return f"{what}-{os.getpid()}-{next(_numbers)}"


def context(name: str | None = None, streams: Iterable[StreamInfo] = (PODS,)) -> Context:
    return Context(name or fresh("sink"), BRIDGE.cluster, BRIDGE.cluster_uid, tuple(streams))


def record(
    position: int,
    type_: str = "MODIFIED",
    name: str | None = None,
    pad: int = 10,
    form: Format = Format.NATIVE,
) -> Record:
    extra = {"id": f"r{position}", "phase": "begin"} if type_ == "RESYNC" else None
    body = b"" if extra else b'{"n":%d,"pad":"%b"}' % (position, b"x" * pad)
    who = ("", "", "") if extra else ("ns", name or f"n{position}", "u1")
    change = Change(type_, "watch", position, *who, "" if extra else str(position), 0, body, extra)
    rendered = Renderer(BRIDGE, PODS, form).render(change, position)
    assert rendered is not None
    return rendered


def delivery(*records: Record) -> Delivery:
    return Delivery(records[-1].position, records, sum(len(r.value) for r in records))


def span(first: int, last: int, keys: int = 1_000_000, pad: int = 10) -> Delivery:
    """Records of the positions from `first` to `last`, of so many objects in turn."""
    return delivery(*(record(n, name=f"n{n % keys}", pad=pad) for n in range(first, last + 1)))


def sink(broker: str, topic: str, **options: Any) -> Kafka:
    return Kafka(broker, topic, **({"create_topics": CreateTopics()} | options))


@contextlib.asynccontextmanager
async def opened(kafka: Kafka, where: Context | None = None, resume: Resume = START) -> AsyncIterator[Kafka]:
    async with kafka:
        await kafka.open(resume, where or context())
        yield kafka


@dataclass(frozen=True)
class Got:
    """One message as it stands in the topic."""

    key: str
    value: bytes | None
    headers: Mapping[str, str]
    partition: int = 0

    @property
    def position(self) -> int:
        return int(self.headers["resourceVersion"])


async def read(broker: str, *topics: str, **options: str) -> list[Got]:
    """All committed messages of these topics; topics and partitions one after the other.

    A transaction that is open is waited for.
    """
    return await trio.to_thread.run_sync(lambda: read_now(broker, *topics, **options))


def read_now(broker: str, *topics: str, **options: str) -> list[Got]:
    configuration = {
        "bootstrap.servers": broker,
        "group.id": fresh("reader"),
        "isolation.level": "read_committed",
        "enable.partition.eof": "true",
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": "10",  # else the broker waits half a second before it says that this is the end
    }
    deadline = time.monotonic() + 60 * PATIENCE
    while True:
        consumer = Consumer(configuration | options)
        try:
            return _read_all(consumer, topics, deadline)
        except KafkaException:  # a topic was deleted while it was read
            if time.monotonic() > deadline:
                raise
        finally:
            consumer.close()


def _read_all(consumer: Consumer, topics: Sequence[str], deadline: float) -> list[Got]:
    found: dict[tuple[str, int], list[Got]] = {
        (topic, part): []
        for topic in topics
        for part in sorted(consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions)
    }
    consumer.assign([TopicPartition(topic, part, 0) for topic, part in found])
    ended = set[tuple[str, int]]()
    while len(ended) < len(found):
        assert time.monotonic() < deadline, f"the end of {topics} was not reached"
        message = consumer.poll(1)
        if message is None:
            continue
        where = _text(message.topic()), message.partition() or 0
        if (error := message.error()) is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # A commit is answered before its markers stand in the partitions: the reader waits for them.
            _, end = consumer.get_watermark_offsets(TopicPartition(*where), cached=True)
            if (message.offset() or 0) >= end:
                ended.add(where)
            continue
        headers = {_text(name): _text(value) for name, value in list(message.headers() or ())}
        found[where].append(Got(_text(message.key()), message.value(), headers, where[1]))
    return list(itertools.chain.from_iterable(found.values()))


def check_whole(got: Sequence[Got], count: int) -> None:
    """The records 1 to `count` are there, and those of a key once and in order."""
    assert {message.position for message in got} == set(range(1, count + 1)), "nothing is lost"
    for key in {message.key for message in got}:
        positions = [message.position for message in got if message.key == key]
        assert positions == sorted(set(positions)), "one producer that lived repeats and reorders nothing"


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def create_topic(broker: str, name: str, **config: str) -> None:
    """Makes a topic and its control topic; returns when the broker that is asked knows them, too."""
    admin = AdminClient({"bootstrap.servers": broker})
    partitions = int(config.pop("partitions", "1"))
    made = admin.create_topics([NewTopic(name, partitions, 1, config=config)])
    made |= admin.create_topics([NewTopic(f"{name}.control", 1, 1)])
    for future in made.values():
        future.result(TIMEOUT)
    eventually(lambda: all(_known(admin, topic) for topic in made), f"{name} is there")


def _known(admin: AdminClient, topic: str) -> bool:
    partitions = admin.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions.values()
    return bool(partitions) and all(partition.leader > 0 for partition in partitions)
