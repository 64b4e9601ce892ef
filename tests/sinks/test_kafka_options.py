"""What is wrong with options is said when the configuration is read, by the name of the key."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.changes.change import StreamInfo
from bridge.config.loader import loads
from bridge.delivery.sink import Unavailable
from bridge.secret import Secret, SecretError
from sinks.kafka import Kafka
from sinks.kafka_admin import Broken, Findings, Wanted
from sinks.kafka_errors import Trouble
from sinks.kafka_options import Sasl, Tls, message_max_bytes, security
from sinks.kafka_topics import Topics, acl_lines, name_problem
from tests.sinks.kafka_support import PODS, START, context, delivery, record

DEPLOYMENTS = StreamInfo("web", "apps", "v1", "deployments", "Deployment")


def value(text: str) -> Secret:
    return Secret(value=text.encode())


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("enable.idempotence", "false", "change their order"),
        ("acks", "1", "all replicas in sync"),
        ("request.required.acks", "0", "all replicas in sync"),
        ("max.in.flight", "6", "more than 5"),
        ("max.in.flight.requests.per.connection", "many", "more than 5"),
        ("partitioner", "random", "spread over all partitions"),
        ("message.timeout.ms", "300000", "lost or come out of order"),
        ("delivery.timeout.ms", "300000", "lost or come out of order"),
        ("retries", "3", "lost or come out of order"),
        ("message.send.max.retries", "3", "lost or come out of order"),
        ("transactional.id", "mine", "second instance is fenced"),
        ("delivery.report.only.error", "true", "every report is needed"),
        ("enable.gapless.guarantee", "true", "repeats what follows"),
        ("bootstrap.servers", "b:9092", "write `bootstrapServers`"),
        ("security.protocol", "SSL", "write `tls` and `sasl`"),
        ("ssl.ca.location", "/ca", "write `tls.ca`"),
        ("sasl.password", "p", "write `sasl.password`"),
        ("dr_cb", "f", "callbacks cannot be configured"),
        ("message.max.bytes", "1Mi", "not a number of bytes"),
    ],
)
def test_a_property_that_would_break_a_promise_is_refused_by_name(name: str, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        Kafka("b:9092", "t", properties={name: value(text)})
    assert f"`{name}`" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compression.type", "lz4"),
        ("acks", "all"),
        ("acks", "-1"),
        ("enable.idempotence", "true"),
        ("max.in.flight", "1"),
        ("partitioner", "fnv1a"),
        ("linger.ms", "50"),
    ],
)
def test_other_properties_are_passed_on(name: str, text: str) -> None:
    Kafka("b:9092", "t", properties={name: value(text)})


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("k8s/{cluster}", "has the character '/'"),
        ("k8s {stream}", "has the character ' '"),
        ("k8s.ä", "has the character 'ä'"),
        ("{clutser}", "has {clutser}, which stands for nothing; write one of {cluster}"),
        ("{cluster", "a brace without its partner"),
        ("", "is empty"),
        ("..", "cannot be the name of a topic"),
        ("x" * 250, "has 250 characters; Kafka allows 249"),
    ],
)
def test_a_topic_that_cannot_be_is_refused(topic: str, why: str) -> None:
    with pytest.raises(ValueError, match="topic") as error:
        Kafka("b:9092", topic)
    assert why in str(error.value)
    if topic:
        with pytest.raises(ValueError, match="topic"):
            Kafka("b:9092", "t", control_topic=topic)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"bootstrap_servers": " "}, "`bootstrapServers` is empty"),
        ({"bootstrap_servers": "kafka://b:9092"}, "write `host:port`"),
        ({"topic": "k.{namespace}"}, "write a `controlTopic` without {namespace}"),
        ({"topic": "k", "control_topic": "c.{namespace}"}, "write a `controlTopic` without {namespace}"),
        ({"tls": Tls(certificate=Path("/c"))}, "needs both `certificate` and `key`"),
        ({"sasl": Sasl("PLAIN", "u")}, "needs `username` and `password` for PLAIN"),
        ({"sasl": Sasl("SCRAM-SHA-512", None, value("p"))}, "needs `username` and `password`"),
        ({"sasl": Sasl("OAUTHBEARER")}, "needs `token` for OAUTHBEARER"),
        ({"sasl": Sasl("OAUTHBEARER", "u", None, value("t"))}, "OAUTHBEARER does not use"),
        ({"sasl": Sasl("PLAIN", "u", value("p"), value("t"))}, "PLAIN does not use"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="e") as error:
        Kafka(**({"bootstrap_servers": "b:9092", "topic": "t"} | options))
    assert why in str(error.value)


CONFIGURATION = """
configVersion: 1
cluster: {name: prod}
state: {path: ./state}
streams:
  - {name: pods, apiVersion: v1, kind: Pod}
sinks:
  - name: events
    type: kafka
    bootstrapServers: broker:9092
    topic: "k8s.{cluster}.{resource}"
    delivery: transactional
    onDelete: event+tombstone
    onTooLarge: dropManagedFields
    createTopics: {partitions: 6, replicationFactor: 3, cleanupPolicy: compact}
    tls: {insecure: true}
    sasl: {mechanism: SCRAM-SHA-512, username: me, password: {env: KAFKA_PASSWORD}}
    properties: {compression.type: lz4, linger.ms: 20, ssl.key.password: {file: /run/key}}
"""


def test_every_key_can_be_written_in_yaml() -> None:
    (configured,) = loads(CONFIGURATION, "it", check_files=False).sinks
    options = configured.options
    assert isinstance(options, Kafka)
    assert options.create_topics is not None
    assert (options.create_topics.partitions, options.create_topics.replication_factor) == (6, 3)
    assert options.sasl == Sasl("SCRAM-SHA-512", "me", Secret(env="KAFKA_PASSWORD"))
    assert options.properties["linger.ms"].read() == b"20"
    assert options.properties["ssl.key.password"] == Secret(file=Path("/run/key"))


def test_a_name_is_filled_in_from_the_stream() -> None:
    topics = Topics("{cluster}.{stream}.{resource}.{group}.{kind}", None, "c1")
    assert topics.data(DEPLOYMENTS, "shop") == "c1.web.deployments.apps.apps.Deployment"
    assert topics.data(PODS, "shop") == "c1.pods.pods.core.Pod"
    assert topics.control(PODS) == "c1.pods.pods.core.Pod.control"
    spaced = Topics("{resource}.{namespace}", "all.control", "c1")
    assert [spaced.data(PODS, namespace) for namespace in ("shop", "")] == ["pods.shop", "pods._cluster"]
    assert spaced.of([PODS, DEPLOYMENTS]) == ([], ["all.control"])


def test_a_name_that_became_too_long_is_a_problem() -> None:
    assert name_problem("x" * 249) is None
    assert "250 characters" in (name_problem("x" * 250) or "")


def test_rights_are_printed_as_the_commands_that_give_them() -> None:
    lines = acl_lines(
        "b:9092", "User:me", ["t"], create=True, transactional_id="id", cursor_topic="id.cursor"
    )
    begin = "kafka-acls --bootstrap-server b:9092 --add --allow-principal User:me"
    write = f"{begin} --operation Write --operation Describe"
    made = f"{write} --operation DescribeConfigs --operation Create"
    assert lines == [
        f"{made} --topic t",
        f"{made} --operation Read --topic id.cursor",
        f"{write} --transactional-id id",
        f"{begin} --operation Read --group id",
    ]


def test_security_becomes_properties_of_librdkafka(tmp_path: Path) -> None:
    assert security(None, None) == {"security.protocol": "PLAINTEXT"}
    both = security(Tls(Path("/ca"), Path("/c"), Path("/k"), insecure=True), Sasl("PLAIN", "u", value("p")))
    assert both == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/ca",
        "ssl.certificate.location": "/c",
        "ssl.key.location": "/k",
        "enable.ssl.certificate.verification": "false",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "p",
    }
    with pytest.raises(SecretError, match="cannot be read"):
        security(None, Sasl("PLAIN", "u", Secret(file=tmp_path / "missing")))


def test_a_token_is_read_anew_each_time_with_the_end_it_names(tmp_path: Path) -> None:
    file = tmp_path / "token"
    refresh = security(None, Sasl("OAUTHBEARER", token=Secret(file=file)))["oauth_cb"]
    for end in (1_900_000_000, 1_900_000_100):
        body = base64.urlsafe_b64encode(json.dumps({"exp": end}).encode()).decode().rstrip("=")
        file.write_text(f"head.{body}.signature\n")
        assert refresh("") == (f"head.{body}.signature", float(end))
    file.write_text("opaque")
    token, end = refresh("")
    assert token == "opaque"  # noqa: S105 - not a secret
    assert time.time() < end < time.time() + 400


def test_the_largest_message_is_the_configured_one() -> None:
    assert message_max_bytes({}) == 1_000_000
    assert message_max_bytes({"message.max.bytes": value("2000000")}) == 2_000_000


def test_check_is_told_when_a_record_is_kafkas() -> None:
    assert Kafka("b:9092", "t").ownership == "confirmed by all replicas in sync"
    assert Kafka("b:9092", "t", delivery="transactional").ownership == (
        "committed together with our place in the log, once each for committed readers"
    )


async def test_a_topic_that_a_record_names_first_is_looked_at_as_what_its_records_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what goes there, not by how it is called: a control topic must not be made with compaction."""
    looked_at: list[Wanted] = []

    def inspect(_plan: object, wanted: Wanted, _create: object) -> tuple[Findings, list[str]]:
        looked_at.append(wanted)
        raise Broken(Trouble("enough", "enough", certain=True))

    monkeypatch.setattr("sinks.kafka_session._inspect", inspect)
    kafka = Kafka("127.0.0.1:1", "audit.control", control_topic="gaps")
    for change in ("MODIFIED", "RESYNC"):
        async with kafka:
            await kafka.open(START, context(streams=()))
            with pytest.raises(Unavailable):
                await kafka.deliver(delivery(record(1, type_=change)))
    assert [(wanted.data, wanted.control) for wanted in looked_at] == [
        (["audit.control"], []),
        ([], ["gaps"]),
    ]
