"""What a configuration means to librdkafka: properties of its clients, and how a client is made of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from bridge.delivery.sink import Stopped
from bridge.secret import Secret, SecretError
from sinks.kafka.errors import refused_configuration
from sinks.kafka.security import Sasl, Tls
from sinks.kafka.token import Token

__all__ = [
    "client",
    "message_max_bytes",
    "producing",
    "read_properties",
    "security_properties",
    "token_of",
    "transactional",
]

T = TypeVar("T")
MESSAGE_MAX_BYTES: Final = 1_000_000
"""librdkafka's default of `message.max.bytes`, a little below a broker's."""
_BATCH_BYTES: Final = 1_000_000
_BATCH_OVERHEAD: Final = 512
_FOREVER: Final = "2147483647"
_TRANSACTION_MS: Final = "60000"


def client(kind: Callable[[dict[str, Any]], T], configuration: Mapping[str, Any]) -> T:
    """Make a client of librdkafka, in a thread where a token is needed: that takes it a second.

    Raises:
        SecretError: there is no token for it.
        Stopped: it refuses its configuration.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 - who only reads a configuration has no client

    token = configuration.get("oauth_cb")
    if isinstance(token, Token):
        token.prepare()
    try:
        return kind(dict(configuration))
    except KafkaException as error:
        raise Stopped(refused_configuration(error.args[0].str())) from error


def read_properties(properties: Mapping[str, Secret]) -> dict[str, str]:
    """Their values as they are now.

    Raises:
        SecretError: one cannot be read, or is no text.
    """
    return {name: _text(secret, f"the property `{name}`") for name, secret in properties.items()}


def security_properties(tls: Tls | None, sasl: Sasl | None, token: Token | None) -> dict[str, Any]:
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


def producing(properties: Mapping[str, Secret], limits: Sequence[int]) -> dict[str, str]:
    """Properties of a producer, beside its connection; a batch must fit into the smallest topic.

    Raises:
        SecretError: one cannot be read.
    """
    batch = min((_BATCH_BYTES, *(limit - _BATCH_OVERHEAD for limit in limits)))
    return {
        "enable.idempotence": "true",
        "acks": "all",
        # As Java's producers, so that everybody finds a key in the same partition.
        "partitioner": "murmur2_random",
        "compression.type": "zstd",
        "linger.ms": "5",
        "batch.size": str(max(batch, 1)),
        # librdkafka retries for ever; a record that timed out would leave a gap in its key's order.
        "message.timeout.ms": _FOREVER,
        # The broker's own would have one partition and no compaction: records wait until the topic is made.
        "allow.auto.create.topics": "false",
        # When a topic gets partitions, keys go where other producers look for them soon.
        "topic.metadata.refresh.interval.ms": "10000",
    } | read_properties(properties)


def transactional(name: str, configuration: Mapping[str, Any]) -> dict[str, str]:
    """What makes a producer of this configuration transactional, under a name."""
    # A record may not outlive its transaction.
    limit = configuration.get("transaction.timeout.ms", _TRANSACTION_MS)
    return {"transactional.id": name, "transaction.timeout.ms": limit, "message.timeout.ms": limit}
