"""What a user may set of Kafka, and which of it would break a promise or cannot work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from bridge.secret import Secret
from bridge.settings import Items, Looks, Range, Rule, about, enforce
from sinks.pem import authorities_problem, identity_problem

__all__ = [
    "CreateTopics",
    "Sasl",
    "Tls",
    "properties_problems",
    "property_problem",
]


def _half_an_identity(certificate: Path | None, key: Path | None) -> Iterator[str]:
    if (certificate is None) != (key is None):
        yield "needs both `certificate` and `key`, or neither"


def _identity_problem(certificate: Path | None, key: Path | None) -> Iterator[str]:
    # librdkafka knows a password from `ssl.key.password`, and tells about it.
    return identity_problem(certificate, key, encrypted=True) if key is not None else iter(())


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the brokers; that it is there turns TLS on."""

    ca: Path | None = field(
        default=None,
        metadata=about(
            "PEM of the authorities to trust. Default: those of the system.",
            example="/etc/kafka/ca.pem",
            readable=True,
        ),
    )
    certificate: Path | None = field(
        default=None,
        metadata=about("PEM of our own certificate (mTLS).", example="/etc/kafka/tls.crt", readable=True),
    )
    key: Path | None = field(
        default=None,
        metadata=about("PEM of its private key.", example="/etc/kafka/tls.key", readable=True),
    )
    insecure: bool = field(
        default=False, metadata=about("Trusts any certificate. For experiments only.", example="true")
    )

    RULES: ClassVar = (
        Rule(("certificate", "key"), _half_an_identity),
        Rule(("ca",), authorities_problem, Looks.FILES),
        Rule(("certificate", "key"), _identity_problem, Looks.FILES),
    )

    def __post_init__(self) -> None:
        enforce(self)


def _sasl_problems(
    mechanism: str,
    username: str | None,
    password: Secret | None,
    token: Secret | None,
    token_command: Sequence[str],
) -> Iterator[str]:
    """What a mechanism needs and what has no meaning for it."""
    oauth = mechanism == "OAUTHBEARER"
    given = [key for key, value in (("token", token), ("tokenCommand", token_command)) if value]
    if oauth and not given:
        yield "OAUTHBEARER needs `token`, as `token: {file: /var/run/kafka/token}`, or `tokenCommand`"
    if oauth and len(given) > 1:
        yield "has both `token` and `tokenCommand`; keep one of them"
    if oauth and (username or password):
        yield "has `username` or `password`, which OAUTHBEARER does not use; remove them"
    if not oauth and (not username or password is None):
        yield f"{mechanism} needs `username` and `password`"
    if not oauth and given:
        yield f"has `{given[0]}`, which {mechanism} does not use; remove it"


@dataclass(frozen=True, slots=True)
class Sasl:
    """Who we are to the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = field(
        metadata=about("How we authenticate.", example="SCRAM-SHA-512")
    )
    username: str | None = field(default=None, metadata=about("Of PLAIN and SCRAM.", example="kube-bridge"))
    password: Secret | None = field(
        default=None, metadata=about("Of PLAIN and SCRAM.", example="{file: /etc/kafka/password}")
    )
    token: Secret | None = field(
        default=None,
        metadata=about(
            "Of OAUTHBEARER: a JWT, read again before it expires.", example="{file: /var/run/kafka/token}"
        ),
    )
    token_command: Annotated[
        tuple[str, ...],
        Items(1, "write the program and its arguments", repeats=True),
    ] = field(
        default=(),
        metadata=about(
            "Of OAUTHBEARER, instead of `token`: a program that prints one, and its arguments; run without a "
            "shell, and again before the token expires.",
            example="[get-token, --audience, kafka]",
        ),
    )

    RULES: ClassVar = (
        Rule(
            ("mechanism", "username", "password", "token", "token_command"),
            _sasl_problems,
        ),
    )

    def __post_init__(self) -> None:
        enforce(self)


@dataclass(frozen=True, slots=True)
class CreateTopics:
    """How topics are made that do not exist; that it is there turns it on."""

    partitions: Annotated[int, Range(minimum=1)] = field(
        default=1, metadata=about("Partitions of a data topic; other topics get one.", example="6")
    )
    replication_factor: Annotated[int, Range(minimum=1)] | None = field(
        default=None, metadata=about("Replicas. Default: the broker's own default.", example="3")
    )
    cleanup_policy: Literal["compact", "delete", "compact,delete"] = field(
        default="compact", metadata=about("Of data topics; control topics get `delete`.", example="delete")
    )


_OURS: Final = "it has a key of its own: write"
_REFUSED: Final[Mapping[str, str]] = {
    "bootstrap.servers": f"{_OURS} `bootstrapServers`",
    "metadata.broker.list": f"{_OURS} `bootstrapServers`",
    "security.protocol": f"{_OURS} `tls` and `sasl`",
    "ssl.ca.location": f"{_OURS} `tls.ca`",
    "ssl.certificate.location": f"{_OURS} `tls.certificate`",
    "ssl.key.location": f"{_OURS} `tls.key`",
    "enable.ssl.certificate.verification": f"{_OURS} `tls.insecure`",
    "sasl.mechanism": f"{_OURS} `sasl.mechanism`",
    "sasl.mechanisms": f"{_OURS} `sasl.mechanism`",
    "sasl.username": f"{_OURS} `sasl.username`",
    "sasl.password": f"{_OURS} `sasl.password`",
    "transactional.id": "it is made of the names of cluster and sink, so that a second instance is fenced",
    "message.timeout.ms": "a record that times out in the client would be lost or come out of order",
    "delivery.timeout.ms": "a record that times out in the client would be lost or come out of order",
    "message.send.max.retries": "a record that is given up would be lost or come out of order",
    "retries": "a record that is given up would be lost or come out of order",
    "delivery.report.only.error": "a record is owned when Kafka has confirmed it, so every report is needed",
    "enable.gapless.guarantee": "an error would end the producer although the sink repeats what follows",
    "test.mock.num.brokers": "it would put records into a broker that does not exist",
}
"""Names that cannot be set, each with the reason."""

_PYTHON: Final = frozenset({"logger", "on_delivery", "default.topic.config"})
"""Names that are of the Python client and take no text."""
_MOST_IN_FLIGHT: Final = 5


def _at_most(value: str) -> bool:
    return value.isdigit() and 1 <= int(value) <= _MOST_IN_FLIGHT


_HELD: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "enable.idempotence": (
        lambda value: value == "true",
        "without it a retry can repeat records and change their order",
    ),
    "acks": (
        lambda value: value in {"all", "-1"},
        "a record is owned only when all replicas in sync have it",
    ),
    "request.required.acks": (
        lambda value: value in {"all", "-1"},
        "a record is owned only when all replicas in sync have it",
    ),
    "allow.auto.create.topics": (
        lambda value: value == "false",
        "a topic that the broker makes by itself has no compaction; use `createTopics`",
    ),
    "max.in.flight": (_at_most, "more than 5 can change the order of records"),
    "max.in.flight.requests.per.connection": (
        _at_most,
        "more than 5 can change the order of records",
    ),
    "partitioner": (
        lambda value: value != "random",
        "one object's records would be spread over all partitions and lose their order",
    ),
}
"""Names whose value must hold a promise: whether it does, and which."""


def property_problem(name: str, secret: Secret) -> str | None:
    """Why a property cannot be set, or not to this value: which promise it would break; or None."""
    if name in _REFUSED:
        return f"cannot have `{name}`: {_REFUSED[name]}"
    if name.endswith("_cb") or name in _PYTHON:
        return f"cannot have `{name}`: callbacks cannot be configured"
    if name in _HELD:
        holds, why = _HELD[name]
        if secret.value is None or not holds(secret.value.decode(errors="replace").strip().lower()):
            return f"cannot set `{name}` like that: {why}; remove it"
    if name == "message.max.bytes" and secret.value is not None and not secret.value.isdigit():
        return "has a `message.max.bytes` that is not a number of bytes"
    return None


def properties_problems(properties: Mapping[str, Secret]) -> Iterator[str]:
    """What would break a promise, property by property."""
    yield from filter(None, (property_problem(name, secret) for name, secret in properties.items()))
