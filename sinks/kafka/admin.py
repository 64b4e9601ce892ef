"""What must be true of topics before records go there: looked at, and made where that is configured.

Everything here blocks and is called in a thread; it gives up soon when the connection is in trouble.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from sinks.kafka.client import client
from sinks.kafka.errors import Acls, Trouble, authorization, shorten
from sinks.kafka.probe import probe
from sinks.kafka.topics import CreateTopics
from sinks.kafka.voice import Voice

__all__ = ["Broken", "Findings", "Identity", "Preflight", "Wanted"]

T = TypeVar("T")
_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 2.0
_GRACE_SECONDS: Final = 1.0
_SLICE_SECONDS: Final = 0.1
_UNKNOWN: Final = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"}


class Broken(Exception):
    """Kafka cannot be asked; why is in `trouble`."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.sentence)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Wanted:
    """Topics that a sink needs.

    Attributes:
        data: where changes go; compacted, where tombstones go there.
        control: where RESYNC and POISON go.
        cursor: where a transactional sink keeps its place, "" without.
        tombstones: deletions end in a tombstone.
    """

    data: Sequence[str]
    control: Sequence[str] = ()
    cursor: str = ""
    tombstones: bool = True

    @property
    def names(self) -> list[str]:
        """All of them, once."""
        return sorted({*self.data, *self.control, *([self.cursor] if self.cursor else [])})

    def how(self, name: str) -> str:
        """How a person makes it."""
        if name == self.cursor:
            return "with one partition and cleanup.policy=compact"
        if name not in self.data:
            return "with cleanup.policy=delete"
        return "with cleanup.policy=compact" if self.tombstones else ""


class Identity(NamedTuple):
    """What tells a topic from a later one of the same name.

    Attributes:
        id: Kafka's own.
        partitions: how many it has.
    """

    id: str
    partitions: int


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        troubles: records cannot go to these topics.
        advice: sentences about what will hurt later.
        limits: topic -> its `max.message.bytes`.
        missing: topics that do not exist.
        forbidden: topics that may not be written to.
        identities: of topics that do.
    """

    troubles: list[Trouble] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    identities: dict[str, Identity] = field(default_factory=dict)


class Preflight:
    """Looks at topics with a client of its own, until `close`."""

    def __init__(self, configuration: Mapping[str, Any], voice: Voice, servers: str, acls: Acls) -> None:
        """`configuration` is librdkafka's, without its callbacks."""
        callbacks = {"error_cb": voice.error, "logger": voice.logger}
        self._admin = client(AdminClient, dict(configuration) | callbacks)
        self._voice = voice
        self._servers = servers
        self._acls = acls
        protocol = str(configuration.get("security.protocol", ""))
        self._tls, self._sasl = protocol.endswith("SSL"), protocol.startswith("SASL")

    def close(self) -> None:
        """End the client here and now; nothing may be asked any more.

        Left to the garbage collector, it could end in its own thread; then librdkafka aborts the process.
        """
        del self._admin

    def look(self, wanted: Wanted) -> Findings:
        """Look at topics, and change nothing.

        Raises:
            Broken: Kafka cannot be asked.
        """
        found = Findings()
        described = self._admin.describe_topics(
            TopicCollection(wanted.names), include_authorized_operations=True, request_timeout=_SECONDS
        )
        there = []
        for name, future in described.items():
            try:
                topic = self._answer(future)
            except KafkaException as error:
                code = error.args[0].name()
                if code in _UNKNOWN:
                    found.missing.append(name)
                elif code == "TOPIC_AUTHORIZATION_FAILED":
                    found.forbidden.append(name)
                else:
                    raise self._broken(error) from error
                continue
            there.append(name)
            found.identities[name] = _identity(topic)
            if AclOperation.WRITE not in (topic.authorized_operations or [AclOperation.WRITE]):
                found.forbidden.append(name)
            if name == wanted.cursor and len(topic.partitions) != 1:
                found.troubles.append(_cursor_trouble(name, f"has {len(topic.partitions)} partitions"))
        self._configurations(there, wanted, found)
        return found

    def look_for(self, made: Sequence[str], wanted: Wanted) -> Findings:
        """As `look`, when what was just made is known to the broker that is asked; for some seconds at most.

        Raises:
            Broken: Kafka cannot be asked.
        """
        deadline = time.monotonic() + _SECONDS
        while True:
            found = self.look(wanted)
            if not set(made).intersection(found.missing) or time.monotonic() > deadline:
                return found
            time.sleep(_SLICE_SECONDS)

    def identities(self, names: Sequence[str]) -> dict[str, Identity | None]:
        """Which topics have these names now, None where there is none; without those that we may not see.

        Raises:
            Broken: Kafka cannot be asked.
        """
        found: dict[str, Identity | None] = {}
        for name, future in self._admin.describe_topics(
            TopicCollection(list(names)), request_timeout=_SECONDS
        ).items():
            try:
                found[name] = _identity(self._answer(future))
            except KafkaException as error:
                code = error.args[0].name()
                if code in _UNKNOWN:
                    found[name] = None
                elif code != "TOPIC_AUTHORIZATION_FAILED":
                    raise self._broken(error) from error
        return found

    def create(
        self, names: Sequence[str], wanted: Wanted, how: CreateTopics, *, rehearse: bool = False
    ) -> list[str]:
        """Make topics; one that somebody else has just made is left as it is.

        Args:
            names: of these.
            wanted: what they are for.
            how: they are made.
            rehearse: only ask whether they could be.

        Returns:
            Those that were made.

        Raises:
            Broken: Kafka refuses to.
        """
        done: list[str] = []
        made = self._admin.create_topics(
            [_new_topic(name, wanted, how) for name in names],
            request_timeout=_SECONDS,
            validate_only=rehearse,
        )
        for name, future in made.items():
            try:
                self._answer(future)
            except KafkaException as error:
                code = error.args[0].name()
                if code == "TOPIC_ALREADY_EXISTS":
                    continue
                if code in {"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"}:
                    raise Broken(authorization([name], self._acls([name]))) from error
                sentence = f"Topic {name} cannot be created ({error.args[0].str()}): check `createTopics`."
                raise Broken(Trouble("topic", sentence, certain=True)) from error
            done.append(name)
        return done

    def limits(self, names: Sequence[str]) -> dict[str, int]:
        """What these topics take, without those whose configuration we may not see.

        Raises:
            Broken: Kafka cannot be asked.
        """
        found = {name: _limit(values) for name, values in self._values(names) if values is not None}
        return {name: limit for name, limit in found.items() if limit is not None}

    def _configurations(self, names: Sequence[str], wanted: Wanted, found: Findings) -> None:
        for name, values in self._values(names):
            if values is None:
                found.advice.append(
                    f"The configuration of topic {name} cannot be read, so compaction and its largest "
                    "message are not checked; allow the operation DescribeConfigs."
                )
                continue
            limit = _limit(values)
            if limit is not None:
                found.limits[name] = limit
            policy = values.get("cleanup.policy") or ""
            if name == wanted.cursor and policy != "compact":
                found.troubles.append(_cursor_trouble(name, f"has cleanup.policy={policy}"))
            if name in wanted.control and name not in wanted.data and "compact" in policy:
                found.advice.append(
                    f"The control topic {name} has cleanup.policy={policy}, which keeps only the last RESYNC "
                    "or POISON of each resource: set cleanup.policy=delete."
                )
            if name in wanted.data and wanted.tombstones and "compact" not in policy:
                found.advice.append(
                    f"Topic {name} has cleanup.policy={policy}, so tombstones remove nothing: "
                    "set cleanup.policy=compact, or `onDelete: event`."
                )

    def _values(self, names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str | None] | None]]:
        """Topics with their configuration; None where that may not be seen."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return
        for resource, future in self._admin.describe_configs(resources, request_timeout=_SECONDS).items():
            try:
                entries = self._answer(future)
            except KafkaException:
                yield resource.name, None
            else:
                yield resource.name, {key: entry.value for key, entry in entries.items()}

    def _answer(self, future: "Future[T]") -> T:
        """The answer, or sooner why there will be none.

        Raises:
            Broken: the connection is in trouble.
            KafkaException: the broker's own refusal.
        """
        begun, probed = time.monotonic(), False
        found: Trouble | None = None
        while not future.done():
            self._admin.poll(_SLICE_SECONDS)  # what the connection has to say, or a moment
            waited, trouble = time.monotonic() - begun, self._voice.trouble or found
            if not probed and waited > _PROBE_SECONDS:
                probed = True
                if trouble is None or not trouble.certain:
                    trouble = found = self._probe()
            if trouble is not None and trouble.certain and waited > _GRACE_SECONDS:
                raise Broken(trouble)
            if waited > _SECONDS:
                raise self._broken(None, found)
        return future.result()

    def _broken(self, error: KafkaException | None, found: Trouble | None = None) -> Broken:
        """What is known of it; `found` is what a probe has said."""
        certain = self._voice.trouble if self._voice.trouble and self._voice.trouble.certain else None
        trouble = certain or found or self._probe() or self._voice.trouble
        if trouble is None:
            why = f" ({shorten(error.args[0].str())})" if error is not None else ""
            trouble = Trouble("silent", f"Kafka at {self._servers} does not answer{why}.", certain=False)
        return Broken(trouble)

    def _probe(self) -> Trouble | None:
        return probe(self._servers, tls=self._tls, sasl=self._sasl)


def _limit(values: Mapping[str, str | None]) -> int | None:
    text = values.get("max.message.bytes") or ""
    return int(text) if text.isdigit() else None


def _identity(topic: Any) -> Identity:
    return Identity(str(topic.topic_id), len(topic.partitions))


def _cursor_trouble(name: str, what: str) -> Trouble:
    return Trouble(
        "cursor",
        f"The cursor topic {name} {what}; it must have one partition and cleanup.policy=compact, "
        "or the place in the log is lost: alter it, or delete it and let `createTopics` make it.",
        certain=True,
    )


def _new_topic(name: str, wanted: Wanted, how: CreateTopics) -> NewTopic:
    if name == wanted.cursor:
        # A record a transaction: small segments, or compaction would begin after a gigabyte of them.
        partitions, config = 1, {"cleanup.policy": "compact", "segment.bytes": "16777216"}
    elif name in wanted.data:
        partitions, config = how.partitions, {"cleanup.policy": how.cleanup_policy}
    else:
        partitions, config = 1, {"cleanup.policy": "delete"}
    replicas = -1 if how.replication_factor is None else how.replication_factor
    return NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=config)
