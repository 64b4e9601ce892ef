"""Everything that a user may set of one Kafka sink, and what cannot work whatever the brokers say."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from bridge.logs import Incidents, log
from bridge.secret import Secret
from bridge.settings import Looks, Rule, about, enforce
from sinks.kafka.client import message_max_bytes
from sinks.kafka.messages import OnDelete, OnTooLarge
from sinks.kafka.properties import properties_problems
from sinks.kafka.refusals import client_problems, property_refusals
from sinks.kafka.security import Sasl, Tls
from sinks.kafka.topics import CreateTopics, template_problems

if TYPE_CHECKING:
    from sinks.kafka.admin import Identity

__all__ = ["KafkaOptions"]

_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_SERVER: Final = re.compile(rf"([^\s:,/\[\]]+|\[[0-9A-Fa-f:.%]+\])(:({_PORT}))?")
"""librdkafka takes 9092 where there is no port, and of one that is too large the remainder by 65,536."""


class _Kept:
    """What is known over all openings of a sink."""

    def __init__(self) -> None:
        self.incidents = Incidents(log)
        self.topics_seen: dict[str, Identity] = {}


def _servers_problems(servers: str) -> Iterator[str]:
    given = list(filter(None, (server.strip() for server in servers.split(","))))
    if not given:
        yield "is empty; write the brokers, as `broker:9092`"
    elif "://" in servers:
        yield "has a URL; write `host:port`, and `tls` for TLS"
    elif not all(map(_SERVER.fullmatch, given)):
        yield "is not a list of brokers; write `host:port`, with commas between, as `one:9092,other:9092`"


def _control_problems(control: str | None, topic: str) -> Iterator[str]:
    if "{namespace}" in (control or "") or ("{namespace}" in topic and not control):
        yield "RESYNC and POISON tell about all namespaces: write a `controlTopic` without {namespace}"


@dataclass(frozen=True)
class KafkaOptions:
    """How changes are sent to topics."""

    bootstrap_servers: str = field(
        metadata=about("Brokers to ask first, each `host:port`, with commas.", example="broker:9092")
    )
    topic: str = field(
        metadata=about(
            "Where changes go. `{cluster}`, `{stream}`, `{resource}` (`pods`, `deployments.apps`), "
            "`{group}`, `{kind}` and `{namespace}` are filled in.",
            example='"k8s.{cluster}.{resource}"',
        )
    )
    control_topic: str | None = field(
        default=None,
        metadata=about(
            "Where RESYNC and POISON go; filled in as `topic`. Default: `<topic>.control`.",
            example='"k8s.{cluster}.control"',
        ),
    )
    delivery: Literal["atLeastOnce", "transactional"] = field(
        default="atLeastOnce",
        metadata=about("Whether our place in the log travels with the records.", example="transactional"),
    )
    on_delete: OnDelete = field(
        default="event+tombstone",
        metadata=about(
            "What a deletion sends; a tombstone lets compaction remove the key.", example="tombstone"
        ),
    )
    on_too_large: OnTooLarge = field(
        default="deadLetter",
        metadata=about("What happens to a record that no message can hold.", example="dropManagedFields"),
    )
    create_topics: CreateTopics | None = field(
        default=None,
        metadata=about(
            "Makes topics that do not exist. Default: they must exist.", example="{partitions: 6}"
        ),
    )
    tls: Tls | None = field(
        default=None,
        metadata=about("TLS to the brokers. Default: none.", example="{ca: /etc/kafka/ca.pem}"),
    )
    sasl: Sasl | None = field(
        default=None,
        metadata=about(
            "Authentication. Default: none.",
            example="{mechanism: SCRAM-SHA-512, username: kube-bridge, password: {env: KAFKA_PASSWORD}}",
        ),
    )
    properties: Mapping[str, Secret] = field(
        default_factory=dict,
        metadata=about(
            "Properties of the client by librdkafka's names; those that would break a promise are refused.",
            example="{compression.type: lz4}",
        ),
    )
    _kept: _Kept = field(init=False, repr=False, compare=False, default_factory=_Kept)

    RULES: ClassVar = (
        Rule(("bootstrap_servers",), _servers_problems),
        Rule(("topic",), template_problems),
        Rule(("control_topic",), template_problems),
        Rule(("control_topic", "topic"), _control_problems),
        Rule(("properties",), properties_problems),
        Rule(("properties",), property_refusals, Looks.FILES),
        Rule(("properties", "tls", "delivery"), client_problems, Looks.FILES),
    )

    def __post_init__(self) -> None:
        """Look for what cannot work whatever the brokers say.

        Raises:
            ValueError: names the key and what to write.
        """
        enforce(self)

    @property
    def transactional(self) -> bool:
        """Whether our place in the log travels with the records."""
        return self.delivery == "transactional"

    @property
    def most_message_bytes(self) -> int:
        """The largest message that our client sends, as far as no file has to be read for it."""
        given = self.properties.get("message.max.bytes")
        return message_max_bytes({"message.max.bytes": given} if given is not None and given.value else {})

    @property
    def destination(self) -> str:
        """The brokers and the topics; how they are reached and what is sent may change."""
        return f"{self.bootstrap_servers}\0{self.topic}\0{self.control_topic}"

    @property
    def incidents(self) -> Incidents:
        """What is told of the client: one incident over all the clients that one trouble costs."""
        return self._kept.incidents

    @property
    def topics_seen(self) -> "dict[str, Identity]":
        """Which topics had our names when they were last looked at, over all openings."""
        return self._kept.topics_seen
