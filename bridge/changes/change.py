"""The nouns that every room shares: event, change, batch, cursor, stream.

No I/O here. An `Event` is what an API server said; a `Change` is what we say after reconciling it
with the inventory; a `Batch` is what the log committed together and hands to the sinks.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["Batch", "Cause", "Change", "Cursor", "Event", "Gone", "Origin", "StreamInfo", "Type"]


class Type(StrEnum):
    """The `type` of a record."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    RESYNC = "RESYNC"
    POISON = "POISON"


class Origin(StrEnum):
    """Where a change was learned from."""

    WATCH = "watch"
    SNAPSHOT = "snapshot"
    RESYNC = "resync"
    AUDIT = "audit"


class Gone(StrEnum):
    """Why a DELETED was sent; a selected stream cannot always tell."""

    DELETED = "deleted"
    UNSELECTED = "unselected"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """Why a complete listing was made (the `cause` of a RESYNC pair)."""

    FIRST_START = "firstStart"
    STATE_LOST = "stateLost"
    EXPIRED = "expired"
    EPOCH = "epoch"
    SCOPE_CHANGED = "scopeChanged"
    AUDIT = "audit"
    BACKLOG_FULL = "backlogFull"
    POISON = "poison"
    REQUESTED = "requested"


class StreamInfo(msgspec.Struct, frozen=True):
    """One configured collection, as far as its records must tell.

    Attributes:
        name: the configured name; part of each record's id.
        group: API group, "" for core.
        version: API version served, as `v1`.
        resource: plural, as `pods`.
        kind: as `Pod`.
        selected: has a label or field selector, so a DELETED may be an object that left it.
        redacted: values are replaced before storing; no raw bytes may be shown.
    """

    name: str
    group: str
    version: str
    resource: str
    kind: str
    selected: bool = False
    redacted: bool = False

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_resource(self) -> str:
        """`pods` or `deployments.apps`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


class Event(msgspec.Struct, frozen=True, gc=False):
    """One object as the API server sent it, live or in a list.

    Attributes:
        type: ADDED, MODIFIED or DELETED; ADDED for items of a list.
        namespace: "" for cluster-scoped objects.
        name: metadata.name.
        uid: metadata.uid.
        rv: metadata.resourceVersion, never empty.
        object: the object's JSON exactly as sent, but for line ends between tokens, which are gone; with
            apiVersion and kind (added where a list omits them).
    """

    type: str
    namespace: str
    name: str
    uid: str
    rv: str
    object: bytes


class Cursor(msgspec.Struct, frozen=True):
    """Where a watch can resume, and what it must recognise as already seen when it does.

    Several events may share one revision (real-apiserver 14.3), so `rv` lags: it is the newest
    revision such that something greater has arrived on the same watch. Resuming from it repeats
    the events of `newest`; those in `seen` are ours already.

    Attributes:
        rv: safe resourceVersion to resume from.
        newest: greatest resourceVersion seen on this watch; equals `rv` after a complete list.
        seen: `uid/type` of each event already taken at a revision greater than `rv`.
    """

    rv: str
    newest: str
    seen: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, gc=False):
    """ADDED, MODIFIED or DELETED of one object, after reconciliation and redaction; or RESYNC, POISON.

    Attributes:
        type: one of `Type`.
        origin: one of `Origin`.
        time: when the bridge read it, microseconds since the Unix epoch.
        namespace: "" for cluster-scoped objects and control records.
        name: "" for control records.
        uid: "" for control records.
        rv: the object's resourceVersion; for an inferred deletion the last one known.
        epoch: how often this server's revisions went backwards before this change.
        object: the object's JSON on one line; b"" for control records and for an inferred deletion.
        extra: further members of the record (gone, synthetic, phase, cause, counts, ...), or None.
    """

    type: str
    origin: str
    time: int
    namespace: str
    name: str
    uid: str
    rv: str
    epoch: int
    object: bytes
    extra: dict[str, Any] | None = None


class Batch(msgspec.Struct, frozen=True):
    """Changes of one stream that were committed together, in order.

    Attributes:
        position: of the first change; change i has `position + i`.
        stream: the stream they belong to.
        changes: at least one.
        size: bytes that it holds in memory, for bounds.
        audience: the one sink that is meant (a snapshot, a redrive), or "" for all.
    """

    position: int
    stream: StreamInfo
    changes: Sequence[Change]
    size: int
    audience: str = ""

    @property
    def last_position(self) -> int:
        """Position of the last change."""
        return self.position + len(self.changes) - 1
