"""Kafka: each change a message of its object's key, so that a compacted topic equals the cluster.

A record is owned when all replicas in sync have confirmed all of its messages. With `delivery: atLeastOnce`
a replay after a crash repeats a suffix; with `transactional` the place in the log travels in the same
transaction as the records (`transactions`), so a committed reader sees each of them once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

import trio

from bridge.delivery.sink import Context, Delivery, Overlap, Resume
from bridge.errors import InvariantError
from bridge.logs import Incidents, log
from bridge.secret import Secret
from bridge.settings import Looks, Rule, about, enforce
from sinks.kafka.messages import OnDelete, OnTooLarge
from sinks.kafka.options import CreateTopics, Sasl, Tls, properties_problems
from sinks.kafka.refusals import client_problems, property_refusals
from sinks.kafka.topics import template_problems

if TYPE_CHECKING:
    from sinks.kafka.admin import Identity
    from sinks.kafka.session import Session

__all__ = ["Kafka"]

_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_SERVER: Final = re.compile(rf"([^\s:,/\[\]]+|\[[0-9A-Fa-f:.%]+\])(:({_PORT}))?")
"""librdkafka takes 9092 where there is no port, and of one that is too large the remainder by 65,536."""


class _Runtime:
    """What an open sink holds beside its options."""

    session: "Session | None" = None
    nursery: AbstractAsyncContextManager[trio.Nursery] | None = None

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
class Kafka:
    """Sends each change to a topic."""

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
        repr=False,
    )
    on_delete: OnDelete = field(
        default="event+tombstone",
        metadata=about(
            "What a deletion sends; a tombstone lets compaction remove the key.", example="tombstone"
        ),
        repr=False,
    )
    on_too_large: OnTooLarge = field(
        default="deadLetter",
        metadata=about("What happens to a record that no message can hold.", example="dropManagedFields"),
        repr=False,
    )
    create_topics: CreateTopics | None = field(
        default=None,
        metadata=about(
            "Makes topics that do not exist. Default: they must exist.", example="{partitions: 6}"
        ),
        repr=False,
    )
    tls: Tls | None = field(
        default=None,
        metadata=about("TLS to the brokers. Default: none.", example="{ca: /etc/kafka/ca.pem}"),
        repr=False,
    )
    sasl: Sasl | None = field(
        default=None,
        metadata=about(
            "Authentication. Default: none.",
            example="{mechanism: SCRAM-SHA-512, username: kube-bridge, password: {env: KAFKA_PASSWORD}}",
        ),
        repr=False,
    )
    properties: Mapping[str, Secret] = field(
        default_factory=dict,
        metadata=about(
            "Properties of the client by librdkafka's names; those that would break a promise are refused.",
            example="{compression.type: lz4}",
        ),
        repr=False,
    )
    _runtime: _Runtime = field(init=False, repr=False, compare=False, default_factory=_Runtime)

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
    def destination(self) -> str:
        """The brokers and the topics; how they are reached and what is sent may change."""
        return f"{self.bootstrap_servers}\0{self.topic}\0{self.control_topic}"

    @property
    def incidents(self) -> Incidents:
        """What is told of the client: one incident over all the clients that one trouble costs."""
        return self._runtime.incidents

    @property
    def topics_seen(self) -> "dict[str, Identity]":
        """Which topics had our names when they were last looked at, over all openings."""
        return self._runtime.topics_seen

    @property
    def max_records(self) -> int:
        """More where each batch costs a transaction."""
        return 5000 if self.transactional else 1000

    @property
    def max_bytes(self) -> int:
        """As `max_records`: a commit takes some tens of milliseconds however much it commits."""
        return 8 << 20 if self.transactional else 2 << 20

    @property
    def overlap(self) -> Overlap:
        """Batches follow each other without waiting, unless each is a transaction."""
        return Overlap.NONE if self.transactional else Overlap.PIPELINE

    @property
    def concurrency(self) -> int:
        """How many batches may be on their way."""
        return 1 if self.transactional else 5

    @property
    def ownership(self) -> str:
        """What it means that Kafka owns a record."""
        if self.transactional:
            return "committed together with our place in the log, once each for committed readers"
        return "confirmed by all replicas in sync"

    async def __aenter__(self) -> Self:
        """Nothing is reached before `open`, which knows the names."""
        from sinks.kafka.session import Session  # noqa: PLC0415 - the client costs 100 ms to import

        nursery = trio.open_nursery()
        self._runtime.session = Session(self, await nursery.__aenter__())
        self._runtime.nursery = nursery
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give what is on its way a moment; abort an open transaction, so that no reader waits for it."""
        runtime = self._runtime
        session, nursery = runtime.session, runtime.nursery
        runtime.session = runtime.nursery = None
        try:
            if session is not None:
                await session.close()
        finally:
            if nursery is not None:
                # An error of the body is not the nursery's: it would come out wrapped in a group.
                await nursery.__aexit__(None, None, None)

    async def open(self, resume: Resume, context: Context) -> Resume:
        """Look at the topics, make those that are missing if so configured, and begin.

        Returns:
            What was given; a transactional sink returns the place that Kafka has.

        Raises:
            Unavailable: Kafka cannot be reached, or a topic or a right is missing; one sentence says which.
            Stopped: a topic's name is illegal, or the client refuses its configuration.
        """
        return await self._session().open(resume, context)

    async def deliver(self, batch: Delivery) -> None:
        """Send the records; return when Kafka owns all of their messages.

        Cancelled, records may still arrive; those that come again before `open` are not sent twice.

        Raises:
            Unavailable: from this batch on all must come again.
            Rejected: no message can hold these; the others are owned.
            Stopped: `onTooLarge: halt`, or another instance has taken over the transactional id.
        """
        await self._session().deliver(batch)

    async def problems(self, context: Context) -> Sequence[str]:
        """What keeps it from working: unreachable, topics, rights, compaction. Changes nothing."""
        from sinks.kafka.session import problems  # noqa: PLC0415 - as above

        return await problems(self, context)

    def _session(self) -> "Session":
        if self._runtime.session is None:
            raise InvariantError("A Kafka sink was used while it was closed.")
        return self._runtime.session
