"""One watch of one stream: what the watcher tells becomes records in the log.

Everything that decides anything runs as *work* on the log, in log order, against the inventory as it is
there; this module only composes it and says what is committed together.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec
import trio

from bridge.changes.change import Cause, Change, Cursor, Event, Origin, StreamInfo, Type
from bridge.changes.jsontext import Malformed
from bridge.changes.reconcile import Answer, Counts, Inventory, Known, Listing, Reconciler
from bridge.errors import InvariantError
from bridge.faults import crash_point
from bridge.kubernetes.observer import Phase
from bridge.operations.stats import StreamStats
from bridge.runtime.snapshots import AddressedSnapshots, SnapshotDesk
from bridge.store.contract import Log

__all__ = ["Confirm", "WatchObserver"]

_CONFIRM_SECONDS: Final = 30.0
"""How long a listing waits for confirmations before the rest stays pending."""
_PENDING_SECONDS: Final = 60.0
"""Between two rounds of asking about what stayed pending."""
_SUSPECTS: Final = 1000
"""Suspects asked about in one round."""
_ALL_SUSPECTS: Final = 1_000_000
_PART_BYTES: Final = 1 << 20
"""Of a page that is committed at once, unless a single object is larger."""
_POISON_RAW: Final = 64 * 1024
"""Bytes of an undecodable line that a POISON record shows at most."""


class Confirm(Protocol):
    """See `bridge.runtime.confirm.Confirmer.ask`."""

    async def __call__(self, suspects: Sequence[tuple[bytes, Known]], *, deadline: float) -> list[Answer]:
        """Answers for as many as could be had until `deadline` (trio time)."""
        ...


class WatchObserver:
    """Implements `bridge.kubernetes.observer.Observer` over the log, for one watch.

    Args:
        stream: the stream it belongs to.
        scope: the namespace it watches, "" for all.
        log: where changes go.
        rules: reconciliation of this watch, with the epoch that the log remembers.
        redact: applied to each event before anything else sees it, or None.
        confirm: asks about suspected deletions.
        stats: counters of the stream.
        fingerprint: identity of the collection, stored with the cursor.
        notice: told what the watch does.
        desk: knows which sinks are owed a snapshot, or None where nobody can be.
        report_initial: False with `initial: skip`: the very first listing is recorded, not reported.
        announce: False leaves out the RESYNC pair of the very first listing.
    """

    def __init__(  # noqa: PLR0913 - it is where the rooms meet
        self,
        stream: StreamInfo,
        scope: str,
        log: Log,
        rules: Reconciler,
        *,
        redact: Callable[[Event], Event] | None,
        confirm: Confirm,
        stats: StreamStats,
        fingerprint: str,
        notice: Callable[[Phase, str], None],
        desk: SnapshotDesk | None = None,
        report_initial: bool = True,
        announce: bool = True,
    ) -> None:
        self._stream = stream
        self._scope = scope
        self._log = log
        self._rules = rules
        self._redact = redact
        self._confirm = confirm
        self._stats = stats
        self._fingerprint = fingerprint
        self._notice = notice
        self._desk = desk
        self._report_initial = report_initial
        self._announce = announce
        self._announced = False
        self._listing: Listing | None = None
        self._snapshots = AddressedSnapshots(log, None, stream, scope, from_rv="", reported=True)
        self._resync: dict[str, Any] = {}
        self._asked_last = b""
        self._now: int = _now()

    async def listing(self, cause: Cause, from_rv: str) -> None:
        """Begin a complete listing; an earlier unfinished one is void."""
        if cause is Cause.EPOCH:
            self._rules.epoch += 1
        first = cause in (Cause.FIRST_START, Cause.STATE_LOST, Cause.SCOPE_CHANGED)
        reported = self._report_initial or cause is not Cause.FIRST_START
        prefix = f"{self._scope}/".encode() if self._scope else b""
        self._listing = Listing(
            self._rules,
            prefix,
            Origin.SNAPSHOT if first else Origin.RESYNC,
            report=reported,
            retract=cause is not Cause.SCOPE_CHANGED,
        )
        self._snapshots = AddressedSnapshots(
            self._log, self._desk, self._stream, self._scope, from_rv=from_rv, reported=reported
        )
        self._resync = {
            "id": uuid4().hex,
            "cause": cause.value,
            "from": from_rv,
            "scope": self._scope,
        }
        self._stats.listings[cause.value] += 1
        self._announced = self._announce or cause is not Cause.FIRST_START
        await self._snapshots.begin(time=self._now, epoch=self._rules.epoch, prefix=prefix)
        if self._announced:
            begin = self._control(Type.RESYNC, {**self._resync, "phase": "begin"})
            await self._log.append(self._stream, self._scope, lambda _: [begin], size=512)

    async def page(self, events: Sequence[Event]) -> None:
        """Merge one page with the inventory, in parts that the log can make room for."""
        listing = self._current_listing()
        events = await self._redacted(events)
        now = self._tick(events)
        for part in _parts(events):
            await self._log.append(
                self._stream,
                self._scope,
                partial(self._merge, listing, part, now),
                size=_size(part),
            )
            await self._snapshots.page(part, time=now, epoch=self._rules.epoch, size=_size(part))
        crash_point("list.page")

    def _merge(
        self, listing: Listing, events: Sequence[Event], now: int, inventory: Inventory
    ) -> Sequence[Change]:
        return self._count(listing.page(inventory, events, time=now))

    async def listed(self, rv: str) -> None:
        """Confirm what the listing passed over; commit deletions, RESYNC end and cursor together."""
        listing = self._current_listing()
        suspects: list[tuple[bytes, Known]] = []

        def doubt(inventory: Inventory) -> Sequence[Change]:
            listing.end(inventory, rv)
            suspects.extend((key, known) for key, known, _ in self._some_suspects(inventory))
            return ()

        await self._log.append(self._stream, self._scope, doubt, size=512)
        await self._log.flush()
        answers: list[Answer] = []
        if suspects:
            answers = await self._ask(suspects)

        def settle(inventory: Inventory) -> Sequence[Change]:
            changes = self._count(
                self._rules.settle(inventory, answers, listed_rv=rv, time=self._now, counts=listing.counts)
            )
            counts = msgspec.structs.asdict(listing.counts)
            end = {**self._resync, "phase": "end", "to": rv, "counts": counts}
            return [*changes, self._control(Type.RESYNC, end, rv)] if self._announced else changes

        crash_point("list.end")
        await self._log.append(
            self._stream,
            self._scope,
            settle,
            size=1024,
            cursor=Cursor(rv, rv),
            epoch=self._rules.epoch,
            fingerprint=self._fingerprint,
        )
        await self._snapshots.end(
            rv, answers=answers, asked=len(suspects), time=self._now, epoch=self._rules.epoch
        )
        self._listing = None

    async def changes(self, events: Sequence[Event], cursor: Cursor) -> None:
        """Live events: reconcile, and move the cursor with them."""
        events = await self._redacted(events)
        now = self._tick(events)
        await self._log.append(
            self._stream,
            self._scope,
            lambda inventory: self._count(self._rules.live(inventory, events, time=now)),
            size=_size(events),
            cursor=cursor,
        )

    async def bookmark(self, cursor: Cursor) -> None:
        """Only the cursor moves."""
        self._tick(())
        await self._log.append(self._stream, self._scope, lambda _: (), size=64, cursor=cursor)

    async def poison(self, line: bytes, error: str) -> None:
        """Say what could not be understood; the listing that follows steps over it."""
        import base64  # noqa: PLC0415 - never needed on a healthy day
        import hashlib  # noqa: PLC0415

        self._stats.poison += 1
        extra: dict[str, Any] = {
            "id": uuid4().hex,
            "length": len(line),
            "sha256": hashlib.sha256(line).hexdigest(),
            "error": error,
        }
        if not self._stream.redacted:
            extra["raw"] = base64.b64encode(line[:_POISON_RAW]).decode()
        record = self._control(Type.POISON, extra)
        await self._log.append(self._stream, self._scope, lambda _: [record], size=len(line))

    def phase(self, phase: Phase, reason: str) -> None:
        """Pass it on to readiness, metrics and the person who waits."""
        self._notice(phase, reason)

    async def confirm_pending(self) -> None:
        """Ask again, for ever, about suspects that no listing could settle. Ends only by cancellation."""
        while True:
            await trio.sleep(_PENDING_SECONDS)
            while await self.confirm_once():
                pass  # what paces this is the limit of requests; a round that settles nothing waits

    async def confirm_once(self) -> int:
        """One round over what is pending; returns how many are settled."""
        pending: list[tuple[bytes, Known, str]] = []

        def look(inventory: Inventory) -> Sequence[Change]:
            pending.extend(self._some_suspects(inventory))
            return ()

        if self._listing is not None:
            return 0
        await self._log.append(self._stream, self._scope, look, size=64)
        await self._log.flush()
        if not pending:
            return 0
        answers = await self._ask([(key, known) for key, known, _ in pending])
        listed = {key: listed_rv for key, _, listed_rv in pending}
        now = _now()

        def settle(inventory: Inventory) -> Sequence[Change]:
            return [
                change
                for answer in answers
                for change in self._rules.settle(
                    inventory, [answer], listed_rv=listed[answer.key], time=now, counts=Counts()
                )
            ]

        await self._log.append(self._stream, self._scope, settle, size=256 * len(answers))
        return len(answers)

    def _some_suspects(self, inventory: Inventory) -> Sequence[tuple[bytes, Known, str]]:
        """The next suspects of this scope, in turn: some that nobody answers for must not hide the others."""
        ours = [suspect for suspect in inventory.suspects(_ALL_SUSPECTS) if self._ours(suspect[0])]
        later = [suspect for suspect in ours if suspect[0] > self._asked_last]
        chosen = (later or ours)[:_SUSPECTS]
        self._asked_last = chosen[-1][0] if chosen else b""
        return chosen

    def _count(self, changes: list[Change]) -> list[Change]:
        self._stats.changed(changes)
        return changes

    async def _ask(self, suspects: Sequence[tuple[bytes, Known]]) -> list[Answer]:
        """What GETs say of suspects; an object that one of them shows is redacted like any other."""
        answers = await self._confirm(suspects, deadline=trio.current_time() + _CONFIRM_SECONDS)
        redacted: list[Answer] = []
        for answer in answers:
            found = await self._redacted([answer.found]) if answer.found is not None else ()
            redacted.append(answer._replace(found=found[0] if found else None))
        return redacted

    async def _redacted(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events as they may be stored. One that cannot be read cannot be redacted: it is POISON."""
        if self._redact is None:
            return events
        redacted: list[Event] = []
        for event in events:
            try:
                redacted.append(self._redact(event))
            except Malformed as error:
                await self.poison(event.object, f"{event.namespace}/{event.name} cannot be redacted: {error}")
        return redacted

    def _ours(self, key: bytes) -> bool:
        return not self._scope or key.startswith(f"{self._scope}/".encode())

    def _current_listing(self) -> Listing:
        if self._listing is None:
            raise InvariantError(f"stream {self._stream.name}: a page without a listing")
        return self._listing

    def _tick(self, events: Sequence[Event]) -> int:
        self._now = _now()
        self._stats.progress(len(events))
        return self._now

    def _control(self, kind: Type, extra: dict[str, Any], rv: str = "") -> Change:
        origin = Origin.WATCH if kind is Type.POISON else Origin.RESYNC
        return Change(kind, origin, self._now, "", "", "", rv, self._rules.epoch, b"", extra)


def _parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """A page is as large as the server makes it; committed whole, it may never fit into a small log."""
    start = size = 0
    for at, event in enumerate(events):
        size += _size([event])
        if size > _PART_BYTES and at > start:
            yield events[start:at]
            start, size = at, _size([event])
    yield events[start:]


def _size(events: Sequence[Event]) -> int:
    return sum(len(event.object) for event in events) + 128 * len(events)


def _now() -> int:
    return time.time_ns() // 1000
