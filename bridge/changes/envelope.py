"""A change becomes one line of JSON around the object's bytes, which are never parsed. No I/O here.

Native format, in this order; the object stands last so that a reader may stop before it:

```
type id time cluster stream origin resource apiVersion kind namespace name uid resourceVersion sequence
  ...further members (gone, synthetic, observedAt, partial, snapshot)...  object
```

RESYNC and POISON tell about a stream, so they end after `kind` and their own members.
The `kubernetes` format is what `kubectl get -w --output-watch-events -o json` prints, `type` and `object`
only: it has no place for RESYNC and POISON, so **they are left out of it**.
"""

import re
from enum import StrEnum
from time import gmtime, strftime
from typing import Any, Final

import msgspec

from bridge.changes.change import Change, StreamInfo, Type
from bridge.changes.identity import CONTROL_TYPES, Bridge, Identity, sequence
from bridge.changes.record import Record

__all__ = ["Bridge", "Format", "Renderer", "render"]

_DELETED: Final = Type.DELETED.value
_plain: Final = re.compile(r"[A-Za-z0-9_-]*\n[A-Za-z0-9_.:-]*").fullmatch
"""Whether `uid rv <newline> namespace name` needs escaping neither in an id nor in JSON: one look for all."""


class Format(StrEnum):
    """How a sink wants its records."""

    NATIVE = "native"
    KUBERNETES = "kubernetes"


def render(bridge: Bridge, stream: StreamInfo, change: Change, form: Format = Format.NATIVE) -> bytes | None:
    """Render one change; `Renderer` is the same with the constant parts made once.

    Returns:
        One line of JSON without its line end, or None where the format has no such record.
    """
    record = Renderer(bridge, stream, form).render(change, 0)
    return None if record is None else record.value


class Renderer:
    """Renders the changes of one stream for one format."""

    __slots__ = ("_clock", "_context", "_id_prefix", "_identity", "_kind", "_native", "_stream")

    def __init__(self, bridge: Bridge, stream: StreamInfo, form: Format = Format.NATIVE) -> None:
        self._identity = Identity(bridge, stream)
        self._id_prefix = self._identity.id_prefix
        self._stream = stream
        self._native = form is Format.NATIVE
        self._clock = _Clock()
        self._kind = f'"apiVersion":{_quote(stream.api_version)},"kind":{_quote(stream.kind)}'
        self._context = (
            f'"cluster":{_quote(bridge.cluster)},"stream":{_quote(stream.name)},"origin":"',
            f'","resource":{_quote(stream.resource)},{self._kind}',
        )

    def render(self, change: Change, position: int) -> Record | None:
        """The record whose value is one line of JSON without its line end; None where the format has none.

        Args:
            change: its `object`, where there is one, must be JSON text in UTF-8.
            position: of the change in the log.

        Raises:
            InvariantError: a control record without an id stem.
        """
        if change.type in CONTROL_TYPES:
            if not self._native:
                return None
            identity = self._identity.id(change)
            value = self._control(change, identity)
            return Record(position, value, self._identity.key(change), identity, "", change, self._stream)
        body = change.object
        if not body:
            body = self._identity_only(change)
        elif b"\n" in body:
            # Only whitespace between tokens can be a raw line end; JSON strings escape theirs.
            body = body.replace(b"\n", b" ").replace(b"\r", b" ")
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
        else:
            value = b'{"type":"%b","object":%b}' % (change.type.encode(), body)
        return Record(position, value, self._identity.key(change), identity, order, change, self._stream)

    def _head(self, change: Change, identity: str, order: str, *, escaped: bool) -> bytes:
        namespace, name, uid, rv, extra = change.namespace, change.name, change.uid, change.rv, change.extra
        if escaped:
            namespace, name, uid, rv, order = map(_escape, (namespace, name, uid, rv, order))
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
        namespace = f'"namespace":{_quote(change.namespace)},' if change.namespace else ""
        return (
            f'{{{self._kind},"metadata":{{{namespace}"name":{_quote(change.name)},'
            f'"uid":{_quote(change.uid)},"resourceVersion":{_quote(change.rv)}}}}}'
        ).encode()


class _Clock:
    """RFC 3339 text of microseconds since the epoch; the part above the second is kept from call to call."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, time: int) -> str:
        second, micros = divmod(time, 1_000_000)
        if second != self._second:
            self._second = second
            self._text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        # Cheaper than a format specification: a leading 1 keeps the zeros.
        return f"{self._text}.{str(1_000_000 + micros)[1:]}Z"


def _further(extra: dict[str, Any]) -> str:
    return "," + msgspec.json.encode(extra).decode()[1:-1]


def _quote(text: str) -> str:
    return f'"{_escape(text)}"'


def _escape(text: str) -> str:
    try:
        return msgspec.json.encode(text).decode()[1:-1]
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can carry as an escape and UTF-8 cannot.
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else _escape(c) for c in text)
