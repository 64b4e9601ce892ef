"""What stands in a topic of a real broker when `deliver` returns."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing

from bridge.changes.envelope import Format
from bridge.delivery.sink import Checked, Context, Delivery, Rejected, Sink, Stopped, Unavailable
from bridge.errors import InvariantError
from bridge.secret import Secret
from sinks.kafka import keeper as kafka_keeper
from sinks.kafka.admin import Findings, Preflight, Wanted
from sinks.kafka.errors import Trouble
from sinks.kafka.session import CredentialsChanged
from sinks.kafka.sink import Kafka
from sinks.kafka.topics import CreateTopics
from tests.sinks.kafka_support import (
    BRIDGE,
    PODS,
    START,
    context,
    create_topic,
    delivery,
    fresh,
    opened,
    read,
    record,
    sink,
    span,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.components.kafka import Broker


@pytest.fixture
def topic() -> str:
    return fresh("topic")


def test_it_is_a_sink_that_shows_no_secret() -> None:
    kafka = Kafka("b:9092", "t", properties={"ssl.key.password": Secret(value=b"s3ntinel")})
    assert isinstance(kafka, Sink)
    assert isinstance(kafka, Checked)
    assert "s3ntinel" not in repr(kafka)


async def test_a_record_has_its_key_its_value_and_all_headers(kafka: Broker, topic: str) -> None:
    wanted = record(7, "ADDED")
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        await open_sink.deliver(delivery(wanted))
        (got,) = await read(kafka.bootstrap, topic)
    assert got.key == wanted.key == "c//pods/ns/n7"
    assert got.value == wanted.value
    assert got.headers == {
        "id": "cluster-uid/pods/u1/7/U",
        "type": "ADDED",
        "uid": "u1",
        "resourceVersion": "7",
        "sequence": wanted.sequence,
        "stream": "pods",
        "origin": "watch",
    }


async def test_java_reads_the_same(kafka: Broker, topic: str) -> None:
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        await open_sink.deliver(delivery(record(1), record(2, "DELETED")))
    read_by_java = await trio.to_thread.run_sync(kafka.read, topic, 3)
    assert [(r.key, r.headers["type"], r.value is None) for r in read_by_java] == [
        ("c//pods/ns/n1", "MODIFIED", False),
        ("c//pods/ns/n2", "DELETED", False),
        ("c//pods/ns/n2", "DELETED", True),
    ]
    assert json.loads(read_by_java[0].value or "")["object"]["n"] == 1


@pytest.mark.parametrize(
    ("on_delete", "tombstones"),
    [("event+tombstone", [False, False, True]), ("event", [False, False]), ("tombstone", [False, True])],
)
async def test_a_deletion_ends_in_a_tombstone_with_the_same_key_and_headers(
    kafka: Broker, topic: str, on_delete: str, tombstones: list[bool]
) -> None:
    async with opened(sink(kafka.bootstrap, topic, on_delete=on_delete)) as open_sink:
        await open_sink.deliver(delivery(record(1, name="a"), record(2, "DELETED", name="a")))
        got = await read(kafka.bootstrap, topic)
    assert [message.value is None for message in got] == tombstones
    assert {message.key for message in got} == {"c//pods/ns/a"}
    assert all(message.headers == got[-1].headers for message in got[1:])


async def test_control_records_go_to_the_control_topic(kafka: Broker, topic: str) -> None:
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        await open_sink.deliver(delivery(record(1, "RESYNC"), record(2)))
        assert [m.headers["type"] for m in await read(kafka.bootstrap, topic)] == ["MODIFIED"]
        assert [m.headers["type"] for m in await read(kafka.bootstrap, f"{topic}.control")] == ["RESYNC"]


async def test_other_formats_keep_key_headers_and_tombstones(kafka: Broker, topic: str) -> None:
    where = Context(fresh("sink"), "c", "u", (PODS,), "application/cloudevents+json")
    async with opened(sink(kafka.bootstrap, topic), where) as open_sink:
        await open_sink.deliver(delivery(record(1, "DELETED", form=Format.KUBERNETES)))
        event, tombstone = await read(kafka.bootstrap, topic)
    assert json.loads(event.value or b"").keys() == {"type", "object"}
    assert event.headers["content-type"] == "application/cloudevents+json"
    assert (tombstone.value, tombstone.key, tombstone.headers) == (None, event.key, event.headers)


async def test_one_key_stays_in_one_partition_and_in_order_with_batches_in_flight(
    kafka: Broker, topic: str
) -> None:
    create = CreateTopics(partitions=3)
    async with (
        opened(sink(kafka.bootstrap, topic, create_topics=create)) as open_sink,
        trio.open_nursery() as nursery,
    ):
        for first in range(1, 4001, 500):
            nursery.start_soon(open_sink.deliver, span(first, first + 499, keys=50))
            await trio.testing.wait_all_tasks_blocked(0.0)
    got = await read(kafka.bootstrap, topic)
    assert sorted(m.position for m in got) == list(range(1, 4001))
    assert len({m.partition for m in got}) == 3
    for key in {m.key for m in got}:
        of_key = [m for m in got if m.key == key]
        assert len({m.partition for m in of_key}) == 1
        assert [m.position for m in of_key] == sorted(m.position for m in of_key)


async def test_a_cancelled_delivery_that_comes_again_is_not_sent_twice(kafka: Broker, topic: str) -> None:
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        with trio.move_on_after(0) as scope:
            await open_sink.deliver(span(1, 600))
        assert scope.cancelled_caught
        await open_sink.deliver(span(1, 700))
        await open_sink.deliver(span(701, 710))
        got = await read(kafka.bootstrap, topic)
    assert [m.position for m in got] == list(range(1, 711))


async def test_a_record_that_is_too_large_is_refused_and_the_others_are_owned(
    kafka: Broker, topic: str
) -> None:
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        with pytest.raises(Rejected) as refused:
            await open_sink.deliver(delivery(record(1), record(2, pad=1_000_000), record(3)))
        got = await read(kafka.bootstrap, topic)
    assert [m.position for m in got] == [1, 3]
    assert list(refused.value.reasons) == [1]
    assert "more than the 1000000 that topic" in refused.value.reasons[1]
    assert "max.message.bytes" in refused.value.reasons[1]


async def test_the_limit_of_the_topic_counts_too(kafka: Broker, topic: str) -> None:
    create_topic(kafka.bootstrap, topic, **{"max.message.bytes": "20000", "cleanup.policy": "compact"})
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        with pytest.raises(Rejected, match="more than the 20000"):
            await open_sink.deliver(
                delivery(record(1, pad=30_000), *(record(n, pad=5_000) for n in range(2, 20)))
            )
        got = await read(kafka.bootstrap, topic)
    assert [m.position for m in got] == list(range(2, 20))


@pytest.mark.parametrize("delivery_", ["atLeastOnce", "transactional"])
async def test_the_limit_counts_of_a_topic_that_only_the_first_record_names(
    kafka: Broker, topic: str, delivery_: str
) -> None:
    """At the start of a bridge no stream is known yet."""
    create_topic(kafka.bootstrap, topic, **{"max.message.bytes": "20000", "cleanup.policy": "compact"})
    properties = {"compression.type": Secret(value=b"none")}
    options = sink(kafka.bootstrap, topic, delivery=delivery_, on_too_large="halt", properties=properties)
    async with opened(options, context(streams=())) as open_sink:
        with pytest.raises(Stopped, match="more than the 20000"):
            await open_sink.deliver(delivery(record(1), record(2, pad=30_000)))
    assert await read(kafka.bootstrap, topic) == []


async def test_managed_fields_are_dropped_where_that_is_enough(kafka: Broker, topic: str) -> None:
    large = record(1)
    fields = b'{"metadata":{"name":"n1","managedFields":[{"m":"%b"}]},"n":123456789012345678901234567890}'
    value = large.value.replace(b'{"n":1,"pad":"xxxxxxxxxx"}', fields % (b"x" * 1_100_000))
    large = type(large)(1, value, large.key, large.id, large.sequence, large.change, large.stream)
    async with opened(sink(kafka.bootstrap, topic, on_too_large="dropManagedFields")) as open_sink:
        with pytest.raises(Rejected) as refused:
            await open_sink.deliver(delivery(large, record(2, pad=1_000_000)))
        (got,) = await read(kafka.bootstrap, topic)
    assert json.loads(got.value or b"")["object"] == {
        "metadata": {"name": "n1"},
        "n": 123456789012345678901234567890,
    }
    assert list(refused.value.reasons) == [1]


async def test_halt_sends_nothing_of_what_is_too_large(kafka: Broker, topic: str) -> None:
    async with opened(sink(kafka.bootstrap, topic, on_too_large="halt")) as open_sink:
        with pytest.raises(Stopped, match="onTooLarge: halt"):
            await open_sink.deliver(delivery(record(1, pad=1_000_000)))
        assert await read(kafka.bootstrap, topic) == []


async def test_what_only_the_broker_finds_too_large_is_refused_alone(
    kafka: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic's limit shrinks behind our back; the broker then fails the whole batch of the culprit."""
    monkeypatch.setattr(kafka_keeper, "_EVERY_SECONDS", float("inf"))
    create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "compact", "compression.type": "producer"})
    properties = {"compression.type": Secret(value=b"none")}
    async with opened(sink(kafka.bootstrap, topic, properties=properties)) as open_sink:
        await open_sink.deliver(delivery(record(1)))
        kafka.tool(
            "kafka.admin.ConfigCommand",
            *("--bootstrap-server", kafka.bootstrap, "--alter", "--topic", topic),
            *("--add-config", "max.message.bytes=20000"),
        )
        batch = delivery(record(2), record(3, name="x"), record(4, pad=50_000), record(5, name="x"))
        with pytest.raises(Unavailable, match="one by one") as again:
            await open_sink.deliver(batch)
        assert (again.value.reason, again.value.retry_after) == ("tooLarge", 0)
        with pytest.raises(Rejected, match="MSG_SIZE_TOO_LARGE") as refused:
            await open_sink.deliver(batch)
        assert list(refused.value.reasons) == [2]
        await open_sink.deliver(delivery(record(6)))
        got = await read(kafka.bootstrap, topic)
    assert [m.position for m in got] == [1, 2, 3, 5, 6]


async def test_topics_are_named_by_the_template_and_made_as_configured(kafka: Broker) -> None:
    prefix = fresh("k8s")
    options = sink(
        kafka.bootstrap,
        prefix + ".{cluster}.{stream}.{resource}.{group}.{kind}.{namespace}",
        control_topic=prefix + ".control",
        create_topics=CreateTopics(2, 1, "compact,delete"),
    )
    async with opened(options) as open_sink:
        await open_sink.deliver(delivery(record(1)))
        got = await read(kafka.bootstrap, f"{prefix}.c.pods.pods.core.Pod.ns")
    assert [m.position for m in got] == [1]


async def test_a_missing_topic_is_said_and_waited_for(kafka: Broker, topic: str) -> None:
    options = sink(kafka.bootstrap, topic, create_topics=None)
    assert any(f"Topic {topic} does not exist" in problem for problem in await options.problems(context()))
    async with options:
        with pytest.raises(Unavailable, match=f"Topic {topic}.* does not exist: create it") as missing:
            await options.open(START, context())
        assert missing.value.reason == "topic"
        create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "compact"})
        await options.open(START, context())
        await options.deliver(delivery(record(1)))


async def test_a_format_without_control_records_needs_no_control_topic(kafka: Broker, topic: str) -> None:
    where = msgspec.structs.replace(context(), control=False)
    options = sink(kafka.bootstrap, topic, create_topics=None)
    (missing,) = await options.problems(where)
    assert missing.startswith(f"Topic {topic} does not exist")
    async with opened(sink(kafka.bootstrap, topic), where):
        assert await options.problems(where) == []
    (missing,) = await options.problems(context())
    assert missing.startswith(f"Topic {topic}.control does not exist")


async def test_a_topic_just_made_is_looked_for_again_before_it_is_called_missing(
    kafka: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is asked may not have heard of it yet."""

    class Lagging(Preflight):
        looks = 0

        def look(self, wanted: Wanted) -> Findings:
            Lagging.looks += 1
            found = super().look(wanted)
            if Lagging.looks < 4:
                found.missing = wanted.names
            return found

    monkeypatch.setattr(kafka_keeper, "Preflight", Lagging)
    async with opened(sink(kafka.bootstrap, topic)) as open_sink:
        await open_sink.deliver(delivery(record(1)))
        assert [m.position for m in await read(kafka.bootstrap, topic)] == [1]


async def test_tombstones_without_compaction_are_worth_a_word(kafka: Broker, topic: str) -> None:
    create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "delete"})
    (advice,) = await sink(kafka.bootstrap, topic).problems(context())
    assert f"Topic {topic} has cleanup.policy=delete, so tombstones remove nothing" in advice
    assert await sink(kafka.bootstrap, topic, on_delete="event").problems(context()) == []


async def test_a_control_topic_that_is_compacted_is_worth_a_word(kafka: Broker, topic: str) -> None:
    """All control messages of a resource have one key."""
    control = f"{topic}-control"
    create_topic(kafka.bootstrap, control, **{"cleanup.policy": "compact"})
    (advice,) = await sink(kafka.bootstrap, topic, control_topic=control).problems(context())
    assert advice.startswith(f"The control topic {control} has cleanup.policy=compact")
    assert advice.endswith("set cleanup.policy=delete.")


async def test_each_missing_topic_is_told_with_how_to_make_it(kafka: Broker, topic: str) -> None:
    where = context()
    missing = sink(kafka.bootstrap, topic, create_topics=None, delivery="transactional")
    assert sorted(await missing.problems(where)) == sorted(
        f"Topic {name} does not exist: create it, with {how}, or set `createTopics`."
        for name, how in {
            f"kube-bridge.c.{where.name}.cursor": "one partition and cleanup.policy=compact",
            topic: "cleanup.policy=compact",
            f"{topic}.control": "cleanup.policy=delete",
        }.items()
    )


async def test_topics_that_could_not_be_made_are_told_by_a_check(kafka: Broker, topic: str) -> None:
    """Here there is one broker."""
    problems = await sink(kafka.bootstrap, topic, create_topics=CreateTopics(1, 3)).problems(context())
    assert [problem.split(" (")[0] for problem in problems] == [
        f"Topic {topic} cannot be created",
        f"Topic {topic}.control cannot be created",
    ]
    assert all(problem.endswith("check `createTopics`.") for problem in problems)


async def test_checking_makes_no_topic(kafka: Broker, topic: str) -> None:
    assert await sink(kafka.bootstrap, topic).problems(context()) == []
    without = sink(kafka.bootstrap, topic, create_topics=None)
    assert len(await without.problems(context())) == 2, "the topic and its control topic"


async def test_a_property_that_librdkafka_does_not_know_stops_the_sink(kafka: Broker, topic: str) -> None:
    options = sink(kafka.bootstrap, topic, properties={"no.such": Secret(value=b"1")})
    async with options:
        with pytest.raises(Stopped, match=r'No such configuration property: "no\.such"'):
            await options.open(START, context())


@pytest.mark.parametrize("error", [Unavailable("later"), ValueError("unexpected")])
async def test_an_error_leaves_the_sink_as_it_is(kafka: Broker, topic: str, error: Exception) -> None:
    """The worker knows errors by their class; the task that serves the client must not wrap them."""
    with pytest.raises(type(error)):
        async with opened(sink(kafka.bootstrap, topic)):
            raise error


async def test_rotated_credentials_are_taken_when_kafka_refuses_the_old_ones(
    kafka: Broker, topic: str, tmp_path: Path
) -> None:
    """The worker opens a sink anew after an unexpected error; until then the client keeps what it has."""
    password = tmp_path / "password"
    password.write_text("alice-secret")
    properties = {"client.software.name": Secret(file=password)}
    async with opened(sink(kafka.bootstrap, topic, properties=properties)) as open_sink:
        session = open_sink._runtime.session
        assert session is not None
        assert session._voice is not None
        session._voice.trouble = Trouble("authentication", "refused", certain=True)
        while session._voice.trouble is not None:  # it is over with the first report that the poll loop sees
            with contextlib.suppress(Unavailable):
                await open_sink.deliver(delivery(record(1)))
        password.write_text("another")
        await open_sink.deliver(delivery(record(20)))
        session._voice.trouble = Trouble("authentication", "refused", certain=True)
        with pytest.raises(CredentialsChanged, match="connecting anew"):
            await open_sink.deliver(delivery(record(21)))
        await open_sink.open(START, context())
        await open_sink.deliver(delivery(record(21)))


async def test_a_closed_sink_cannot_deliver(topic: str) -> None:
    with pytest.raises(InvariantError, match="closed"):
        await Kafka("b:9092", topic).deliver(Delivery(1, [record(1)], 1))
    assert BRIDGE.cluster == "c"
