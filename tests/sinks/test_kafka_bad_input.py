"""Whatever is wrong with a broker or how we reach it ends in one sentence that says what to do."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

from bridge.delivery.sink import Unavailable
from bridge.secret import Secret
from sinks.kafka import cursor as kafka_cursor
from sinks.kafka.cursor import CursorStore, Unreadable
from sinks.kafka.errors import connection_trouble, delivery_trouble
from sinks.kafka.plan import Plan
from sinks.kafka.security import Sasl, Tls
from tests.components.process import PATIENCE, free_port
from tests.sinks.kafka_support import START, context, fresh, sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.components.kafka import Broker


def password(text: str) -> Secret:
    return Secret(value=text.encode())


async def complaint(address: str, **options: Any) -> tuple[str, str]:
    """The sentence at `open`, which is also what `check` says, and its reason."""
    kafka = sink(address, fresh("topic"), **options)
    (checked,) = await kafka.problems(context())
    async with kafka:
        with trio.fail_after(25 * PATIENCE), pytest.raises(Unavailable) as error:
            await kafka.open(START, context())
    assert "\n" not in str(error.value)
    assert str(error.value).split("(")[0] == checked.split("(")[0]
    return str(error.value), error.value.reason


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that answers everything with the same bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = False

        def serve() -> None:
            while not stop:
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(1)
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        stop = True
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname(), 1).close()
        thread.join(5)


async def test_a_name_that_cannot_be_resolved() -> None:
    sentence, reason = await complaint("no-such-broker.invalid:9092")
    assert "Failed to resolve" in sentence
    assert "check `bootstrapServers`" in sentence
    assert reason == "resolve"


async def test_a_port_where_nothing_listens() -> None:
    sentence, reason = await complaint("127.0.0.1:1")
    assert "127.0.0.1:1" in sentence
    assert "check `bootstrapServers`, or start the broker" in sentence
    assert reason == "connect"


async def test_a_web_server() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") as address:
        sentence, reason = await complaint(address)
    assert sentence == f"What listens at {address} is an HTTP server, not Kafka: check the port."
    assert reason == "protocol"


async def test_something_that_hangs_up() -> None:
    with answering(b"") as address:
        sentence, reason = await complaint(address)
    assert "closes the connection on a request of Kafka: check the port" in sentence
    assert reason == "protocol"


async def test_tls_where_none_is_spoken(kafka: Broker) -> None:
    sentence, reason = await complaint(kafka.address("PLAINTEXT"), tls=Tls(ca=kafka.ca_file))
    assert "as a port without TLS does: remove `tls`, or use the port that has it" in sentence
    assert reason == "tls"


async def test_no_tls_where_it_is_spoken(kafka: Broker) -> None:
    sentence, reason = await complaint(kafka.address("MTLS"))
    assert sentence.endswith("speaks TLS on this port: configure `tls`.")
    assert reason == "tls"


async def test_no_sasl_where_it_is_wanted(kafka: Broker) -> None:
    sentence, reason = await complaint(kafka.address("SASLPLAIN"))
    assert sentence.endswith("wants authentication on this port: configure `sasl`.")
    assert reason == "authentication"


async def test_a_certificate_of_an_authority_that_is_not_ours(kafka: Broker, tmp_path: Path) -> None:
    import trustme  # noqa: PLC0415 - only here

    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    sasl = Sasl("PLAIN", "alice", password("alice-secret"))
    sentence, reason = await complaint(kafka.address("SASL"), tls=Tls(ca=other), sasl=sasl)
    assert "is not trusted: set `tls.ca` to the authority that signed it" in sentence
    assert reason == "tls"


async def test_no_client_certificate_where_one_is_wanted(kafka: Broker) -> None:
    sentence, reason = await complaint(kafka.address("MTLS"), tls=Tls(ca=kafka.ca_file))
    assert "wants a client certificate that it trusts: set `tls.certificate` and `tls.key`" in sentence
    assert reason == "tls"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_called_so(
    kafka: Broker, mechanism: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    sasl = Sasl(mechanism, "alice", password("not-the-password"))
    sentence, reason = await complaint(kafka.address("SASLPLAIN"), sasl=sasl)
    assert sentence.startswith("Authentication at Kafka 127.0.0.1")
    assert "check user and password" in sentence
    assert reason == "authentication"
    told = capfd.readouterr().err
    assert "not-the-password" not in told
    assert len(told.splitlines()) <= 4, "a wrong password is tried 20 times a second, and told a few times"


async def test_a_token_that_is_none(kafka: Broker) -> None:
    sentence, reason = await complaint(
        kafka.address("SASLPLAIN"), sasl=Sasl("OAUTHBEARER", token=password("no-token"))
    )
    assert sentence.startswith("Authentication at Kafka")
    assert reason == "authentication"


async def test_a_secret_file_that_is_missing(kafka: Broker, tmp_path: Path) -> None:
    sasl = Sasl("PLAIN", "alice", Secret(file=tmp_path / "missing"))
    sentence, reason = await complaint(kafka.address("SASLPLAIN"), sasl=sasl)
    assert "missing' cannot be read" in sentence
    assert reason == "secret"


async def test_a_secret_file_that_is_empty(kafka: Broker, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    sasl = Sasl("PLAIN", "alice", Secret(file=tmp_path / "empty"))
    sentence, _ = await complaint(kafka.address("SASLPLAIN"), sasl=sasl)
    assert "empty' is empty; write the secret into it" in sentence


async def test_a_name_of_a_stream_that_makes_a_topic_too_long_stops_the_sink(kafka: Broker) -> None:
    from bridge.delivery.sink import Stopped  # noqa: PLC0415 - only here

    long = sink(kafka.bootstrap, "x" * 230 + ".{cluster}.{resource}.{kind}")
    where = type(context())("s", "a-long-cluster-name", "u", context().streams)
    problem = (await long.problems(where))[0]
    assert "Kafka allows 249: shorten the template" in problem
    async with long:
        with pytest.raises(Stopped, match="Kafka allows 249"):
            await long.open(START, where)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "_ALL_BROKERS_DOWN",
            "1/1 brokers are down",
            "Kafka at b:9092 cannot be reached: 1/1 brokers are down.",
        ),
        (
            "_TRANSPORT",
            "b:1/bootstrap: Connect to ipv4#1.2.3.4:1 failed: Connection refused (after 0ms in state X)",
            "Nothing listens at Kafka's address b:1: check `bootstrapServers`, or start the broker.",
        ),
        (
            "_AUTHENTICATION",
            "sasl_ssl://b:1/1: SASL authentication error: Authentication failed (after 302ms in state A)",
            (
                "Authentication at Kafka b:1 failed (SASL authentication error: Authentication failed): "
                "check user and password, or token, in `sasl`."
            ),
        ),
        (
            "_TRANSPORT",
            "ssl://b:1/1: Disconnected: SSL connection closed by peer (after 302ms in state UP)",
            "Kafka at b:1 cannot be reached: Disconnected: SSL connection closed by peer.",
        ),
        ("_FAIL", "b:1/1: odd\nthing", "Kafka at b:1: odd thing (_FAIL)."),
        (
            "_SSL",
            "ssl://b:1/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
            "What listens at b:1 does not speak TLS: remove `tls`, or use the port that does.",
        ),
        (
            "_AUTHENTICATION",
            "b:1/1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism",
            (
                "Kafka at b:1 does not accept this way of authentication (SASL PLAIN mechanism handshake "
                "failed: Broker: Unsupported SASL mechanism): check `sasl.mechanism`, and that the port is "
                "one with SASL."
            ),
        ),
    ],
)
def test_what_a_connection_says_becomes_a_sentence(name: str, text: str, sentence: str) -> None:
    assert connection_trouble(name, text, "b:9092").sentence == sentence


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (
            "TOPIC_AUTHORIZATION_FAILED",
            "not allow this user to write to topic t; an administrator must run: ACLS t",
        ),
        ("CLUSTER_AUTHORIZATION_FAILED", "an administrator must run: ACLS t"),
        ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "its transactional id; an administrator must run: ACLS t"),
        ("UNKNOWN_TOPIC_OR_PART", "Topic t does not exist: create it or set `createTopics`."),
        ("CORRUPT", "Kafka did not take a record for topic t: words (CORRUPT)."),
    ],
)
def test_what_a_message_met_becomes_a_sentence(name: str, part: str) -> None:
    assert part in delivery_trouble(name, "words", "t", lambda topics: [f"ACLS {t}" for t in topics]).sentence


def test_a_cursor_that_cannot_be_read_writes_nothing_past_the_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """librdkafka writes onto standard error whatever nobody listens to, secrets and all."""
    monkeypatch.setattr(kafka_cursor, "_SECONDS", 1)
    plan = Plan(sink(f"127.0.0.1:{free_port()}", "t", delivery="transactional"), context())
    store = CursorStore(plan.shared(), plan.cursor_topic, plan.id, plan.voice(quiet=True))
    with pytest.raises(Unreadable, match="cannot be read from"):
        store.read()
    assert capfd.readouterr().err == ""
