"""Records -> what one request says: its id, its headers and its body. No I/O here.

A batch is a JSON array, plain or of CloudEvents: one JSON value, which every framework parses and the
official verifiers of Standard Webhooks expect. (JSON lines would be neither.)
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from bridge.changes.record import Record
from bridge.delivery.sink import Stopped
from sinks.webhook.signing import batch_id

__all__ = ["CloudEvents", "Message", "compose"]

CloudEvents = Literal["structured", "binary", "batch"]
"""How a CloudEvent travels; https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md."""

_EVENT: Final = b"application/cloudevents+json"
_EVENTS: Final = b"application/cloudevents-batch+json"
# Section 3.1.3.2: all that is printable ASCII stands for itself, but for space, double quote and percent.
_UNCHANGED: Final = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
_NAME: Final = re.compile(r"[a-z0-9]+")


class Message(msgspec.Struct, frozen=True):
    """One request, before it is signed and compressed.

    Attributes:
        id: the same in every attempt.
        headers: those that describe the body.
        body: its content.
    """

    id: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


def compose(
    records: Sequence[Record], mode: CloudEvents | None, content_type: str, *, together: bool
) -> Message:
    """What to send.

    Args:
        records: at least one; exactly one unless they go together.
        mode: how a CloudEvent travels; None sends what the format has rendered.
        content_type: of a record's value, where `mode` is None.
        together: an array, also of a single record, so that a receiver always gets the same shape.

    Raises:
        Stopped: the records are no CloudEvents.
    """
    if mode is not None and any(record.attributes is None for record in records):
        raise Stopped(
            f"`cloudEvents: {mode}` needs CloudEvents; write `format: cloudevents` beside it, and restart"
        )
    if together or mode == "batch":
        cloud = mode is not None or content_type.startswith(_EVENT.decode())
        name = batch_id([record.id for record in records])
        return Message(name, _typed(_EVENTS if cloud else b"application/json"), _array(records))
    (record,) = records
    if mode == "binary":
        return Message(record.id, _binary(record.attributes or {}), record.data)
    return Message(record.id, _typed(_EVENT if mode else content_type.encode()), record.value)


def _array(records: Sequence[Record]) -> bytes:
    return b"".join((b"[", b",".join(record.value for record in records), b"]"))


def _typed(media: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", media)]


def _binary(attributes: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    headers = _typed(attributes.get("datacontenttype", "application/json").encode())
    for name, value in attributes.items():
        if name != "datacontenttype" and _NAME.fullmatch(name):
            headers.append((b"ce-" + name.encode(), quote(value, safe=_UNCHANGED).encode()))
    return headers
