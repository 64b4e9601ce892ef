"""A batch as one row of the log, and back.

`ids` holds what recovery needs (who changed how, and what the inventory then knew) and stands before
`body`, so that recovery never reads the objects. `body` is the objects one behind the other, zstd 1:
compressing costs less than writing what it saves (docs/decisions/0001-the-log.md).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from bridge.changes.change import Change, Cursor, Type
from bridge.changes.reconcile import Known, object_key
from bridge.errors import StateError
from bridge.store.dropped import Share, oldest

__all__ = ["Ids", "Packed", "RowDecoder", "RowEncoder", "Writes"]

Writes = Mapping[bytes, Known | None]
"""What a batch wrote to the inventory: key -> what is known now, None for forgotten."""

_Meta = tuple[str, str, int, str, str, str, str, int, int, dict[str, Any] | None]
"""type, origin, time, namespace, name, uid, rv, epoch, length of the object, extra."""

_Write = tuple[bytes, str | None, str | None]
"""key, uid, rv; no uid: forgotten."""

_LEVEL: Final = 1


class Ids(NamedTuple):
    """The `ids` column.

    Attributes:
        metas: one for each change.
        writes: inventory writes, or None where they are what the changes themselves imply.
    """

    metas: list[_Meta]
    writes: list[_Write] | None


class Packed(NamedTuple):
    """The columns of a row that are packed."""

    cursors: bytes | None
    ids: bytes
    body: bytes


class RowEncoder:
    """Packs rows; for one thread."""

    def __init__(self) -> None:
        self._msgpack = msgspec.msgpack.Encoder()
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)

    def pack(self, changes: Sequence[Change], writes: Writes, cursors: Mapping[str, Cursor]) -> Packed:
        """The columns for one batch of a stream; `cursors` are those that it moves, by scope."""
        metas = [
            (c.type, c.origin, c.time, c.namespace, c.name, c.uid, c.rv, c.epoch, len(c.object), c.extra)
            for c in changes
        ]
        explicit: list[_Write] | None = None
        if writes != _implied((c.type, c.namespace, c.name, c.uid, c.rv) for c in changes):
            explicit = [
                (key, known.uid, known.rv) if known else (key, None, None) for key, known in writes.items()
            ]
        body = b"".join([c.object for c in changes])
        return Packed(
            msgspec.json.encode(cursors) if cursors else None,
            self._zstd.compress(self._msgpack.encode((metas, explicit))),
            self._zstd.compress(body) if body else b"",
        )


class RowDecoder:
    """Unpacks rows; for one thread."""

    def __init__(self) -> None:
        self._ids = msgspec.msgpack.Decoder(type=Ids)
        self._raw = msgspec.msgpack.Decoder(type=tuple[list[msgspec.Raw], msgspec.Raw])
        self._meta = msgspec.msgpack.Decoder(type=_Meta)
        self._cursors = msgspec.json.Decoder(type=dict[str, Cursor])
        self._zstd = zstandard.ZstdDecompressor()

    def changes(self, position: int, ids: bytes, body: bytes) -> list[Change]:
        """The changes of a row.

        Raises:
            StateError: the row does not have its checksum or shape: the file is damaged.
        """
        try:
            metas = self._ids.decode(self._zstd.decompress(ids)).metas
            objects = self._zstd.decompress(body) if body else b""
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise _damaged(position, error) from error
        changes: list[Change] = []
        start = 0
        for meta in metas:
            end = start + meta[8]
            changes.append(Change(*meta[:8], objects[start:end], meta[9]))
            start = end
        return changes

    def share(self, position: int, ids: bytes, after: int) -> Share:
        """What is to be told of a row's records behind `after` to who does not get them.

        Raises `StateError` as `changes` does.
        """
        try:
            metas = self._ids.decode(self._zstd.decompress(ids)).metas[max(0, after + 1 - position) :]
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise _damaged(position, error) from error
        gone = [Change(*meta[:8], b"", meta[9]) for meta in metas if meta[0] == Type.DELETED]
        ages = oldest((meta[3], meta[7], meta[6]) for meta in metas if meta[5])
        return Share(Counter(meta[3] for meta in metas), gone, ages)

    def first_time(self, position: int, ids: bytes) -> int:
        """When the first record of a row was read. Raises `StateError` as `changes` does."""
        try:
            metas, _ = self._raw.decode(self._zstd.decompress(ids))
            return int(self._meta.decode(metas[0])[2])
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise _damaged(position, error) from error

    def effects(self, position: int, ids: bytes) -> Writes:
        """What the row wrote to the inventory. Raises `StateError` as `changes` does."""
        try:
            metas, writes = self._ids.decode(self._zstd.decompress(ids))
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise _damaged(position, error) from error
        if writes is None:
            return _implied((meta[0], meta[3], meta[4], meta[5], meta[6]) for meta in metas)
        return {key: None if uid is None or rv is None else Known(uid, rv) for key, uid, rv in writes}

    def cursors(self, position: int, packed: bytes | None) -> dict[str, Cursor]:
        """The cursors that the row moved, by scope. Raises `StateError` as `changes` does."""
        try:
            return self._cursors.decode(packed) if packed else {}
        except msgspec.DecodeError as error:
            raise _damaged(position, error) from error


def _implied(changes: Any) -> dict[bytes, Known | None]:
    """What the inventory knows after changes that are what they seem to be."""
    known: dict[bytes, Known | None] = {}
    for kind, namespace, name, uid, rv in changes:
        if kind in (Type.ADDED, Type.MODIFIED):
            known[object_key(namespace, name)] = Known(uid, rv)
        elif kind == Type.DELETED:
            known[object_key(namespace, name)] = None
    return known


def _damaged(position: int, error: Exception) -> StateError:
    return StateError(
        f"the log is corrupt at position {position} ({error}): restore the state directory from a backup, "
        "or move it away and the bridge starts anew with a complete listing",
    )
