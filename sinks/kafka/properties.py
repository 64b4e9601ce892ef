"""What a user may set of librdkafka's own properties: nothing that would break a promise. No I/O here."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bridge.secret import Secret

__all__ = ["properties_problems", "property_problem"]

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
