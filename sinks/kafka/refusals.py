"""What librdkafka refuses of a configuration: asked without a connection, before anything starts."""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge.secret import Secret, SecretError
from sinks.kafka.client import producing, read_properties, security_properties, transactional
from sinks.kafka.errors import shorten
from sinks.kafka.properties import property_problem
from sinks.kafka.security import Tls
from sinks.pem import authorities_problem, identity_problem

__all__ = ["client_problems", "property_refusals"]

_LAST: Final = "kube-bridge.none"
"""No property is named so: behind others it shows, in the error, that all of them were taken."""
_QUIET: Final = logging.Logger("kafka.refusals", logging.CRITICAL)  # noqa: LOG001 - one that nothing is attached to


def property_refusals(properties: Mapping[str, Secret]) -> Iterator[str]:
    """What the client would refuse of each property; what cannot be read is told elsewhere.

    No client is made: librdkafka refuses before that.
    """
    for name, secret in properties.items():
        value = _value(name, secret)
        refusal = "" if value is None else _refusal({name: value, _LAST: ""})
        if refusal and _LAST not in refusal:
            yield _sentence(name, refusal, secret)


def client_problems(properties: Mapping[str, Secret], tls: Tls | None, delivery: str) -> Iterator[str]:
    """What does not fit together: a whole client is made, with no address to connect to."""
    if not properties and tls is None:
        return
    if any(_value(name, secret) is None for name, secret in properties.items()) or _tls_problem(tls):
        return
    found = security_properties(tls, None, None) | producing(properties, ())
    if delivery == "transactional":
        found |= transactional("check", found)
    if _LAST not in _refusal(found | {_LAST: ""}):
        return  # one is refused by itself, which `property_refusals` tells
    refusal = _refusal(found)
    if refusal:
        # Whoever keeps a value elsewhere does not want to see it here.
        elsewhere = any(secret.value is None for secret in properties.values())
        why = "" if elsewhere else f": {shorten(refusal).rstrip('.')}"
        keys = [f"`{key}`" for key, given in (("properties", properties), ("tls", tls)) if given]
        yield f"Kafka's client refuses its configuration{why}; see {' and '.join(keys)}."


def _value(name: str, secret: Secret) -> str | None:
    """A value that the client may be asked about."""
    if property_problem(name, secret):
        return None
    try:
        return read_properties({name: secret})[name]
    except SecretError:
        return None


def _refusal(configuration: Mapping[str, Any]) -> str:
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415 - costs 100 ms

    try:
        Producer(dict(configuration), logger=_QUIET)
    except KafkaException as error:
        return " ".join(str(error.args[0].str()).split())
    return ""


def _tls_problem(tls: Tls | None) -> bool:
    if tls is None:
        return False
    if not all(os.access(path, os.R_OK) for path in (tls.ca, tls.certificate, tls.key) if path is not None):
        return True
    return any(authorities_problem(tls.ca)) or any(identity_problem(tls.certificate, tls.key, encrypted=True))


def _sentence(name: str, refusal: str, secret: Secret) -> str:
    if refusal.startswith("No such configuration property"):
        return f"librdkafka has no property `{name}`; remove it, or correct its name"
    # Whoever keeps a value elsewhere does not want to see it here.
    why = f" ({shorten(refusal).rstrip('.')})" if secret.value is not None else ""
    return f"librdkafka refuses the value of `{name}`{why}; correct it"
