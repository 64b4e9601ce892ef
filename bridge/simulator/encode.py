"""JSON bytes as the real server writes them: order of keys, escapes and numbers of Go's encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.simulator.kinds import Kind

__all__ = ["MAPS", "Obj", "at_revision", "dumps", "event", "in_wire_order", "list_item", "object_bytes"]

Obj = dict[str, Any]

_METADATA = (
    *("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations"),
    *("ownerReferences", "finalizers", "managedFields"),
)
# The order of the fields of Go's structs. A key found nowhere here keeps the place its writer gave it.
_STRUCTS: dict[str, tuple[str, ...]] = {
    "metadata": _METADATA,
    "ownerReferences": ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"),
    "managedFields": ("manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"),
    "involvedObject": ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"),
    "containers": (
        *("name", "image", "command", "args", "workingDir", "ports", "envFrom", "env", "resources"),
        *("volumeMounts", "livenessProbe", "readinessProbe", "terminationMessagePath"),
        *("terminationMessagePolicy", "imagePullPolicy", "securityContext"),
    ),
}
_TOP = (
    *("kind", "apiVersion", "metadata", "immutable", "involvedObject", "reason", "message", "source"),
    *("firstTimestamp", "lastTimestamp", "count", "secrets", "imagePullSecrets", "data", "binaryData"),
    *("type", "eventTime", "reportingComponent", "reportingInstance", "spec", "status"),
)
MAPS = frozenset(
    ("labels", "annotations", "data", "binaryData", "matchLabels", "nodeSelector", "limits", "requests")
)
# Go writes floats without an exponent in this range (encoding/json, floatEncoder).
_SMALLEST_PLAIN, _FIRST_EXPONENT = 1e-6, 1e21
_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


def in_wire_order(obj: Mapping[str, Any], kind: Kind) -> Obj:
    """A deep copy whose keys stand as the server's encoder writes them.

    Built-in kinds in the order of their Go structs, custom resources sorted. Values that are neither
    dicts nor lists are shared, so an `orjson.Fragment` can carry what orjson cannot dump: deep nesting,
    wide integers.
    """
    metadata = {key: value for key, value in obj["metadata"].items() if value or value == 0}
    obj = dict(obj) | {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    ordered: Obj = _sorted_keys(obj) if kind.custom else _struct(obj, _TOP)
    return ordered


def _struct(value: Mapping[str, Any], order: Iterable[str]) -> Obj:
    known = {key: value[key] for key in order if key in value}
    return {
        key: _member(key, inner) if isinstance(inner, (dict, list)) else inner
        for key, inner in (known | dict(value)).items()
    }


def _member(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        if key in MAPS or key == "fieldsV1":
            return _sorted_keys(value)
        return _struct(value, _STRUCTS.get(key, ()))
    if isinstance(value, list):
        return [_member(key, item) for item in value]
    return value


def _sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted_keys(item) for item in value]
    if isinstance(value, float):
        return orjson.Fragment(_go_float(value))
    return value


def _go_float(value: float) -> str:
    if value == 0:
        return "0"
    if _SMALLEST_PLAIN <= abs(value) < _FIRST_EXPONENT:
        if value.is_integer():
            digits, _, exponent = f"{value:.17g}".partition("e")
            return _widen(repr(value)) if exponent else digits
        return _widen(repr(value))
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0') or '0'}"


def _widen(text: str) -> str:
    """The shortest digits without an exponent: `1.8446744073709552e+19` is `18446744073709552000`."""
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.removesuffix(".0").partition(".")
    shift = int(exponent or 0)
    if shift >= 0:
        fraction = fraction.ljust(shift, "0")
        whole, fraction = whole + fraction[:shift], fraction[shift:]
    else:
        sign = "-" if whole.startswith("-") else ""
        digits = whole.removeprefix("-").rjust(1 - shift, "0")
        whole, fraction = sign + digits[:shift], digits[shift:] + fraction
    return f"{whole}.{fraction}" if fraction else whole


def dumps(value: Any) -> bytes:
    """JSON with Go's escapes of HTML characters and line separators; U+0085 and U+007F stay as they are."""
    text = orjson.dumps(value)
    for raw, escaped in _ESCAPES:
        text = text.replace(raw, escaped)
    return text


def at_revision(obj: Obj, revision: int) -> Obj:
    """The same object with another `resourceVersion`, as a DELETED event shows the last content."""
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(revision)}}


def object_bytes(obj: Obj, kind: Kind) -> bytes:
    """An object as a GET or an event shows it, in the version of `kind`."""
    return dumps(obj | {"apiVersion": kind.api_version})


def list_item(obj: Obj, kind: Kind) -> bytes:
    """An object as a list shows it: items of built-in kinds carry neither kind nor apiVersion."""
    if kind.custom:
        return object_bytes(obj, kind)
    return dumps({key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}})


def event(kind: str, obj: bytes) -> bytes:
    """One line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), obj)
