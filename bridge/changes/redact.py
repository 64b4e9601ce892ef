"""Secret values are replaced, or dropped, before anything is stored, logged or sent. No I/O here.

An object is taken apart along the paths to redact and put together again; every value beside those paths
keeps its bytes. Because it is rebuilt, not patched, nothing that a path names can survive in a second
spelling: an escaped key is the same key, and of a key written twice only the last value is left.
What cannot be taken apart is refused, never passed through.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bridge.changes.change import Event
from bridge.changes.jsontext import Malformed, check_utf8, elements, members, text
from bridge.errors import UsageError

__all__ = ["LAST_APPLIED", "Path", "Redactor", "parse_path"]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MIN_KEY_BYTES = 16

Path = tuple[str | None, ...]
"""Keys from the top of an object down; None stands for each item of a list, or each value of a map."""

_SECRET: tuple[Path, ...] = (("data", None), ("stringData", None), ("metadata", "annotations", LAST_APPLIED))
_PROTECTED: tuple[tuple[str, ...], ...] = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "uid"),
    ("metadata", "resourceVersion"),
)
_STEP = re.compile(
    r"""(?:^|(?<=.)\.)(?P<key>[^.$\[\]"'*\s]+)|\[(?P<quoted>"(?:[^"\\\x00-\x1f]|\\["\\/])*")\]|(?P<each>\[\*\])"""
)


def parse_path(path: str) -> Path:
    """Read a field path of the configuration, as `spec.containers[*].env[*].value`.

    Keys are separated by dots; a key with dots or slashes is quoted, as `metadata.annotations["a.b/c"]`;
    `[*]` is each item of a list or each value of a map.

    Raises:
        UsageError: it cannot be read, or it names a field that identifies the object.
    """
    steps: list[str | None] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (not steps and not found["key"]):
            break
        quoted = found["quoted"]
        steps.append(text(quoted.encode()) if quoted else found["key"])
        at = found.end()
    if at < len(path) or not steps:
        raise UsageError(
            f"the field path {path!r} cannot be read at character {at + 1}; write spec.nodeName, "
            'metadata.annotations["a.b/c"] for other keys, spec.containers[*].image for each item'
        )
    for protected in _PROTECTED:
        covered = zip(steps, protected, strict=False)
        if len(steps) <= len(protected) and all(step in (None, name) for step, name in covered):
            raise UsageError(
                f"the field path {path!r} covers {'.'.join(protected)}, by which objects are told apart; "
                "name the fields beside it instead"
            )
    return tuple(steps)


class _Rule(NamedTuple):
    """What is left to do below some value: nothing left means this value."""

    path: Path
    drop: bool


class Redactor:
    """Replaces values of an event's object.

    A value becomes base64 of the first 128 bits of HMAC-SHA256 over four parts, each preceded by its length
    as 8 bytes, big-endian: cluster uid; object uid; field, as the JSON array of the keys and indices that
    lead to the value; value. So an unchanged value stays equal, a changed one shows as a change, and equal
    values of two objects, or of two fields, do not look alike. The value of a Secret's `data` is hashed
    as the bytes that its base64 stands for; any other value as its JSON text.

    Whether an object is a Secret is for the caller to know from the stream's resource; its bytes are not
    asked. What else carries secret text (annotations of deployment tools, say) is for `redact` to name.
    """

    def __init__(
        self,
        key: bytes,
        cluster_uid: str,
        *,
        secret_values: bool,
        redact: Sequence[str] = (),
        drop: Sequence[str] = (),
    ) -> None:
        """Prepare the rules of one stream.

        Args:
            key: of the HMAC; at least 16 bytes, kept secret.
            cluster_uid: keeps equal objects of two clusters apart.
            secret_values: the stream is of v1/Secret: replace `data`, `stringData` and the
                last-applied-configuration annotation.
            redact: paths of further values to replace (`parse_path`).
            drop: paths to leave out altogether; wins over `redact`.

        Raises:
            UsageError: the key is too short or a path is wrong.
        """
        if len(key) < MIN_KEY_BYTES:
            raise UsageError(
                f"the redaction key has {len(key)} bytes but needs at least {MIN_KEY_BYTES}: "
                "a shorter one can be guessed; make one with `openssl rand -base64 32`"
            )
        self._key = key
        self._cluster = cluster_uid.encode()
        self._secret_values = secret_values
        self._rules = [_Rule(path, drop=False) for path in _SECRET if secret_values]
        self._rules += [_Rule(parse_path(path), drop=False) for path in redact]
        self._rules += [_Rule(parse_path(path), drop=True) for path in drop]

    def __call__(self, event: Event) -> Event:
        """The event with its object redacted.

        Raises:
            Malformed: the object cannot be taken apart. The caller treats the event as poison, and shows
                none of its bytes.
        """
        if not self._rules:
            return event
        body = event.object.strip(b" \t\r\n")
        if not body.startswith(b"{"):
            raise Malformed("the object to redact is not a JSON object")
        check_utf8(body)
        return msgspec.structs.replace(event, object=self._rewrite(body, self._rules, (), event.uid.encode()))

    def _rewrite(
        self, value: bytes, rules: Sequence[_Rule], where: tuple[str | int, ...], uid: bytes
    ) -> bytes | None:
        """The value as it may be shown, None to leave it out; `rules` are relative to it."""
        if not rules:
            return value
        if any(rule.drop and not rule.path for rule in rules):
            return None
        if any(not rule.path for rule in rules):
            return self._digest(value, where, uid)
        if value.startswith(b"{"):
            shown = [
                msgspec.json.encode(key) + b":" + kept
                for key, item in members(value).items()
                if (kept := self._rewrite(item, _below(rules, key), (*where, key), uid)) is not None
            ]
            return b"{" + b",".join(shown) + b"}"
        each = _below(rules, None)
        if value.startswith(b"["):
            items = enumerate(elements(value))
            kept_items = (self._rewrite(item, each, (*where, index), uid) for index, item in items)
            return b"[" + b",".join(item for item in kept_items if item is not None) + b"]"
        # Where a map was promised and a bare value stands, that value is what must not be shown.
        return (
            value if value == b"null" else self._rewrite(value, [r for r in each if not r.path], where, uid)
        )

    def _digest(self, value: bytes, where: tuple[str | int, ...], uid: bytes) -> bytes:
        parts = (self._cluster, uid, msgspec.json.encode(where), self._content(value, where))
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return b'"' + base64.b64encode(hmac.digest(self._key, message, "sha256")[:16]) + b'"'

    def _content(self, value: bytes, where: tuple[str | int, ...]) -> bytes:
        if not value.startswith(b'"'):
            return value
        string = text(value)
        if self._secret_values and where[0] == "data":
            try:
                return base64.b64decode(string, validate=True)
            except (binascii.Error, ValueError):
                pass  # not what a server sends; hashed as the text that it is
        return msgspec.json.encode(string)


def _below(rules: Sequence[_Rule], key: str | None) -> list[_Rule]:
    """The rules that apply to the value under `key`; None: to each item of a list."""
    return [_Rule(rule.path[1:], rule.drop) for rule in rules if rule.path[0] is None or rule.path[0] == key]
