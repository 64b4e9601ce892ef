"""A record becomes the messages that carry it. No I/O here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from bridge.changes.change import Type
from bridge.changes.identity import CONTROL_TYPES
from bridge.changes.record import Record
from bridge.delivery.sink import Stopped
from sinks.kafka.topics import Topics, name_problem

__all__ = ["Composer", "Message", "OnDelete", "OnTooLarge", "without_managed_fields"]

OnDelete = Literal["event+tombstone", "event", "tombstone"]
OnTooLarge = Literal["deadLetter", "dropManagedFields", "halt"]

_DELETED: Final = Type.DELETED.value
_PLAIN_CONTENT: Final = "application/json"
_MESSAGE_OVERHEAD: Final = 100
"""What a batch and a record of it have around key, value and headers, at most."""
_HEADER_OVERHEAD: Final = 10
_NEAR: Final = 4096
"""More than key and headers have."""
Header = tuple[str, str | bytes | None]
"""As the client takes them; ours are text."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of Kafka."""

    topic: str
    key: bytes
    value: bytes | None
    headers: list[Header]

    @property
    def size(self) -> int:
        """Bytes that it takes uncompressed in a batch of its own, at most."""
        headers = sum(len(name) + len(str(text).encode()) + _HEADER_OVERHEAD for name, text in self.headers)
        return len(self.key) + len(self.value or b"") + headers + _MESSAGE_OVERHEAD


class _Route(NamedTuple):
    """Where records of one type, origin, stream and namespace go, and the headers that they share."""

    topic: str
    headers: Sequence[Header]


class Refused(Exception):
    """This record can never be sent; one sentence says why."""


class Composer:
    """Makes messages of records, for one sink.

    Attributes:
        limits: topic -> what a message there may have.
        control: topics that RESYNC and POISON were sent to.
        streams: topic -> names of streams whose changes were sent to it.
    """

    def __init__(
        self,
        topics: Topics,
        on_delete: OnDelete,
        on_too_large: OnTooLarge,
        content_type: str,
        max_bytes: int,
    ) -> None:
        """`max_bytes` is what our own client sends; `limits` adds what each topic takes."""
        self.limits: dict[str, int] = {}
        self.control: set[str] = set()
        self.streams: dict[str, set[str]] = {}
        self._topics = topics
        self._event = on_delete != "tombstone"
        self._tombstone = on_delete != "event"
        self._on_too_large = on_too_large
        self._content_type: list[Header] = (
            [] if content_type == _PLAIN_CONTENT else [("content-type", content_type)]
        )
        self._routes: dict[tuple[str, str, str, str], _Route] = {}
        self._max_bytes = max_bytes

    def compose(self, record: Record) -> Sequence[Message]:
        """The messages of one record, in order; the record is owned when all of them are.

        Raises:
            Refused: no topic can take it.
            Stopped: it is too large, and the sink is to halt then.
        """
        change = record.change
        namespace = change.namespace if self._topics.namespaced else ""
        way = change.type, change.origin, record.stream.name, namespace
        topic, shared = self._routes.get(way) or self._route(way, record)
        key = record.key.encode("utf-8", "surrogatepass")
        headers: list[Header] = [
            ("id", record.id),
            ("uid", change.uid),
            ("resourceVersion", change.rv),
            ("sequence", record.sequence),
            *shared,
        ]
        tombstone = change.type == _DELETED and self._tombstone
        if tombstone and not self._event:
            return (Message(topic, key, None, headers),)
        event = Message(topic, key, record.value, headers)
        limit = min(self.limits.get(topic, self._max_bytes), self._max_bytes)
        # The object is nearly all of it: only who comes near the limit is measured.
        if len(record.value) + _NEAR > limit:
            event = self._fitting(event, limit, record)
        return (event, Message(topic, key, None, headers)) if tombstone else (event,)

    def _route(self, way: tuple[str, str, str, str], record: Record) -> _Route:
        """Made for the first of many records; raises `Refused` where Kafka can have no such topic."""
        type_, origin, stream, namespace = way
        control = type_ in CONTROL_TYPES
        topic = (
            self._topics.control(record.stream) if control else self._topics.data(record.stream, namespace)
        )
        problem = name_problem(topic)
        if problem is not None:
            raise Refused(f"Kafka cannot take this record: {problem}.")
        if control:
            self.control.add(topic)
        else:
            self.streams.setdefault(topic, set()).add(stream)
        named: list[Header] = [("type", type_), ("stream", stream), ("origin", origin)]
        route = self._routes[way] = _Route(topic, (*named, *self._content_type))
        return route

    def _fitting(self, message: Message, limit: int, record: Record) -> Message:
        if message.size <= limit:
            return message
        if self._on_too_large == "dropManagedFields" and message.value is not None:
            smaller = msgspec.structs.replace(message, value=without_managed_fields(message.value))
            if smaller.size <= limit:
                return smaller
        sentence = (
            f"The record has {message.size} bytes, more than the {limit} that topic {message.topic} and "
            "this client take; raise max.message.bytes of the topic and message.max.bytes in `properties`."
        )
        if self._on_too_large == "halt":
            raise Stopped(f"{sentence} (record {record.id}, `onTooLarge: halt`)")
        raise Refused(sentence)


def without_managed_fields(value: bytes) -> bytes:
    """The same JSON without `metadata.managedFields` of its object, in any of our formats.

    Python's own parser keeps integers of any size, so the rest stays equal in value.
    """
    document = json.loads(value)
    data = document.get("data")
    holders: list[Any] = [document.get("object"), data]
    if isinstance(data, Mapping):
        holders.append(data.get("object"))
    for holder in holders:
        metadata = holder.get("metadata") if isinstance(holder, dict) else None
        if isinstance(metadata, dict):
            metadata.pop("managedFields", None)
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(document, separators=(",", ":")).encode()
