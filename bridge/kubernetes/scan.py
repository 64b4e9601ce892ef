"""What one watch line or one list page says, read from its bytes. No I/O here.

An object is never parsed as a whole: one pass of msgspec checks the grammar of every byte and takes out
the identity; the object's own bytes go on as they came. A line of 6.2 KB costs 7.4 us, 5.2 of them for the
grammar. An anchored regular expression on the head of the line alone would cost 1.0 us, but it proves
nothing about the tail, and a cheaper proof was not found: counting braces takes 5.5 us and still accepts a
line torn behind a `}}` inside a string. So there is one way for built-in and custom kinds, and it is a
real parse.

Nothing is trusted but this: the text of the head decides only where the object begins. If the rest of
the line is not exactly one object and a closing brace, the line is read again member by member.
"""

from typing import Any

import msgspec

from bridge.changes.change import Event, Type
from bridge.changes.jsontext import Malformed, check_utf8, describe, elements, members, text

__all__ = ["Bookmark", "Failure", "Malformed", "Page", "Shape", "read_line", "read_page"]

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Bookmark(msgspec.Struct, frozen=True):
    """Progress without an object.

    Attributes:
        rv: everything up to here has been sent.
        initial_events_end: the mark that closes the initial events of a streaming list (KEP-3157).
    """

    rv: str
    initial_events_end: bool


class Failure(msgspec.Struct, frozen=True):
    """A Status: the server's own words about what went wrong.

    Attributes:
        code: HTTP status code, 0 when there is none.
        reason: as `Expired`, "" when there is none.
        message: for people; never empty.
        retry_after: seconds the server asks to wait, None when it does not.
        causes: reasons and messages under `details.causes`, in order.
    """

    code: int
    reason: str
    message: str
    retry_after: float | None
    causes: tuple[str, ...]


class Shape(msgspec.Struct, frozen=True):
    """What kind of object a stream expects; anything else in it is Malformed.

    Attributes:
        group: API group, "" for core.
        version: as `v1`.
        kind: as `Pod`.
        builtin: served by Kubernetes itself, so its list is called `<kind>List`; a custom resource
            may call its list as it likes (`spec.names.listKind`), and its items name their kind.
    """

    group: str
    version: str
    kind: str
    builtin: bool

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Page(msgspec.Struct, frozen=True):
    """One page of a list.

    Attributes:
        rv: resourceVersion of the list, never empty.
        continue_token: for the next page, "" on the last one.
        events: the items in the server's order, as ADDED.
        remaining: items after this page as the server guesses, None when it does not say.
    """

    rv: str
    continue_token: str
    events: list[Event]
    remaining: int | None


class _Metadata(msgspec.Struct, gc=False, rename={"rv": "resourceVersion"}):
    name: str = ""
    namespace: str | None = ""
    uid: str = ""
    rv: str = ""


class _Identity(msgspec.Struct, gc=False, rename={"api_version": "apiVersion"}):
    metadata: _Metadata
    kind: str = ""
    api_version: str = ""


class _List(msgspec.Struct, gc=False, rename={"api_version": "apiVersion"}):
    metadata: dict[str, msgspec.Raw] = {}
    kind: str = ""
    api_version: str = ""
    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


_IDENTITY = msgspec.json.Decoder(_Identity)
_LIST = msgspec.json.Decoder(_List)
_HEADS = tuple(
    (f'{{"type":"{kind}","object":'.encode(), kind.value)
    for kind in (Type.ADDED, Type.MODIFIED, Type.DELETED)
)
_OBJECT_TYPES = frozenset(kind for _, kind in _HEADS)


def read_line(line: bytes, shape: Shape) -> Event | Bookmark | Failure:
    """Read one line of a watch, without its newline.

    A whole document with line ends between its tokens (a pretty-printing server, C4) is read as well.

    Args:
        line: the bytes; a carriage return or other whitespace around the document is ignored.
        shape: what the stream expects.

    Returns:
        An Event whose `object` is the exact bytes of the member `object` (only line ends between tokens
        are taken out, so that a record stays one line); a Bookmark; or the Failure that an ERROR
        event, or a bare Status in place of a stream, carries.

    Raises:
        Malformed: torn, corrupted, not UTF-8, of an unknown type or another kind, or without name,
            uid or resourceVersion. The caller keeps its cursor and treats the line as poison.
    """
    for head, kind in _HEADS:
        if line.startswith(head):
            body = line[len(head) : -1]
            if not (line.endswith(b"}}") and body.startswith(b"{")):
                break
            try:
                identity = _IDENTITY.decode(body)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                break
            return _event(kind, body, identity, shape)
    return _read_members(line, shape)


def read_page(body: bytes, shape: Shape) -> Page | Failure:
    """Read one whole list document.

    Items without `kind` and `apiVersion` (built-in lists leave them out) get them as their first
    members, so that they equal the object that a watch sends.

    Args:
        body: the complete, decompressed body.
        shape: what the list should hold.

    Returns:
        The page, or the Failure if the document is a Status.

    Raises:
        Malformed: incomplete, not UTF-8, not this kind of list, without a resourceVersion, or with an
            item that is not such an object. Nothing of the page may be used.
    """
    check_utf8(body)
    page = _list(body)
    if page.kind == "Status":
        return _failure(body)
    _check_list(page, shape)
    metadata = {key: bytes(value) for key, value in page.metadata.items()}
    rv = _optional_text(metadata, "resourceVersion")
    if not rv:
        raise Malformed("the list has no metadata.resourceVersion")
    if page.items is msgspec.UNSET:
        raise Malformed("the list has no items")
    return Page(
        rv=rv,
        continue_token=_optional_text(metadata, "continue"),
        events=[_item(item, shape) for item in page.items or ()],
        remaining=_count(metadata.get("remainingItemCount")),
    )


def _event(kind: str, body: bytes, identity: _Identity, shape: Shape) -> Event:
    if identity.kind != shape.kind or identity.api_version != shape.api_version:
        raise Malformed(_wrong_kind(identity.api_version, identity.kind, shape))
    metadata = identity.metadata
    if not (metadata.name and metadata.uid and metadata.rv):
        raise Malformed(f"the object has no metadata.{_first_missing(metadata)}")
    if not body.isascii():
        check_utf8(body)
    if b"\n" in body:
        body = body.translate(None, b"\r\n")
    return Event(kind, metadata.namespace or "", metadata.name, metadata.uid, metadata.rv, body)


def _read_members(line: bytes, shape: Shape) -> Event | Bookmark | Failure:
    """Any other way to write an event: other order, extra members, whitespace, escapes, depth."""
    check_utf8(line)
    top = members(line)
    if "type" not in top:
        kind = _optional_text(top, "kind")
        if kind == "Status":
            return _failure(line)
        raise Malformed(f"a document of kind {kind!r} where watch events were expected")
    kind = text(top["type"])
    body = _required(top, "object", "the event")
    if kind in _OBJECT_TYPES:
        return _event(kind, body, _identify(body), shape)
    if kind == "BOOKMARK":
        return _bookmark(body, shape)
    if kind == "ERROR":
        return _failure(body)
    raise Malformed(f"an event of the unknown type {kind[:32]!r}")


def _identify(body: bytes | msgspec.Raw) -> _Identity:
    try:
        return _IDENTITY.decode(body)
    except RecursionError:
        top = members(bytes(body))
        metadata = members(_required(top, "metadata", "the object"))
        return _Identity(
            kind=_optional_text(top, "kind"),
            api_version=_optional_text(top, "apiVersion"),
            metadata=_Metadata(
                name=_optional_text(metadata, "name"),
                namespace=None
                if metadata.get("namespace") == b"null"
                else _optional_text(metadata, "namespace"),
                uid=_optional_text(metadata, "uid"),
                rv=_optional_text(metadata, "resourceVersion"),
            ),
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"not a Kubernetes object: {error}") from error


def _list(body: bytes) -> _List:
    """The outline of a list document; its items stay views of `body`."""
    try:
        return _LIST.decode(body)
    except RecursionError:
        top = members(body)
        items = top.get("items")
        return _List(
            metadata={key: msgspec.Raw(value) for key, value in members(top.get("metadata", b"{}")).items()},
            kind=_optional_text(top, "kind"),
            api_version=_optional_text(top, "apiVersion"),
            items=msgspec.UNSET
            if items is None
            else None
            if items == b"null"
            else [msgspec.Raw(item) for item in elements(items)],
        )
    except msgspec.ValidationError as error:
        raise Malformed(f"not a list of Kubernetes objects: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(describe(body, error)) from error


def _item(raw: msgspec.Raw, shape: Shape) -> Event:
    identity = _identify(raw)
    missing = b""
    if not identity.kind:
        missing += b'"kind":' + msgspec.json.encode(shape.kind) + b","
        identity.kind = shape.kind
    if not identity.api_version:
        missing += b'"apiVersion":' + msgspec.json.encode(shape.api_version) + b","
        identity.api_version = shape.api_version
    body = b"".join((b"{", missing, memoryview(raw)[1:])) if missing else bytes(raw)
    return _event(Type.ADDED.value, body, identity, shape)


def _bookmark(body: bytes, shape: Shape) -> Bookmark:
    top = members(body)
    kind, api_version = _optional_text(top, "kind"), _optional_text(top, "apiVersion")
    if kind != shape.kind or api_version != shape.api_version:
        raise Malformed(_wrong_kind(api_version, kind, shape))
    metadata = members(_required(top, "metadata", "the bookmark"))
    rv = _optional_text(metadata, "resourceVersion")
    if not rv:
        raise Malformed("the bookmark has no metadata.resourceVersion")
    annotations = metadata.get("annotations", b"null")
    marks = {} if annotations == b"null" else members(annotations)
    return Bookmark(rv=rv, initial_events_end=_optional_text(marks, INITIAL_EVENTS_END) == "true")


def _failure(body: bytes) -> Failure:
    """Read a Status as far as it can be read: whatever it is, it ends the stream."""
    try:
        status = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        status = None
    status = _mapping(status)
    details = _mapping(status.get("details"))
    causes = details.get("causes")
    texts = [
        cause[key]
        for cause in map(_mapping, causes if isinstance(causes, list) else [])
        for key in ("reason", "message")
        if isinstance(cause.get(key), str)
    ]
    code, retry = status.get("code"), details.get("retryAfterSeconds")
    reason, message = status.get("reason"), status.get("message")
    return Failure(
        code=code if isinstance(code, int) else 0,
        reason=reason if isinstance(reason, str) else "",
        message=message
        if isinstance(message, str) and message
        else "the server reported an error without a message",
        retry_after=float(retry) if isinstance(retry, int | float) and retry > 0 else None,
        causes=tuple(texts),
    )


def _check_list(page: _List, shape: Shape) -> None:
    named = page.kind == f"{shape.kind}List" or (not shape.builtin and page.kind.endswith("List"))
    if not named or page.api_version != shape.api_version:
        raise Malformed(
            f"a document of kind {page.kind[:64]!r} in {page.api_version[:64]!r} where "
            f"a {shape.kind}List in {shape.api_version} was expected"
        )


def _count(value: bytes | None) -> int | None:
    try:
        return int(value) if value is not None else None
    except ValueError:
        return None


def _first_missing(metadata: _Metadata) -> str:
    return next(
        name
        for name, value in (("name", metadata.name), ("uid", metadata.uid), ("resourceVersion", metadata.rv))
        if not value
    )


def _wrong_kind(api_version: str, kind: str, shape: Shape) -> str:
    return (
        f"an object of kind {kind[:64]!r} in {api_version[:64]!r} where "
        f"a {shape.kind} in {shape.api_version} was expected"
    )


def _required(parent: dict[str, bytes], key: str, what: str) -> bytes:
    try:
        return parent[key]
    except KeyError:
        raise Malformed(f"{what} has no {key}") from None


def _optional_text(parent: dict[str, bytes], key: str) -> str:
    value = parent.get(key)
    return "" if value is None else text(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
