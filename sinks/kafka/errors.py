"""What librdkafka says, as one sentence that says what to do. No I/O here, and no librdkafka.

Errors are named as librdkafka names them (`KafkaError.name()`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

__all__ = [
    "NOT_THE_BATCH",
    "Acls",
    "Trouble",
    "authorization",
    "connection_trouble",
    "delivery_trouble",
    "missing",
    "refused_configuration",
    "shorten",
]

NOT_THE_BATCH: Final = frozenset(
    ("MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG")
)
"""Errors that one message causes and that a broker answers for its whole batch."""

Acls = Callable[[Sequence[str]], Sequence[str]]
"""Topics -> the commands that give the rights to write there."""

_DISCONNECTS: Final = ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT", "_TIMED_OUT_QUEUE")
_LONGEST: Final = 300
_ESTABLISHED: Final = "in state UP"
_where: Final = re.compile(r"^(?:[a-z_]+://)?(?P<host>[^/\s]+?)/(?:bootstrap|\d+): (?P<rest>.*)$", re.DOTALL)
_after: Final = re.compile(r"\s*\(after \d+ms in state [A-Z_]+[^)]*\)|\(\+?\d+ identical error[^)]*\)")


class Trouble(NamedTuple):
    """Why Kafka takes nothing now.

    Attributes:
        reason: one word for the metrics.
        sentence: for a person.
        certain: this will not go away by waiting a moment, as a lost connection may.
    """

    reason: str
    sentence: str
    certain: bool


def connection_trouble(name: str, text: str, servers: str) -> Trouble:
    """What an error of a connection means.

    Args:
        name: of the error.
        text: librdkafka's own words.
        servers: `bootstrapServers`, for errors that do not name a broker.
    """
    found = _where.match(text)
    host, rest = (found["host"], found["rest"]) if found else (servers, text)
    rest = shorten(_after.sub("", rest))
    lower = rest.lower()
    if name == "_AUTHENTICATION":
        if "mechanism" in lower and "handshake failed" in lower:
            return Trouble(
                "authentication",
                f"Kafka at {host} does not accept this way of authentication ({rest}): "
                "check `sasl.mechanism`, and that the port is one with SASL.",
                certain=True,
            )
        return Trouble(
            "authentication",
            f"Authentication at Kafka {host} failed ({rest}): check user and password, or token, in `sasl`.",
            certain=True,
        )
    if name == "_RESOLVE":
        return Trouble(
            "resolve", f"{rest}: check `bootstrapServers`, and DNS where the bridge runs.", certain=True
        )
    if _ESTABLISHED not in text and (name == "_SSL" or "ssl" in lower):
        return Trouble("tls", _tls(host, rest, lower), certain=True)
    return _unreachable(name, host, rest, lower)


def _unreachable(name: str, host: str, rest: str, lower: str) -> Trouble:
    if "connection refused" in lower:
        sentence = (
            f"Nothing listens at Kafka's address {host}: check `bootstrapServers`, or start the broker."
        )
        return Trouble("connect", sentence, certain=False)
    if name in _DISCONNECTS:
        return Trouble("connect", f"Kafka at {host} cannot be reached: {rest}.", certain=False)
    return Trouble("kafka", f"Kafka at {host}: {rest} ({name}).", certain=False)


def _tls(host: str, rest: str, lower: str) -> str:
    if "certificate verify failed" in lower:
        return (
            f"The certificate of Kafka at {host} is not trusted: set `tls.ca` to the authority that "
            f"signed it ({rest})."
        )
    if "wrong version number" in lower or "packet length too long" in lower:
        return f"What listens at {host} does not speak TLS: remove `tls`, or use the port that does."
    if "bad certificate" in lower or "certificate required" in lower or "handshake failure" in lower:
        return (
            f"Kafka at {host} wants a client certificate that it trusts: "
            f"set `tls.certificate` and `tls.key` ({rest})."
        )
    if "closed by peer" in lower:
        return (
            f"Kafka at {host} hung up in the TLS handshake, as a port without TLS does: "
            "remove `tls`, or use the port that has it."
        )
    return f"TLS to Kafka at {host} failed: {rest}."


def delivery_trouble(name: str, text: str, topic: str, acls: Acls) -> Trouble:
    """What it means that a message was not taken.

    Args:
        name: of the error.
        text: librdkafka's own words.
        topic: where the message was to go; "" where that is not known.
        acls: topics -> the commands that give the rights.
    """
    topics = [topic] if topic else []
    if name in {"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"}:
        return authorization(topics, acls(topics))
    if name == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
        commands = " ; ".join(acls(topics))
        return Trouble(
            "authorization",
            f"Kafka does not allow this user its transactional id; an administrator must run: {commands}",
            certain=True,
        )
    if name in {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}:
        return missing(topic)
    return Trouble(
        "kafka", f"Kafka did not take a record for topic {topic}: {shorten(text)} ({name}).", certain=True
    )


def authorization(topics: Sequence[str], commands: Sequence[str], *, lines: bool = False) -> Trouble:
    """A right is missing.

    Args:
        topics: that may not be written to.
        commands: that give the rights.
        lines: one command a line.
    """
    run = "".join(f"\n      {command}" for command in commands) if lines else f" {' ; '.join(commands)}"
    where = f" to topic {', '.join(topics)}" if topics else ""
    return Trouble(
        "authorization",
        f"Kafka does not allow this user to write{where}; an administrator must run:{run}",
        certain=True,
    )


def missing(topic: str, how: str = "") -> Trouble:
    """A topic is missing, and nobody makes it.

    Args:
        topic: its name.
        how: it must be made, as `with cleanup.policy=compact`, or "" where that is not known.
    """
    words = f", {how}," if how else ""
    return Trouble(
        "topic", f"Topic {topic} does not exist: create it{words} or set `createTopics`.", certain=True
    )


def refused_configuration(text: str) -> str:
    """The client refuses what it is configured with; `text` is its own words."""
    return f"Kafka's client refuses its configuration: {shorten(text)}; see `properties`."


def shorten(text: str) -> str:
    """At most some hundred characters, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
