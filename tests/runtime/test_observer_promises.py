"""What the observer gives to the log: redacted always, and each cursor together with what it stands for."""

import json
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from bridge.changes.change import Cause, Change, Cursor, Event, Gone, StreamInfo
from bridge.changes.reconcile import Answer, Known, Reconciler
from bridge.operations.stats import StreamStats
from bridge.runtime.intake import WatchObserver
from bridge.store.contract import Log, Work
from bridge.store.memory import MemoryLog

SECRETS = StreamInfo("secrets", "", "v1", "secrets", "Secret", redacted=True)
SENTINEL = b"s3ntinel"


class Appended(msgspec.Struct):
    """One append, as it was committed."""

    changes: Sequence[Change]
    cursor: Cursor | None


class Recorder:
    """A log that commits each append by itself: the finest order in which a kill could find them."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.appended: list[Appended] = []

    async def append(
        self,
        stream: StreamInfo,
        scope: str,
        work: Work,
        *,
        size: int,
        cursor: Cursor | None = None,
        **rest: Any,
    ) -> None:
        entry = Appended((), cursor)

        def run(inventory: Any) -> Sequence[Change]:
            entry.changes = work(inventory)
            return entry.changes

        await self._log.append(stream, scope, run, size=size, cursor=cursor, **rest)
        await self._log.flush()
        self.appended.append(entry)

    async def flush(self) -> None:
        await self._log.flush()


def secret(name: str, rv: str, kind: str = "ADDED") -> Event:
    return Event(kind, "shop", name, f"uid-{name}", rv, json.dumps({"data": SENTINEL.decode()}).encode())


def redact(event: Event) -> Event:
    return msgspec.structs.replace(event, object=event.object.replace(SENTINEL, b"#"))


async def all_gone(suspects: Sequence[tuple[bytes, Known]], *, deadline: float) -> list[Answer]:  # noqa: ARG001
    return [Answer(key, known, Gone.DELETED, None) for key, known in suspects]


def observer_of(recorder: Recorder) -> WatchObserver:
    return WatchObserver(
        SECRETS,
        "",
        cast("Log", recorder),
        Reconciler(selected=False),
        redact=redact,
        confirm=all_gone,
        stats=StreamStats("secrets"),
        fingerprint="f",
        notice=lambda phase, reason: None,  # noqa: ARG005
    )


async def tell_everything(observer: WatchObserver) -> None:
    """A first listing of two, live events, and a listing that passes one over."""
    await observer.listing(Cause.FIRST_START, "")
    await observer.page([secret("a", "1"), secret("b", "2")])
    await observer.listed("10")
    await observer.changes([secret("c", "11"), secret("a", "12", "MODIFIED")], Cursor("11", "12"))
    await observer.bookmark(Cursor("12", "15"))
    await observer.poison(b'{"data":"' + SENTINEL, "torn")
    await observer.listing(Cause.POISON, "12")
    await observer.page([secret("a", "12"), secret("c", "16", "MODIFIED")])
    await observer.listed("20")


async def test_no_record_of_a_redacted_stream_holds_a_value_in_the_clear() -> None:
    """Listed, live, relisted or undecodable: what is stored was redacted before."""
    async with MemoryLog.open() as log:
        recorder = Recorder(log)
        await tell_everything(observer_of(recorder))
    changes = [change for entry in recorder.appended for change in entry.changes]
    assert [change.type for change in changes if change.object] == ["ADDED"] * 3 + ["MODIFIED"] * 2
    for change in changes:
        assert SENTINEL not in msgspec.json.encode(change), change
        assert SENTINEL not in change.object, change
        assert "raw" not in (change.extra or {})


async def test_a_cursor_is_committed_with_what_it_stands_for_or_after_it() -> None:
    """Were each append a commit and a kill behind each, no cursor is ahead of the records before it."""
    async with MemoryLog.open() as log:
        recorder = Recorder(log)
        await tell_everything(observer_of(recorder))
    newest = 0
    for entry in recorder.appended:
        newest = max([newest, *(int(change.rv) for change in entry.changes if change.object)])
        if entry.cursor is not None and entry.cursor.rv == "11":
            assert newest == 12, "the cursor of live events came before them"


async def test_a_listing_moves_the_cursor_with_its_end_and_its_deletions_only() -> None:
    """A kill before that lists again: nobody would look for what was deleted otherwise."""
    async with MemoryLog.open() as log:
        recorder = Recorder(log)
        await tell_everything(observer_of(recorder))
    ends = [entry for entry in recorder.appended if entry.cursor in (Cursor("10", "10"), Cursor("20", "20"))]
    told = [[(change.type, change.name) for change in entry.changes] for entry in ends]
    assert told == [[("RESYNC", "")], [("DELETED", "b"), ("RESYNC", "")]]
