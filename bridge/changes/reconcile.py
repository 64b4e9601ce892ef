"""What an API server said, held against what we have already reported. No I/O here.

Live events pass through `Reconciler.live`. A complete listing is merged with the inventory page by page
in key order (`Listing`), so that a relist of any size holds one page in memory. A deletion is never
inferred from a list alone: what the list passed over, or shows with another uid, is a *suspect* until a
GET agrees (`Reconciler.settle`), because a list can lie (a restored etcd behind an old watch cache).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from bridge.changes.change import Change, Event, Gone, Origin, Type
from bridge.changes.revision import newer

__all__ = ["Answer", "Counts", "Inventory", "Known", "Listing", "Reconciler", "Tally", "object_key"]

_TOMBSTONES: Final = 10_000
"""Inferred deletions remembered, so that the real DELETED that arrives late is absorbed."""


class Known(NamedTuple):
    """What the inventory remembers of one object."""

    uid: str
    rv: str


class Answer(NamedTuple):
    """What a GET said of a suspect.

    Attributes:
        key: the suspect's inventory key.
        known: what was known of it when it was asked about.
        gone: why it is gone from this stream, or None: it is still there and the list lied.
        found: the object that has the name now, of whichever uid, or None.
    """

    key: bytes
    known: Known
    gone: Gone | None
    found: Event | None


class Inventory(Protocol):
    """What exists, as far as one stream has reported it.

    Keys are the UTF-8 bytes of `namespace/name` (`/name` for cluster-scoped objects), in byte order.
    Writes become durable in the transaction of the work that makes them. A *suspect* is an object that
    a complete listing passed over and whose deletion no GET has confirmed yet: it stays in the inventory.
    """

    def get(self, key: bytes) -> Known | None:
        """What is known under this key, or None."""
        ...

    def put(self, key: bytes, known: Known) -> None:
        """Remember; clears a suspicion of this key."""
        ...

    def remove(self, key: bytes) -> None:
        """Forget; clears a suspicion of this key. Unknown keys are no error."""
        ...

    def scan(self, after: bytes, through: bytes | None) -> Iterable[tuple[bytes, Known]]:
        """Entries with `after < key <= through` (no upper end for None), in byte order."""
        ...

    def suspect(self, key: bytes, listed_rv: str) -> None:
        """Mark an entry as passed over by the complete listing at `listed_rv`."""
        ...

    def suspects(self, limit: int) -> Iterable[tuple[bytes, Known, str]]:
        """At most `limit` suspects as (key, known, listed_rv), in byte order."""
        ...


class Counts(msgspec.Struct):
    """What one listing found; the `counts` of a RESYNC end."""

    added: int = 0
    modified: int = 0
    deleted: int = 0
    unchanged: int = 0


class Tally(msgspec.Struct):
    """What reconciliation did not pass on as it came; read by the metrics.

    Attributes:
        replayed: events whose uid and revision were reported before.
        stale: events older than what is known of the same object.
        synthetic: deletions that were inferred.
        absorbed: real deletions that arrived after the inferred one.
    """

    replayed: int = 0
    stale: int = 0
    synthetic: int = 0
    absorbed: int = 0


def object_key(namespace: str, name: str) -> bytes:
    """The inventory's key; its byte order is the order in which real servers list."""
    return f"{namespace}/{name}".encode()


class Reconciler:
    """The rules for one watch; every method is work on the log, called in log order.

    Args:
        selected: the stream has a selector, so a DELETED may be an object that left it.
        epoch: how often the server's revisions went backwards; raise it before a listing of a new epoch.
    """

    def __init__(self, *, selected: bool, epoch: int = 0) -> None:
        self.epoch = epoch
        self.tally = Tally()
        self._selected = selected
        self._tombstones: OrderedDict[str, None] = OrderedDict()

    def live(self, inventory: Inventory, events: Sequence[Event], *, time: int) -> list[Change]:
        """Changes of live events, in their order.

        ADDED of a known uid becomes MODIFIED, MODIFIED of an unknown one ADDED; the same uid and
        revision again is dropped; another uid under the same name means that the old object is gone.
        A DELETED of an unknown object is passed on: it may have lived and died in a gap of ours.
        """
        changes: list[Change] = []
        for event in events:
            key = object_key(event.namespace, event.name)
            known = inventory.get(key)
            if event.type == Type.DELETED:
                self._delete(inventory, key, known, event, time, changes)
                continue
            if known is not None:
                if known.uid == event.uid and known.rv == event.rv:
                    self.tally.replayed += 1
                    continue
                if newer(known.rv, event.rv):
                    self.tally.stale += 1
                    continue
                if known.uid != event.uid:
                    changes.append(self._inferred(key, known, event.rv, Origin.WATCH, time, Gone.DELETED))
                    known = None
            inventory.put(key, Known(event.uid, event.rv))
            kind = Type.ADDED if known is None else Type.MODIFIED
            changes.append(self._upsert(event, kind, Origin.WATCH, time))
        return changes

    def settle(
        self, inventory: Inventory, answers: Sequence[Answer], *, listed_rv: str, time: int, counts: Counts
    ) -> list[Change]:
        """Act on what GETs said of suspects; one that a live event has touched since is left alone."""
        changes: list[Change] = []
        for key, known, gone, found in answers:
            if inventory.get(key) != known:
                continue
            if gone is None:
                inventory.put(key, known)
                continue
            inventory.remove(key)
            counts.deleted += 1
            changes.append(self._inferred(key, known, listed_rv, Origin.RESYNC, time, gone))
            if found is not None:
                counts.added += 1
                inventory.put(key, Known(found.uid, found.rv))
                changes.append(self._upsert(found, Type.ADDED, Origin.RESYNC, time))
        return changes

    def item(
        self, inventory: Inventory, key: bytes, event: Event, origin: Origin, time: int, *, new: bool
    ) -> Change:
        """A listed object that is new, or differs from what was reported."""
        inventory.put(key, Known(event.uid, event.rv))
        return self._upsert(event, Type.ADDED if new else Type.MODIFIED, origin, time)

    def _delete(
        self,
        inventory: Inventory,
        key: bytes,
        known: Known | None,
        event: Event,
        time: int,
        out: list[Change],
    ) -> None:
        same = known is not None and known.uid == event.uid
        if event.uid in self._tombstones and not same:  # the same: it came back since, so this one is new
            self.tally.absorbed += 1
            return
        if known is not None and same:
            if newer(known.rv, event.rv):
                self.tally.stale += 1
                return
            inventory.remove(key)
        gone = _why_gone(event) if self._selected else Gone.DELETED
        change = self._upsert(event, Type.DELETED, Origin.WATCH, time)
        out.append(msgspec.structs.replace(change, extra={"gone": gone.value}))

    def _upsert(self, event: Event, kind: Type, origin: Origin, time: int) -> Change:
        return Change(
            kind, origin, time, event.namespace, event.name, event.uid, event.rv, self.epoch, event.object
        )

    def _inferred(
        self, key: bytes, known: Known, observed_rv: str, origin: Origin, time: int, gone: Gone
    ) -> Change:
        self.tally.synthetic += 1
        self._tombstones[known.uid] = None
        if len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)
        namespace, _, name = key.decode().partition("/")
        extra: dict[str, Any] = {"gone": gone.value, "synthetic": True, "observedAt": observed_rv}
        return Change(
            Type.DELETED, origin, time, namespace, name, known.uid, known.rv, self.epoch, b"", extra
        )


class Listing:
    """One complete listing, merged with the inventory as its pages arrive.

    A page out of key order falls back to remembering the keys seen, for this listing only.

    Args:
        rules: the watch's reconciler.
        prefix: keys of this watch's scope start with it: `namespace/` of one namespace, b"" of all.
        origin: SNAPSHOT for a first listing, RESYNC for a later one.
        report: False records what exists without changes (`initial: skip` at the very first start).
        retract: False forgets what left a changed scope, without calling it deleted.
    """

    def __init__(
        self, rules: Reconciler, prefix: bytes, origin: Origin, *, report: bool = True, retract: bool = True
    ) -> None:
        self.counts = Counts()
        self._rules = rules
        self._prefix = prefix
        self._origin = origin
        self._report = report
        self._retract = retract
        self._after = prefix
        self._seen: set[bytes] | None = None
        self._passed_over: list[bytes] = []
        self._replaced: list[bytes] = []

    def page(self, inventory: Inventory, events: Sequence[Event], *, time: int) -> list[Change]:
        """Changes of one page; entries that it passes over become candidates."""
        keys = [object_key(event.namespace, event.name) for event in events]
        if self._seen is None and not _ascending(self._after, keys):
            self._fall_back(inventory)
        changes: list[Change] = []
        for event, key, known in self._merge(inventory, events, keys):
            if known is None:
                self.counts.added += 1
            elif known.uid != event.uid:
                if self._retract:
                    self._replaced.append(key)
                    continue
                known = None  # noqa: PLW2901 - a new baseline: the old owner is forgotten, not deleted
                self.counts.added += 1
            elif known.rv == event.rv:
                self.counts.unchanged += 1
                continue
            else:
                self.counts.modified += 1
            change = self._rules.item(inventory, key, event, self._origin, time, new=known is None)
            if self._report:
                changes.append(change)
        return changes

    def end(self, inventory: Inventory, listed_rv: str) -> None:
        """The listing was complete at `listed_rv`: everything it did not show becomes a suspect."""
        missing = set(self._missing(inventory))
        for key, known, _ in list(inventory.suspects(len(missing) + _TOMBSTONES)):
            if key.startswith(self._prefix) and key not in missing:
                inventory.put(key, known)
        for key in sorted(missing):
            if self._retract:
                inventory.suspect(key, listed_rv)
            else:
                inventory.remove(key)

    def _merge(
        self, inventory: Inventory, events: Sequence[Event], keys: Sequence[bytes]
    ) -> Iterator[tuple[Event, bytes, Known | None]]:
        if self._seen is not None:
            self._seen.update(keys)
            for event, key in zip(events, keys, strict=True):
                yield event, key, inventory.get(key)
            return
        rows = iter(list(inventory.scan(self._after, keys[-1])) if keys else ())
        row = next(rows, None)
        for event, key in zip(events, keys, strict=True):
            while row is not None and row[0] < key:
                self._passed_over.append(row[0])
                row = next(rows, None)
            if row is not None and row[0] == key:
                yield event, key, row[1]
                row = next(rows, None)
            else:
                yield event, key, None
            self._after = key

    def _missing(self, inventory: Inventory) -> Iterator[bytes]:
        yield from self._replaced
        last = self._prefix[:-1] + b"0" if self._prefix else None  # "0" follows "/" in byte order
        if self._seen is None:
            yield from self._passed_over
            yield from [key for key, _ in inventory.scan(self._after, last)]
        else:
            rest = inventory.scan(self._prefix, last)
            yield from [key for key, _ in rest if key not in self._seen]

    def _fall_back(self, inventory: Inventory) -> None:
        passed = set(self._passed_over)
        reached = inventory.scan(self._prefix, self._after) if self._after != self._prefix else ()
        self._seen = {key for key, _ in reached if key not in passed}


class _Deletion(msgspec.Struct):
    deletionTimestamp: str | None = None  # noqa: N815 - the wire's name


class _Deleted(msgspec.Struct):
    metadata: _Deletion


def _why_gone(event: Event) -> Gone:
    """An object that left the selector arrives as DELETED too; only a deletionTimestamp tells."""
    try:
        deleted = msgspec.json.decode(event.object, type=_Deleted)
    except (msgspec.DecodeError, RecursionError):
        return Gone.UNKNOWN
    return Gone.DELETED if deleted.metadata.deletionTimestamp else Gone.UNKNOWN


def _ascending(after: bytes, keys: Sequence[bytes]) -> bool:
    for key in keys:
        if key <= after:
            return False
        after = key
    return True
