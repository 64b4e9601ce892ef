"""Each way to authenticate, and rights: what is missing is named with the command that gives it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from bridge.delivery.sink import Unavailable
from bridge.secret import Secret
from sinks.kafka.security import Sasl, Tls
from tests.components.process import eventually
from tests.sinks.kafka_support import (
    START,
    TIMEOUT,
    context,
    create_topic,
    delivery,
    fresh,
    opened,
    read,
    record,
    sink,
)

if TYPE_CHECKING:
    from tests.components.kafka import Broker


def allow(broker: Broker, principal: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    bindings = [
        AclBinding(
            kind, name, ResourcePatternType.LITERAL, principal, "*", operation, AclPermissionType.ALLOW
        )
        for operation in operations
    ]
    for future in admin.create_acls(bindings).values():
        future.result(TIMEOUT)
    pattern, allowed = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    mine = AclBindingFilter(kind, name, pattern, principal, "*", AclOperation.ANY, allowed)

    def known() -> bool:
        return set(bindings) <= set(admin.describe_acls(mine).result(TIMEOUT))

    eventually(known, "the broker that is asked knows them, too")


def allow_topic(broker: Broker, principal: str, topic: str) -> None:
    rights = (AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    for name in (topic, f"{topic}.control"):
        allow(broker, principal, ResourceType.TOPIC, name, *rights)


def token(subject: str) -> str:
    """An unsecured JWT, as the broker's validator for tests takes it."""
    now = int(time.time())
    parts = [{"alg": "none"}, {"sub": subject, "iat": now, "exp": now + 600}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


def ways(kafka: Broker) -> dict[str, tuple[str, dict[str, Any], str]]:
    password = Secret(value=b"alice-secret")
    tls = Tls(ca=kafka.ca_file)
    certificate, key = kafka.client_certificate("carol")
    found: dict[str, tuple[str, dict[str, Any], str]] = {
        mechanism: ("SASL", {"tls": tls, "sasl": Sasl(mechanism, "alice", password)}, "User:alice")
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    }
    found["OAUTHBEARER"] = (
        "SASL",
        {"tls": tls, "sasl": Sasl("OAUTHBEARER", token=Secret(value=token("alice").encode()))},
        "User:alice",
    )
    program = kafka.directory / "token"
    program.write_text(f"#!/bin/sh\necho {token('alice')}\n")
    program.chmod(0o700)
    found["OAUTHBEARER by a program"] = (
        "SASL",
        {"tls": tls, "sasl": Sasl("OAUTHBEARER", token_command=(str(program),))},
        "User:alice",
    )
    found["mTLS"] = ("MTLS", {"tls": Tls(kafka.ca_file, certificate, key)}, "User:carol")
    found["insecure"] = (
        "SASL",
        {"tls": Tls(insecure=True), "sasl": Sasl("PLAIN", "alice", password)},
        "User:alice",
    )
    return found


@pytest.mark.parametrize(
    "way",
    [
        "PLAIN",
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
        "OAUTHBEARER",
        "OAUTHBEARER by a program",
        "mTLS",
        "insecure",
    ],
)
async def test_records_arrive_over_each_secure_way(kafka: Broker, way: str) -> None:
    topic = fresh("topic")
    create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "compact"})
    listener, options, principal = ways(kafka)[way]
    allow_topic(kafka, principal, topic)
    kafka_sink = sink(kafka.address(listener), topic, create_topics=None, **options)
    async with opened(kafka_sink) as open_sink:
        await open_sink.deliver(delivery(record(1)))
    assert [message.position for message in await read(kafka.bootstrap, topic)] == [1]


async def test_the_event_loop_goes_on_while_a_program_makes_a_token(kafka: Broker) -> None:
    """It is the loop that lets the program go on: were it to wait for the program, both would wait."""
    topic = fresh("topic")
    create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "compact"})
    allow_topic(kafka, "User:alice", topic)
    gate, program = kafka.directory / "gate", kafka.directory / "gated-token"
    os.mkfifo(gate)
    program.write_text(f"#!/bin/sh\nread -r word < {gate}; echo {token('alice')}\n")
    program.chmod(0o700)
    sasl = Sasl("OAUTHBEARER", token_command=(str(program),))
    kafka_sink = sink(kafka.address("SASL"), topic, create_topics=None, tls=Tls(ca=kafka.ca_file), sasl=sasl)
    let_go = 0

    async def let_programs_go() -> None:
        nonlocal let_go
        while True:
            with contextlib.suppress(OSError):  # no program waits there now
                writer = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    let_go += os.write(writer, b"go\n") > 0
                finally:
                    os.close(writer)
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_programs_go)
        async with opened(kafka_sink) as open_sink:
            await open_sink.deliver(delivery(record(1)))
        nursery.cancel_scope.cancel()
    assert let_go


@pytest.mark.parametrize("kind", ["atLeastOnce", "transactional"])
async def test_a_program_that_gives_no_token_is_named_and_the_sink_waits(kafka: Broker, kind: str) -> None:
    topic = fresh("topic")
    sasl = Sasl("OAUTHBEARER", token_command=("false",))
    kafka_sink = sink(kafka.address("SASLPLAIN"), topic, delivery=kind, sasl=sasl)
    sentence = "the program false of `sasl.tokenCommand` failed with exit code 1"
    assert [sentence in problem for problem in await kafka_sink.problems(context())] == [True]
    async with kafka_sink:
        with pytest.raises(Unavailable, match=sentence):
            await kafka_sink.open(START, context())


async def test_a_missing_right_is_named_with_the_command_that_gives_it(kafka: Broker) -> None:
    topic = fresh("topic")
    create_topic(kafka.bootstrap, topic, **{"cleanup.policy": "compact"})
    sasl = Sasl("PLAIN", "bob", Secret(value=b"bob-secret"))
    kafka_sink = sink(kafka.address("SASLPLAIN"), topic, create_topics=None, sasl=sasl)
    (problem,) = await kafka_sink.problems(context())
    command = f"kafka-acls --bootstrap-server {kafka.address('SASLPLAIN')} --command-config admin.properties"
    command += " --add --allow-principal User:bob"
    rights = "--operation Write --operation Describe --operation DescribeConfigs"
    topics = f"{topic}, {topic}.control"
    assert problem.splitlines() == [
        f"Kafka does not allow this user to write to topic {topics}; an administrator must run:",
        f"      {command} {rights} --topic {topic}",
        f"      {command} {rights} --topic {topic}.control",
    ]
    async with kafka_sink:
        with pytest.raises(Unavailable, match="an administrator must run: kafka-acls") as missing:
            await kafka_sink.open(START, context())
        assert missing.value.reason == "authorization"
    allow(kafka, "User:bob", ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    assert any(f"to topic {topic}, " in problem for problem in await kafka_sink.problems(context()))
    allow_topic(kafka, "User:bob", topic)
    assert await kafka_sink.problems(context()) == []
    async with opened(kafka_sink) as open_sink:
        await open_sink.deliver(delivery(record(1)))


async def test_the_printed_commands_are_all_that_a_transactional_sink_needs(kafka: Broker) -> None:
    """They are run as they are printed, with Kafka's own tool."""
    topic, where = fresh("topic"), context()
    sasl = Sasl("SCRAM-SHA-256", "bob", Secret(value=b"bob-secret"))
    kafka_sink = sink(kafka.address("SASLPLAIN"), topic, delivery="transactional", sasl=sasl)
    problem = (await kafka_sink.problems(where))[0]
    commands = problem.splitlines()[1:]
    assert len(commands) == len(set(commands)) == 5, "each once"
    for line in commands:
        words = line.replace(kafka.address("SASLPLAIN"), kafka.bootstrap).split()
        assert words[3:5] == ["--command-config", "admin.properties"]
        del words[3:5]  # here nobody needs to log in
        assert words[0] == "kafka-acls"
        kafka.tool("org.apache.kafka.tools.AclCommand", *words[1:])
    with trio.fail_after(TIMEOUT):
        while await kafka_sink.problems(where):
            pass  # the broker that is asked hears of them a moment later
    async with opened(kafka_sink, where) as open_sink:
        await open_sink.deliver(delivery(record(1), record(2)))
        assert (await open_sink.open(START, where)).position == 2
    assert [message.position for message in await read(kafka.bootstrap, topic)] == [1, 2]
