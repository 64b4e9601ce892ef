"""A change becomes one line of JSON around the object's bytes, which are never parsed. No I/O here.

Native format, in this order; the object stands last so that a reader may stop before it:

```
type id time cluster stream origin resource apiVersion kind namespace name uid resourceVersion sequence
  ...further members (gone, synthetic, observedAt, partial, snapshot)...  object
```

RESYNC and POISON tell about a stream, so they end after `kind` and their own members.
The `kubernetes` format is what `kubectl get -w --output-watch-events -o json` prints, `type` and `object`
only: it has no place for RESYNC and POISON, so **they are left out of it**.
The `cloudevents` format is in `cloudevents.py`.
"""

import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from bridge.changes.change import Change, StreamInfo, Type
from bridge.changes.cloudevents import CloudEvents
from bridge.changes.identity import CONTROL_TYPES, Bridge, Identity, sequence
from bridge.changes.jsonwrite import Clock, escape, quote
from bridge.changes.record import Record

__all__ = ["Bridge", "Format", "Renderer", "render"]

_DELETED: Final = Type.DELETED.value
_plain: Final = re.compile(r"[A-Za-z0-9_-]*\n[A-Za-z0-9_.:-]*").fullmatch
"""Whether `uid rv <newline> namespace name` needs escaping neither in an id nor in JSON: one look for all."""


class Format(StrEnum):
    """How a sink wants its records."""

    NATIVE = "native"
    KUBERNETES = "kubernetes"
    CLOUDEVENTS = "cloudevents"

    @property
    def content_type(self) -> str:
        """Media type of one record's `value`."""
        return "application/cloudevents+json" if self is Format.CLOUDEVENTS else "application/json"

    @property
    def has_control(self) -> bool:
        """Whether it has RESYNC and POISON, which kubectl does not know."""
        return self is not Format.KUBERNETES


def render(bridge: Bridge, stream: StreamInfo, change: Change, form: Format = Format.NATIVE) -> bytes | None:
    """Render one change; `Renderer` is the same with the constant parts made once.

    Returns:
        One line of JSON without its line end, or None where the format has no such record.
    """
    record = Renderer(bridge, stream, form).render(change, 0)
    return None if record is None else record.value


class Renderer:
    """Renders the changes of one stream for one format."""

    __slots__ = ("_clock", "_context", "_events", "_id_prefix", "_identity", "_kind", "_native", "_stream")

    def __init__(self, bridge: Bridge, stream: StreamInfo, form: Format = Format.NATIVE) -> None:
        self._identity = Identity(bridge, stream)
        self._id_prefix = self._identity.id_prefix
        self._stream = stream
        self._native = form is Format.NATIVE
        self._events = CloudEvents(bridge, stream) if form is Format.CLOUDEVENTS else None
        self._clock = Clock()
        self._kind = f'"apiVersion":{quote(stream.api_version)},"kind":{quote(stream.kind)}'
        self._context = (
            f'"cluster":{quote(bridge.cluster)},"stream":{quote(stream.name)},"origin":"',
            f'","resource":{quote(stream.resource)},{self._kind}',
        )

    def render(self, change: Change, position: int) -> Record | None:
        """The record whose value is one line of JSON without its line end; None where the format has none.

        Args:
            change: its `object`, where there is one, must be JSON text in UTF-8 without a line end.
            position: of the change in the log.

        Raises:
            InvariantError: a control record without an id stem.
        """
        if change.type in CONTROL_TYPES:
            return self._render_control(change, position)
        body = change.object
        if not body:
            body = self._identity_only(change)
        order = sequence(change)
        plain = not (change.extra or change.epoch) and _plain(
            f"{change.uid}{change.rv}\n{change.namespace}{change.name}"
        )
        if plain:
            mark = "D" if change.type == _DELETED else "U"
            identity = f"{self._id_prefix}{change.uid}/{change.rv}/{mark}"
        else:
            identity = self._identity.id(change)
        if self._native:
            value = b"".join((self._head(change, identity, order, escaped=not plain), body, b"}"))
        elif self._events is None:
            value = b'{"type":"%b","object":%b}' % (change.type.encode(), body)
        else:
            key = self._identity.key(change)
            attributes = self._events.of_object(change, identity, key, order)
            value = self._events.structured(attributes, body)
            return Record(position, value, key, identity, order, change, self._stream, attributes, body)
        return Record(position, value, self._identity.key(change), identity, order, change, self._stream)

    def _render_control(self, change: Change, position: int) -> Record | None:
        identity, key = self._identity.id(change), self._identity.key(change)
        if self._events is not None:
            attributes, data = self._events.of_stream(change, identity, key)
            value = self._events.structured(attributes, data)
            return Record(position, value, key, identity, "", change, self._stream, attributes, data)
        if self._native:
            value = self._control(change, identity)
            return Record(position, value, key, identity, "", change, self._stream)
        return None

    def _head(self, change: Change, identity: str, order: str, *, escaped: bool) -> bytes:
        namespace, name, uid, rv, extra = change.namespace, change.name, change.uid, change.rv, change.extra
        if escaped:
            namespace, name, uid, rv, order = map(escape, (namespace, name, uid, rv, order))
        further = _further(extra) if extra else ""
        if not change.object and not (extra and "partial" in extra):
            further += ',"partial":true'
        before, after = self._context
        return (
            f'{{"type":"{change.type}","id":"{identity}","time":"{self._clock.text(change.time)}",'
            f'{before}{change.origin}{after},"namespace":"{namespace}","name":"{name}","uid":"{uid}",'
            f'"resourceVersion":"{rv}","sequence":"{order}"{further},"object":'
        ).encode()

    def _control(self, change: Change, identity: str) -> bytes:
        before, after = self._context
        extra = {key: value for key, value in (change.extra or {}).items() if key != "id"}
        return (
            f'{{"type":"{change.type}","id":"{identity}","time":"{self._clock.text(change.time)}",'
            f"{before}{change.origin}{after}{_further(extra) if extra else ''}}}"
        ).encode()

    def _identity_only(self, change: Change) -> bytes:
        namespace = f'"namespace":{quote(change.namespace)},' if change.namespace else ""
        return (
            f'{{{self._kind},"metadata":{{{namespace}"name":{quote(change.name)},'
            f'"uid":{quote(change.uid)},"resourceVersion":{quote(change.rv)}}}}}'
        ).encode()


def _further(extra: dict[str, Any]) -> str:
    return "," + msgspec.json.encode(extra).decode()[1:-1]
