"""A record becomes the messages that carry it. No I/O here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

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


class Refused(Exception):
    """This record can never be sent; one sentence says why."""


class Composer:
    """Makes messages of records, for one sink.

    Attributes:
        limits: topic -> what a message there may have.
        control: topics that RESYNC and POISON were sent to.
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
        self._topics = topics
        self._event = on_delete != "tombstone"
        self._tombstone = on_delete != "event"
        self._on_too_large = on_too_large
        self._content_type: list[Header] = (
            [] if content_type == _PLAIN_CONTENT else [("content-type", content_type)]
        )
        self._shared: dict[tuple[str, str, str], Sequence[Header]] = {}
        self._max_bytes = max_bytes
        self._sound: set[str] = set()

    def topic(self, record: Record) -> str:
        """Where a record goes."""
        if record.change.type in CONTROL_TYPES:
            name = self._topics.control(record.stream)
            self.control.add(name)
            return name
        return self._topics.data(record.stream, record.change.namespace)

    def compose(self, record: Record) -> Sequence[Message]:
        """The messages of one record, in order; the record is owned when all of them are.

        Raises:
            Refused: no topic can take it.
            Stopped: it is too large, and the sink is to halt then.
        """
        change = record.change
        topic = self.topic(record)
        key = record.key.encode("utf-8", "surrogatepass")
        shared = change.type, record.stream.name, change.origin
        headers: list[Header] = [
            ("id", record.id),
            ("uid", change.uid),
            ("resourceVersion", change.rv),
            ("sequence", record.sequence),
            *(self._shared.get(shared) or self._share(*shared)),
        ]
        event = Message(topic, key, record.value, headers)
        if change.type != _DELETED:
            return (self._fitting(event, record),)
        tombstone = Message(topic, key, None, headers)
        if not self._event:
            return (tombstone,)
        event = self._fitting(event, record)
        return (event, tombstone) if self._tombstone else (event,)

    def _share(self, type_: str, stream: str, origin: str) -> Sequence[Header]:
        """Headers that many records have; there are few of them."""
        found = self._shared[type_, stream, origin] = (
            ("type", type_),
            ("stream", stream),
            ("origin", origin),
            *self._content_type,
        )
        return found

    def _fitting(self, message: Message, record: Record) -> Message:
        if message.topic not in self._sound:
            problem = name_problem(message.topic)
            if problem is not None:
                raise Refused(f"Kafka cannot take this record: {problem}.")
            self._sound.add(message.topic)
        limit = min(self._max_bytes, self.limits.get(message.topic, self._max_bytes))
        # The object is nearly all of it: only who comes near the limit is measured.
        if len(record.value) + 4096 <= limit or message.size <= limit:
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
