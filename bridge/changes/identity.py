"""Key, id and sequence of a record: frozen forms that consumers store and compare. No I/O here.

```
key       cluster/group/resource/namespace/name            empty parts kept: Kafka key, lanes
id        <clusterUid>/<stream>/<uid>/<resourceVersion>/<U|D>[~epoch][/s<snapshot>]
control   <clusterUid>/<stream>/<RESYNC|POISON>/<stem>[/<phase>][~epoch][/s<snapshot>]
sequence  epoch (4 digits), length of the resourceVersion (2 digits), resourceVersion
```

Golden tests hold every byte of these forms: a change here breaks what consumers have stored.
"""

from typing import Final

import msgspec

from bridge.changes.change import Change, StreamInfo, Type
from bridge.errors import InvariantError

__all__ = ["CONTROL_TYPES", "Bridge", "Identity", "percent_encode", "sequence"]

CONTROL_TYPES: Final = frozenset((Type.RESYNC, Type.POISON))
"""Types of records that tell about a stream, not about an object."""

_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_DELETED: Final = Type.DELETED.value
_EPOCHS: Final = tuple(f"{epoch:04d}" for epoch in range(16))
_LENGTHS: Final = tuple(f"{length:02d}" for length in range(100))


class Bridge(msgspec.Struct, frozen=True):
    """Whose records these are.

    Attributes:
        cluster: the configured name, `[a-z0-9.-]+`; part of keys.
        cluster_uid: chosen once and stored; part of ids.
    """

    cluster: str
    cluster_uid: str


class Identity:
    """Key, id and sequence of the changes of one stream, with the constant parts made once."""

    __slots__ = ("_key_prefix", "id_prefix")

    def __init__(self, bridge: Bridge, stream: StreamInfo) -> None:
        self._key_prefix = f"{bridge.cluster}/{stream.group}/{stream.resource}/"
        self.id_prefix = f"{percent_encode(bridge.cluster_uid)}/{percent_encode(stream.name)}/"

    def key(self, change: Change) -> str:
        """The ordering key: the same for every change of one namespace and name."""
        return f"{self._key_prefix}{change.namespace}/{change.name}"

    def id(self, change: Change) -> str:
        """The record's id, the same after any replay or restart.

        `extra["snapshot"]` names the snapshot that a change belongs to; `extra["id"]` is the stem of a
        control record, which both records of a RESYNC pair share.

        Raises:
            InvariantError: a control record has no stem, so its id would not be stable.
        """
        extra = change.extra
        suffix = _suffix(change.epoch, extra) if change.epoch or extra else ""
        if change.type in CONTROL_TYPES:
            return f"{self.id_prefix}{change.type}/{_control_tail(change)}{suffix}"
        mark = "D" if change.type == _DELETED else "U"
        return f"{self.id_prefix}{percent_encode(change.uid)}/{percent_encode(change.rv)}/{mark}{suffix}"


def sequence(change: Change) -> str:
    """Compares as a string, only within one object: greater is later.

    An inferred deletion orders by the resourceVersion at which its absence was observed, because its own
    is the last one known and was sent before.
    """
    rv = change.rv
    if change.extra is not None and change.extra.get("synthetic"):
        rv = change.extra.get("observedAt") or rv
    # Both prefixes come from tables: a format specification costs more than the rest of the record's head.
    epoch, length = change.epoch, len(rv)
    epoch_text = _EPOCHS[epoch] if epoch < len(_EPOCHS) else f"{epoch:04d}"
    return f"{epoch_text}{_LENGTHS[length] if length < len(_LENGTHS) else _LENGTHS[-1]}{rv}"


def percent_encode(text: str) -> str:
    """Percent-encode each byte of the UTF-8 text but `[A-Za-z0-9_-]`: stricter than RFC 3986, upper case."""
    if text.isascii() and text.replace("-", "").isalnum():
        return text
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass")
    )


def _control_tail(change: Change) -> str:
    extra = change.extra or {}
    stem = extra.get("id")
    if not stem:
        raise InvariantError(
            f"A {change.type} record has no id stem, so its id would change with each replay."
        )
    phase = extra.get("phase")
    return f"{percent_encode(stem)}/{percent_encode(phase)}" if phase else percent_encode(stem)


def _suffix(epoch: int, extra: dict[str, object] | None) -> str:
    snapshot = extra.get("snapshot") if extra else None
    epoch_part = f"~{epoch}" if epoch else ""
    return f"{epoch_part}/s{percent_encode(str(snapshot))}" if snapshot else epoch_part
