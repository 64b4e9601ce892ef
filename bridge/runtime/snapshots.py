"""Snapshots that single sinks are owed, and how the next listing of a watch pays them.

A request is kept in the log from the moment it is made until the end of its snapshot is in the log, so a
crash anywhere lists again. A listing that begins, for whatever cause, serves every request of its watch; one
that comes while it runs is served by the next. What is listed goes into the log a second time, addressed:

```
RESYNC begin   snapshot: <id>, cause of the request    audience: the sink
ADDED ...      snapshot: <id>, origin snapshot         audience: the sink; the same objects, in log order
               differences to what was known           for everybody, as with any listing
RESYNC end     snapshot: <id>, counts                  audience: the sink; fulfils the request
```

A snapshot for which the log has no room at once comes in portions, in the order of keys: each is paid by a
listing of its own, once the sink has taken the one before. How far it has come is not durable: after a
crash it begins again, with the same id. Listings at once for one sink share that room page by page: each
portion has at least one object, so all of them come to an end.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec

from bridge.changes.change import Cause, Change, Event, Origin, StreamInfo, Type
from bridge.changes.reconcile import Answer, Inventory, Known, object_key
from bridge.logs import log
from bridge.runtime.portions import Portion, Progress
from bridge.store.contract import Log, SnapshotRequest

__all__ = ["AddressedSnapshots", "Listener", "SnapshotDesk", "snapshot_requests"]

_RESYNC_BYTES: Final = 512


class Listener(Protocol):
    """See `bridge.kubernetes.watcher.Watcher.request_listing`."""

    def __call__(self, cause: Cause) -> None:
        """Want a complete listing as soon as the watch can be left."""


def snapshot_requests(sink: str, stream: str, scopes: Iterable[str], cause: Cause) -> list[SnapshotRequest]:
    """New requests for one sink, one for each watch of a stream."""
    return [SnapshotRequest(sink, stream, scope, cause.value, uuid4().hex[:16]) for scope in scopes]


class SnapshotDesk:
    """Knows which snapshots are owed and asks the watches for listings; one for each bridge.

    Args:
        records: the log that keeps the requests.
    """

    def __init__(self, records: Log) -> None:
        self._log = records
        self._owed: dict[tuple[str, str], dict[str, SnapshotRequest]] = {}
        self._listeners: dict[tuple[str, str], Listener] = {}
        self._held: set[str] = set()
        self._progress: dict[str, Progress] = {}
        self._put_off: set[str] = set()
        self._room: Callable[[str], int] = lambda _: sys.maxsize

    async def load(self, sinks: Iterable[str]) -> None:
        """Take up what an earlier life was asked for; what concerns no sink of these waits for its return."""
        configured = set(sinks)
        for request in await self._log.snapshot_requests():
            if request.sink in configured:
                self._keep(request)

    async def request(self, requests: Sequence[SnapshotRequest]) -> None:
        """Owe these from now on, durably; an older one for the same sink and watch is replaced.

        Raises:
            BridgeError: the storage failed.
        """
        if not requests:
            return
        await self._log.request_snapshots(requests)
        self.remember(requests)

    def remember(self, requests: Iterable[SnapshotRequest]) -> None:
        """Owe these, which the log keeps already."""
        for request in requests:
            self._keep(request)
            self._ask((request.stream, request.scope))

    def hold(self, sink: str) -> None:
        """This sink takes no records now: its snapshots wait until `release`."""
        self._held.add(sink)

    def release(self, sink: str) -> None:
        """This sink takes records again."""
        if sink not in self._held:
            return
        self._held.remove(sink)
        for watch, requests in self._owed.items():
            if sink in requests:
                self._ask(watch)

    def pace(self, room: Callable[[str], int]) -> None:
        """Ask from now on how many bytes more may be addressed to a sink."""
        self._room = room

    def room(self, sink: str) -> int:
        """How many bytes more may be addressed to a sink now."""
        return self._room(sink)

    def progress(self, request: SnapshotRequest) -> Progress | None:
        """How far a snapshot has come; None before its first portion has ended."""
        return self._progress.get(request.id)

    def put_off(self, request: SnapshotRequest, progress: Progress) -> None:
        """So much is in the log; what follows waits until the sink has taken it."""
        if self.owes(request):
            self._progress[request.id] = progress
            self._put_off.add(request.id)

    def taken(self, sink: str, position: int) -> None:
        """A sink has taken everything up to `position`: portions that waited for that may follow."""
        for watch, requests in self._owed.items():
            request = requests.get(sink)
            if request and request.id in self._put_off and self._progress[request.id].end <= position:
                self._put_off.discard(request.id)
                self._ask(watch)

    def owed(self, stream: str, scope: str) -> list[SnapshotRequest]:
        """What a listing of this watch that begins now has to pay."""
        requests = self._owed.get((stream, scope), {})
        return [
            request
            for sink, request in requests.items()
            if sink not in self._held and request.id not in self._put_off
        ]

    def owes(self, request: SnapshotRequest) -> bool:
        """Whether this very request still waits: another one for its sink and watch would replace it."""
        return self._owed.get((request.stream, request.scope), {}).get(request.sink) == request

    def waiting(self, sink: str) -> list[SnapshotRequest]:
        """What this sink is still owed."""
        return [requests[sink] for requests in self._owed.values() if sink in requests]

    def paid(self, request: SnapshotRequest) -> None:
        """This one is in the log; if it was replaced meanwhile, the other one stays owed."""
        if self.owes(request):
            del self._owed[request.stream, request.scope][request.sink]
            self._forget(request)
            log(
                "info",
                "snapshot is in the log",
                sink=request.sink,
                stream=request.stream,
                cause=request.cause,
            )

    @contextmanager
    def watching(self, stream: str, scope: str, listener: Listener, *, lists: bool) -> Iterator[None]:
        """A watch that can be asked runs within this block.

        Args:
            stream: its stream.
            scope: its namespace, "" for all.
            listener: asks for a listing.
            lists: it begins with a listing anyway, which pays what is owed.
        """
        self._listeners[stream, scope] = listener
        if not lists:
            self._ask((stream, scope))
        try:
            yield
        finally:
            del self._listeners[stream, scope]

    def _keep(self, request: SnapshotRequest) -> None:
        requests = self._owed.setdefault((request.stream, request.scope), {})
        replaced = requests.get(request.sink)
        if replaced is not None:
            self._forget(replaced)
        requests[request.sink] = request

    def _forget(self, request: SnapshotRequest) -> None:
        self._progress.pop(request.id, None)
        self._put_off.discard(request.id)

    def _ask(self, watch: tuple[str, str]) -> None:
        listener = self._listeners.get(watch)
        owed = self.owed(*watch)
        if listener is not None and owed:
            full = all(request.cause == Cause.BACKLOG_FULL for request in owed)
            # Both list at the revision that the watch has reached, so nobody misses a change in between.
            listener(Cause.BACKLOG_FULL if full else Cause.REQUESTED)


class _Snapshot(msgspec.Struct):
    """One that is being written. What was added, and whether to all, is for the work on the log only."""

    request: SnapshotRequest
    portion: Portion
    continued: bool = False
    added: int = 0
    shown_to_all: bool = False

    @classmethod
    def of(cls, request: SnapshotRequest, progress: Progress | None) -> "_Snapshot":
        """From where it has come to."""
        if progress is None:
            return cls(request, Portion(b""))
        return cls(request, Portion(progress.after), continued=True, added=progress.added)


class AddressedSnapshots:
    """The snapshots that one listing pays; void when another listing begins.

    Whatever depends on the inventory is decided by work on the log, in its order: an object is addressed to
    the sink exactly as it was reported to everybody, and not at all when that is still in doubt.

    Args:
        records: where they go.
        desk: knows what is owed, or None where nobody can be.
        stream: whose objects these are.
        scope: of the watch.
        from_rv: where the watch stood.
        reported: whether the listing reports to everybody what nobody knew.
    """

    def __init__(
        self,
        records: Log,
        desk: SnapshotDesk | None,
        stream: StreamInfo,
        scope: str,
        *,
        from_rv: str,
        reported: bool,
    ) -> None:
        self._log = records
        self._desk = desk
        self._stream = stream
        self._scope = scope
        self._from = from_rv
        self._reported = reported
        owed = desk.owed(stream.name, scope) if desk is not None else ()
        self._snapshots = [
            _Snapshot.of(request, desk.progress(request) if desk else None) for request in owed
        ]

    async def begin(self, *, time: int, epoch: int, prefix: bytes) -> None:
        """Say to each sink that its snapshot begins."""
        for snapshot in self._snapshots:
            if snapshot.continued:
                continue

            def work(inventory: Inventory, snapshot: _Snapshot = snapshot) -> Sequence[Change]:
                if self._suffices(snapshot.request, inventory, prefix):
                    snapshot.shown_to_all = True
                    return ()
                if snapshot.request.cause == Cause.BACKLOG_FULL:
                    return ()  # begun where the backlog was dropped
                return [self._resync(snapshot, time, epoch, "", {"phase": "begin"})]

            await self._append(snapshot, work, _RESYNC_BYTES)

    async def page(self, events: Sequence[Event], *, time: int, epoch: int, size: int) -> None:
        """Address one page to each sink; call it after the page was merged with the inventory."""
        for snapshot in self._snapshots:
            room = sys.maxsize if self._desk is None else self._desk.room(snapshot.request.sink)
            part = snapshot.portion.take(events, room)
            if not part:
                continue

            def work(
                inventory: Inventory, snapshot: _Snapshot = snapshot, part: Sequence[Event] = part
            ) -> Sequence[Change]:
                if snapshot.shown_to_all:
                    return ()
                # The inventory has another state where a deletion must be confirmed first; that is told
                # to everybody when it is settled.
                known = [e for e in part if inventory.get(_key(e)) == Known(e.uid, e.rv)]
                return self._added(snapshot, known, time, epoch)

            await self._append(snapshot, work, size)

    async def end(self, rv: str, *, answers: Sequence[Answer], asked: int, time: int, epoch: int) -> None:
        """Say to each sink that its snapshot is complete, if it is; with that, the requests are fulfilled.

        Args:
            rv: revision of the listing.
            answers: what GETs said of the objects that the listing did not show.
            asked: how many those were.
            time: now.
            epoch: of the server's revisions.
        """
        # A list can lie: what a GET still shows exists, and belongs to the snapshot.
        hidden = [a.found for a in answers if a.gone is None and a.found is not None]
        for snapshot in self._snapshots:
            part = [event for event in hidden if snapshot.portion.covers(event)]
            if snapshot.portion.full:
                await self._log.flush()  # whether all were shown it is known then
            if snapshot.portion.full and not snapshot.shown_to_all:
                await self._end_portion(snapshot, part, time, epoch)
            else:
                await self._complete(snapshot, part, rv, asked - len(answers), time, epoch)

    async def _end_portion(self, snapshot: _Snapshot, part: Sequence[Event], time: int, epoch: int) -> None:
        await self._append(snapshot, lambda _: self._added(snapshot, part, time, epoch), _size(part))
        await self._log.flush()  # all of it is counted, and has its place
        if self._desk is not None:
            progress = Progress(snapshot.portion.through, snapshot.added, self._log.end())
            self._desk.put_off(snapshot.request, progress)

    async def _complete(
        self, snapshot: _Snapshot, part: Sequence[Event], rv: str, unconfirmed: int, time: int, epoch: int
    ) -> None:
        def work(inventory: Inventory) -> Sequence[Change]:
            del inventory
            if snapshot.shown_to_all:
                return ()
            added = self._added(snapshot, part, time, epoch)
            end: dict[str, Any] = {"phase": "end", "to": rv, "counts": {"added": snapshot.added}}
            if unconfirmed:
                end["unconfirmed"] = unconfirmed
            return [*added, self._resync(snapshot, time, epoch, rv, end)]

        await self._append(snapshot, work, _RESYNC_BYTES + _size(part), fulfils=[snapshot.request])
        if self._desk is not None:
            self._desk.paid(snapshot.request)

    def _suffices(self, request: SnapshotRequest, inventory: Inventory, prefix: bytes) -> bool:
        """Whether what the listing tells everybody is the whole collection: nothing was known before."""
        if not (self._reported or request.cause == Cause.FIRST_START):
            return False
        through = prefix[:-1] + b"0" if prefix else None  # "0" follows "/" in byte order
        return next(iter(inventory.scan(prefix, through)), None) is None

    async def _append(
        self,
        snapshot: _Snapshot,
        work: Callable[[Inventory], Sequence[Change]],
        size: int,
        fulfils: Sequence[SnapshotRequest] = (),
    ) -> None:
        request = snapshot.request
        # One that was replaced meanwhile is void: what it had of the log was dropped with the backlog.
        if self._desk is not None and self._desk.owes(request):
            await self._log.append(
                self._stream, self._scope, work, size=size, audience=request.sink, fulfils=fulfils
            )

    def _added(self, snapshot: _Snapshot, events: Sequence[Event], time: int, epoch: int) -> list[Change]:
        snapshot.added += len(events)
        extra = {"snapshot": snapshot.request.id}
        return [
            Change(
                Type.ADDED, Origin.SNAPSHOT, time, e.namespace, e.name, e.uid, e.rv, epoch, e.object, extra
            )
            for e in events
        ]

    def _resync(self, snapshot: _Snapshot, time: int, epoch: int, rv: str, more: dict[str, Any]) -> Change:
        request = snapshot.request
        extra = {
            "id": request.id,
            "snapshot": request.id,
            "cause": request.cause,
            "from": self._from,
            "scope": self._scope,
            **more,
        }
        return Change(Type.RESYNC, Origin.SNAPSHOT, time, "", "", "", rv, epoch, b"", extra)


def _size(events: Sequence[Event]) -> int:
    return sum(len(event.object) for event in events)


def _key(event: Event) -> bytes:
    return object_key(event.namespace, event.name)
