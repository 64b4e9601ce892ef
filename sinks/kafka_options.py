"""What a user may set of Kafka, and what that is for librdkafka. No I/O but the reading of secrets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from bridge.secret import Secret, SecretError
from bridge.settings import Items, Range, about
from sinks.kafka_token import Token

__all__ = [
    "CreateTopics",
    "Sasl",
    "Tls",
    "check_properties",
    "check_sasl",
    "message_max_bytes",
    "read_properties",
    "security",
    "token_of",
]

MESSAGE_MAX_BYTES: Final = 1_000_000
"""librdkafka's default of `message.max.bytes`, a little below a broker's."""


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


def check_properties(properties: Mapping[str, Secret]) -> None:
    """Look for properties that would break a promise.

    Raises:
        ValueError: names the property and the promise.
    """
    for name, secret in properties.items():
        if name in _REFUSED:
            raise ValueError(f"`properties` cannot have `{name}`: {_REFUSED[name]}")
        if name.endswith("_cb"):
            raise ValueError(f"`properties` cannot have `{name}`: callbacks cannot be configured")
        if name in _HELD:
            holds, why = _HELD[name]
            if secret.value is None or not holds(secret.value.decode(errors="replace").strip().lower()):
                raise ValueError(f"`properties` cannot set `{name}` like that: {why}; remove it")
    text = properties.get("message.max.bytes")
    if text is not None and text.value is not None and not text.value.isdigit():
        raise ValueError("`properties` has a `message.max.bytes` that is not a number of bytes")


def check_sasl(sasl: Sasl) -> None:
    """Look for what a mechanism needs.

    Raises:
        ValueError: names the key that is missing or has no meaning.
    """
    oauth = sasl.mechanism == "OAUTHBEARER"
    if oauth and sasl.token is None and not sasl.token_command:
        raise ValueError(
            "`sasl` needs `token` for OAUTHBEARER, as `token: {file: /var/run/kafka/token}`, "
            "or `tokenCommand`"
        )
    if oauth and sasl.token is not None and sasl.token_command:
        raise ValueError("`sasl` has both `token` and `tokenCommand`; keep one of them")
    if oauth and (sasl.username or sasl.password):
        raise ValueError("`sasl` has `username` or `password`, which OAUTHBEARER does not use; remove them")
    if not oauth and (not sasl.username or sasl.password is None):
        raise ValueError(f"`sasl` needs `username` and `password` for {sasl.mechanism}")
    if not oauth and (sasl.token is not None or sasl.token_command):
        key = "token" if sasl.token is not None else "tokenCommand"
        raise ValueError(f"`sasl` has `{key}`, which {sasl.mechanism} does not use; remove it")


def read_properties(properties: Mapping[str, Secret]) -> dict[str, str]:
    """Their values as they are now.

    Raises:
        SecretError: one cannot be read, or is no text.
    """
    return {name: _text(secret, f"the property `{name}`") for name, secret in properties.items()}


def security(tls: Tls | None, sasl: Sasl | None, token: Token | None) -> dict[str, Any]:
    """Librdkafka's properties for `tls` and `sasl`, with secrets as they are now.

    Args:
        tls: as configured.
        sasl: as configured.
        token: of OAUTHBEARER; clients that share it share its runs.

    Raises:
        SecretError: a secret cannot be read.
    """
    protocol = "SASL_" if sasl is not None else ""
    found: dict[str, Any] = {"security.protocol": protocol + ("PLAINTEXT" if tls is None else "SSL")}
    if tls is not None:
        files = {
            "ssl.ca.location": tls.ca,
            "ssl.certificate.location": tls.certificate,
            "ssl.key.location": tls.key,
        }
        found |= {name: str(path) for name, path in files.items() if path is not None}
        if tls.insecure:
            found["enable.ssl.certificate.verification"] = "false"
    if sasl is not None:
        found["sasl.mechanism"] = sasl.mechanism
        if token is not None:
            found["oauth_cb"] = token
        else:
            found["sasl.username"] = sasl.username
            found["sasl.password"] = _text(sasl.password, "`sasl.password`")
    return found


def _text(secret: Secret | None, what: str) -> str:
    if secret is None:
        raise SecretError(f"{what} has no value")
    try:
        return secret.read().decode()
    except UnicodeDecodeError as error:
        raise SecretError(f"{what} is not text in UTF-8") from error


def token_of(sasl: Sasl | None) -> Token | None:
    """The token that a mechanism needs, from where it is configured."""
    if sasl is None or (sasl.token is None and not sasl.token_command):
        return None
    return Token(sasl.token if sasl.token is not None else sasl.token_command)


def message_max_bytes(properties: Mapping[str, Secret]) -> int:
    """The largest message that our client may send."""
    text = read_properties(properties).get("message.max.bytes", "")
    return int(text) if text.isdigit() else MESSAGE_MAX_BYTES
