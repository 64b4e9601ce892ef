"""What is wrong with options is said when the configuration is read, by the name of the key."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.changes.change import StreamInfo
from bridge.config.loader import loads
from bridge.delivery.sink import Unavailable
from bridge.logs import Level
from bridge.secret import Secret, SecretError
from sinks.kafka.admin import Broken, Findings, Wanted
from sinks.kafka.client import message_max_bytes, security_properties, token_of
from sinks.kafka.errors import Trouble, delivery_trouble
from sinks.kafka.plan import Plan as KafkaPlan
from sinks.kafka.security import Sasl, Tls
from sinks.kafka.sink import Kafka
from sinks.kafka.token import Token
from sinks.kafka.topics import Topics, acl_lines, name_problem
from sinks.kafka.voice import Voice
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
        ({"bootstrap_servers": " "}, "bootstrap_servers: is empty"),
        ({"bootstrap_servers": "kafka://b:9092"}, "write `host:port`"),
        *(
            ({"bootstrap_servers": servers}, "is not a list of brokers; write `host:port`, with commas")
            for servers in (
                "b:99999",
                "b:0",
                "b:x",
                "a b:9092",
                "b:9092;c:9092",
                "b:",
                ":9092",
                "a:1,b:65536",
            )
        ),
        ({"topic": "k.{namespace}"}, "write a `controlTopic` without {namespace}"),
        ({"topic": "k", "control_topic": "c.{namespace}"}, "write a `controlTopic` without {namespace}"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="e") as error:
        Kafka(**({"bootstrap_servers": "b:9092", "topic": "t"} | options))
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Tls(certificate=Path("/c")), "needs both `certificate` and `key`"),
        (lambda: Sasl("PLAIN", "u"), "PLAIN needs `username` and `password`"),
        (lambda: Sasl("SCRAM-SHA-512", None, value("p")), "needs `username` and `password`"),
        (lambda: Sasl("OAUTHBEARER"), "OAUTHBEARER needs `token`"),
        (lambda: Sasl("OAUTHBEARER", "u", None, value("t")), "OAUTHBEARER does not use"),
        (lambda: Sasl("PLAIN", "u", value("p"), value("t")), "PLAIN does not use"),
        (lambda: Sasl("PLAIN", "u", value("p"), None, ("get",)), "`tokenCommand`, which PLAIN"),
        (lambda: Sasl("OAUTHBEARER", token=value("t"), token_command=("get",)), "keep one of them"),
    ],
)
def test_keys_that_do_not_fit_each_other_are_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match="e") as error:
        make()
    assert why in str(error.value)


@pytest.mark.parametrize("servers", ["b", "b:9092, c.d-e_f:65535", "[::1]:9092,10.0.0.1:1", "b:9092,"])
def test_what_librdkafka_takes_for_brokers_is_taken(servers: str) -> None:
    assert Kafka(servers, "t").bootstrap_servers == servers


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
    word = "sasl: {mechanism: OAUTHBEARER, tokenCommand: [get, -a, x, -a, y]}"
    old = "sasl: {mechanism: SCRAM-SHA-512, username: me, password: {env: KAFKA_PASSWORD}}"
    (other,) = loads(CONFIGURATION.replace(old, word), "it", check_files=False).sinks
    assert isinstance(other.options, Kafka)
    assert other.options.sasl == Sasl("OAUTHBEARER", token_command=("get", "-a", "x", "-a", "y"))
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


def test_a_right_that_is_taken_away_is_told_with_the_topic_that_it_was_for() -> None:
    """And where a client's error names none, with all topics that can be named."""
    plan = KafkaPlan(Kafka("b:9092", "t.{resource}"), context())
    taken_away = delivery_trouble("TOPIC_AUTHORIZATION_FAILED", "", "t.pods", plan.acls).sentence
    assert "write to topic t.pods; " in taken_away
    assert re.findall(r"--topic (\S+)", taken_away) == ["t.pods"]
    fatal = delivery_trouble("CLUSTER_AUTHORIZATION_FAILED", "", "", plan.acls).sentence
    assert re.findall(r"--topic (\S+)", fatal) == ["t.pods", "t.pods.control"]


def test_security_becomes_properties_of_librdkafka(tmp_path: Path) -> None:
    assert security_properties(None, None, None) == {"security.protocol": "PLAINTEXT"}
    both = security_properties(
        Tls(Path("/ca"), Path("/c"), Path("/k"), insecure=True), Sasl("PLAIN", "u", value("p")), None
    )
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
        security_properties(None, Sasl("PLAIN", "u", Secret(file=tmp_path / "missing")), None)


def test_a_token_is_read_anew_each_time_with_the_end_it_names(tmp_path: Path) -> None:
    file = tmp_path / "token"
    refresh = token_of(Sasl("OAUTHBEARER", token=Secret(file=file)))
    assert refresh is not None
    for end in (1_900_000_000, 1_900_000_100):
        body = base64.urlsafe_b64encode(json.dumps({"exp": end}).encode()).decode().rstrip("=")
        file.write_text(f"head.{body}.signature\n")
        assert refresh("") == (f"head.{body}.signature", float(end))
    file.write_text("opaque")
    token, soon = refresh("")
    assert token == "opaque"  # noqa: S105 - not a secret
    assert time.time() < soon < time.time() + 400


def program(tmp_path: Path, text: str) -> Token:
    """A token of a program; an argument that a shell would read tells whether there is one."""
    path = tmp_path / "get token"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    token = token_of(Sasl("OAUTHBEARER", token_command=(str(path), "$HOME;exit", "a", "a")))
    assert token is not None
    return token


def test_a_program_gives_the_token_and_is_run_again_when_another_is_asked_for(tmp_path: Path) -> None:
    token = program(tmp_path, f'echo run >> {tmp_path}/runs; echo " token-$(wc -l < {tmp_path}/runs) "; echo')
    token.prepare()  # what a client is made with is shared by those that are made with it
    token.prepare()
    assert token("")[0] == "token-1"
    assert token("")[0] == "token-2"
    assert token.shown == "token-2"


def test_a_program_is_run_without_a_shell(tmp_path: Path) -> None:
    assert program(tmp_path, 'printf %s "$1/$2$3"')("")[0] == "$HOME;exit/aa"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo t0ken; echo denied for t0ken >&2; exit 3", "failed with exit code 3: denied for ***"),
        ("exit 4", "failed with exit code 4"),
        ("echo", "must print a token and nothing else"),
        ("echo two words", "must print a token and nothing else"),
        ("exec sleep 60", "did not end within 0.2 s"),
    ],
)
def test_a_program_that_gives_no_token_is_told_in_a_sentence_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    if "sleep" in text:
        monkeypatch.setattr("sinks.kafka.token.RUN_SECONDS", 0.2)
    token = program(tmp_path, text)
    with pytest.raises(SecretError) as error:
        token.prepare()
    assert str(error.value).startswith(f"the program {tmp_path}/get token of `sasl.tokenCommand` ")
    assert why in str(error.value)
    assert "two words" not in str(error.value)
    assert "t0ken" not in str(error.value)
    assert token.problem == str(error.value)


def test_a_program_that_is_not_there_is_named() -> None:
    token = token_of(Sasl("OAUTHBEARER", token_command=("/no/such/program",)))
    assert token is not None
    with pytest.raises(SecretError, match=r"/no/such/program of `sasl\.tokenCommand` cannot be run"):
        token("")


def test_the_clients_log_shows_no_token_and_says_why_there_is_none(tmp_path: Path) -> None:
    token = program(tmp_path, f"test -e {tmp_path}/gone && exit 5; touch {tmp_path}/gone; echo header.body")
    lines: list[object] = []

    def note(_level: Level, _what: str, /, **fields: object) -> None:
        lines.append(fields["says"])

    voice = Voice("out", "b:9092", (), note, token=token)
    token.prepare()
    voice.emit(logging.LogRecord("kafka", logging.ERROR, "", 0, "sent header.body to b", None, None))
    assert lines == ["sent *** to b"]
    token("")
    with pytest.raises(SecretError):
        token("")
    voice.error(Said("_AUTHENTICATION", "Failed to acquire SASL OAUTHBEARER token"))
    assert voice.trouble is not None
    assert "of `sasl.tokenCommand` failed with exit code 5" in voice.trouble.sentence


class Said(NamedTuple):
    """An error of librdkafka."""

    called: str
    text: str

    def name(self) -> str:
        return self.called

    def str(self) -> str:
        return self.text


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

    monkeypatch.setattr("sinks.kafka.keeper.inspect", inspect)
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
