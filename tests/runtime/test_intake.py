"""What a watch says becomes records: in which order, with which cursor, and what a GET must confirm."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from bridge.changes.change import Cause, Change, Cursor, Event, Gone, StreamInfo
from bridge.changes.jsontext import Malformed
from bridge.changes.reconcile import Answer, Known, Reconciler
from bridge.errors import InvariantError
from bridge.operations.stats import StreamStats
from bridge.runtime import intake
from bridge.runtime.intake import WatchObserver
from bridge.store.memory import MemoryLog

STREAM = StreamInfo("cm", "", "v1", "configmaps", "ConfigMap")


def event(name: str, uid: str, rv: int, kind: str = "ADDED") -> Event:
    return Event(kind, "n", name, uid, str(rv), json.dumps({"metadata": {"name": name}}).encode())


class Cluster:
    """Answers what GETs would: `truth` is name -> (uid, rv); names in `silent` get no answer."""

    def __init__(self) -> None:
        self.truth: dict[str, Event] = {}
        self.silent: set[str] = set()
        self.asked: list[bytes] = []

    async def ask(self, suspects: Sequence[tuple[bytes, Known]], *, deadline: float) -> list[Answer]:
        del deadline
        await trio.lowlevel.checkpoint()
        answers = []
        for key, known in suspects:
            self.asked.append(key)
            name = key.decode().partition("/")[2]
            if name in self.silent:
                continue
            found = self.truth.get(name)
            same = found is not None and found.uid == known.uid
            answers.append(Answer(key, known, None if same else Gone.DELETED, None if same else found))
        return answers


class Bench:
    """One observer over a memory log."""

    def __init__(self, **options: Any) -> None:
        self.log = MemoryLog()
        self.cluster = Cluster()
        self.stats = StreamStats("cm")
        self.rules = Reconciler(selected=False)
        self.observer = WatchObserver(
            STREAM, "", self.log, self.rules, confirm=self.cluster.ask, stats=self.stats, fingerprint="f",
            notice=lambda *_: None, **{"redact": None, **options},
        )  # fmt: skip

    async def records(self) -> list[Change]:
        if not self.log.end():
            return []
        return [change for batch in await self.log.read(0, 1 << 30) for change in batch.changes]

    async def told(self) -> list[tuple[str, str]]:
        return [(c.type, c.name or (c.extra or {}).get("phase", "")) for c in await self.records()]

    async def list(self, *events: Event, rv: int, cause: Cause = Cause.FIRST_START) -> None:
        await self.observer.listing(cause, "")
        if events:
            await self.observer.page(events)
        await self.observer.listed(str(rv))


async def test_a_first_listing_is_a_resync_pair_around_what_exists_and_sets_the_cursor() -> None:
    bench = Bench()
    await bench.list(event("a", "u1", 5), event("b", "u2", 4), rv=9)
    assert await bench.told() == [("RESYNC", "begin"), ("ADDED", "a"), ("ADDED", "b"), ("RESYNC", "end")]
    state = await bench.log.watch_state("cm", "")
    assert state is not None
    assert (state.cursor, state.epoch, state.fingerprint) == (Cursor("9", "9"), 0, "f")
    begin, *_, end = [c.extra or {} for c in await bench.records()]
    assert begin["id"] == end["id"]
    assert (end["cause"], end["to"]) == ("firstStart", "9")
    assert end["counts"] == {"added": 2, "modified": 0, "deleted": 0, "unchanged": 0}


async def test_the_cursor_does_not_move_before_the_listing_is_complete() -> None:
    """[A25] A crash in the middle of a listing starts it again."""
    bench = Bench()
    await bench.observer.listing(Cause.FIRST_START, "")
    await bench.observer.page([event("a", "u1", 5)])
    state = await bench.log.watch_state("cm", "")
    assert state is None or state.cursor is None


async def test_a_page_of_large_objects_is_committed_in_parts_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole, it may be larger than what the log has room for, and then it would wait for ever."""
    monkeypatch.setattr(intake, "_PART_BYTES", 400)
    bench = Bench()
    await bench.list(*[event(f"o{n}", f"u{n}", n + 1) for n in range(6)], rv=9)
    sizes = [len(batch.changes) for batch in await bench.log.read(0, 1 << 30)]
    assert sizes == [1, 2, 2, 2, 1]
    assert [name for kind, name in await bench.told() if kind == "ADDED"] == [f"o{n}" for n in range(6)]


async def test_a_relist_deletes_only_what_a_get_confirms_before_its_end() -> None:
    """[N4][N8] Promise 2: 404 is a DELETED inside the RESYNC pair, the same uid is none at all."""
    bench = Bench()
    await bench.list(event("gone", "u1", 5), event("hidden", "u2", 6), rv=9)
    bench.cluster.truth["hidden"] = event("hidden", "u2", 6)
    await bench.list(rv=20, cause=Cause.EXPIRED)
    told = (await bench.told())[4:]
    assert told == [("RESYNC", "begin"), ("DELETED", "gone"), ("RESYNC", "end")]
    deleted = (await bench.records())[5]
    assert (deleted.rv, deleted.extra) == ("5", {"gone": "deleted", "synthetic": True, "observedAt": "20"})


async def test_what_no_get_answered_stays_pending_and_is_asked_again(autojump_clock: MockClock) -> None:
    """Never guessed: the DELETED comes when the server can be asked."""
    del autojump_clock
    bench = Bench()
    await bench.list(event("gone", "u1", 5), rv=9)
    bench.cluster.silent.add("gone")
    await bench.list(rv=20, cause=Cause.EXPIRED)
    assert ("DELETED", "gone") not in await bench.told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.observer.confirm_pending)
        await trio.sleep(100)
        assert ("DELETED", "gone") not in await bench.told()
        bench.cluster.silent.clear()
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert (await bench.told())[-1] == ("DELETED", "gone")
    assert await bench.observer.confirm_once() == 0


async def test_an_object_that_shows_itself_again_is_no_suspect_any_more() -> None:
    bench = Bench()
    await bench.list(event("back", "u1", 5), rv=9)
    bench.cluster.silent.add("back")
    await bench.list(rv=20, cause=Cause.EXPIRED)
    await bench.observer.changes([event("back", "u1", 21, "MODIFIED")], Cursor("20", "21"))
    bench.cluster.silent.clear()
    assert await bench.observer.confirm_once() == 0
    assert (await bench.told())[-1] == ("MODIFIED", "back")


async def test_an_epoch_raises_the_epoch_of_every_later_record() -> None:
    """[A12][N11]"""
    bench = Bench()
    await bench.list(event("a", "u1", 500), rv=900)
    await bench.list(event("a", "u1", 5), rv=40, cause=Cause.EPOCH)
    assert [c.epoch for c in await bench.records()] == [0, 0, 0, 1, 1, 1]
    state = await bench.log.watch_state("cm", "")
    assert state is not None
    assert (state.epoch, state.cursor) == (1, Cursor("40", "40"))


async def test_a_changed_scope_is_a_new_baseline_without_deletions() -> None:
    """[N9]"""
    bench = Bench()
    await bench.list(event("a", "u1", 5), event("b", "u2", 6), rv=9)
    await bench.list(event("b", "u2", 6), rv=20, cause=Cause.SCOPE_CHANGED)
    assert (await bench.told())[4:] == [("RESYNC", "begin"), ("RESYNC", "end")]
    assert bench.cluster.asked == []


async def test_initial_skip_reports_changes_from_then_on() -> None:
    """[N15]"""
    bench = Bench(report_initial=False)
    await bench.list(event("a", "u1", 5), rv=9)
    await bench.observer.changes([event("a", "u1", 10, "MODIFIED")], Cursor("9", "10"))
    assert await bench.told() == [("RESYNC", "begin"), ("RESYNC", "end"), ("MODIFIED", "a")]


async def test_an_ad_hoc_watch_leaves_out_only_the_pair_of_its_first_listing() -> None:
    bench = Bench(announce=False)
    await bench.list(event("a", "u1", 5), rv=9)
    await bench.list(event("a", "u1", 5), rv=20, cause=Cause.EXPIRED)
    assert await bench.told() == [("ADDED", "a"), ("RESYNC", "begin"), ("RESYNC", "end")]


async def test_poison_is_a_record_with_the_bytes_unless_the_stream_is_redacted() -> None:
    """[C14]"""
    bench = Bench()
    await bench.observer.poison(b"{nonsense", "not JSON")
    (record,) = await bench.records()
    assert record.extra is not None
    assert record.type == "POISON"
    assert (record.extra["length"], record.extra["error"], record.extra["raw"]) == (
        9,
        "not JSON",
        "e25vbnNlbnNl",
    )
    hidden = Bench()
    hidden.observer._stream = StreamInfo("s", "", "v1", "secrets", "Secret", redacted=True)
    await hidden.observer.poison(b"{nonsense", "not JSON")
    (record,) = await hidden.records()
    assert "raw" not in (record.extra or {})


async def test_an_object_that_cannot_be_redacted_is_poison_and_never_stored() -> None:
    def refuse(one: Event) -> Event:
        if one.name == "bad":
            raise Malformed("too strange")
        return one

    bench = Bench(redact=refuse)
    await bench.observer.changes([event("bad", "u1", 5), event("good", "u2", 6)], Cursor("5", "6"))
    assert [c.type for c in await bench.records()] == ["POISON", "ADDED"]


async def test_an_object_that_only_a_get_showed_is_redacted_too() -> None:
    """Promise 9: of what was created anew while nobody watched, the confirming GET shows the first bytes."""

    def redact(one: Event) -> Event:
        return msgspec.structs.replace(one, object=b"{}")

    bench = Bench(redact=redact)
    await bench.list(event("s", "u1", 5), rv=9)
    bench.cluster.truth["s"] = event("s", "u2", 15)
    await bench.list(event("s", "u2", 15), rv=20, cause=Cause.EXPIRED)
    records = (await bench.records())[3:]
    assert [(c.type, c.uid) for c in records[1:-1]] == [("DELETED", "u1"), ("ADDED", "u2")]
    assert {c.object for c in records} == {b"", b"{}"}
    bench.cluster.silent.add("s")
    await bench.list(event("s", "u3", 25), rv=30, cause=Cause.EXPIRED)
    bench.cluster.silent.clear()
    bench.cluster.truth["s"] = event("s", "u3", 25)
    assert await bench.observer.confirm_once() == 1
    assert {c.object for c in await bench.records()} == {b"", b"{}"}


async def test_a_page_without_a_listing_is_a_broken_promise_of_ours() -> None:
    with pytest.raises(InvariantError, match="without a listing"):
        await Bench().observer.page([event("a", "u1", 5)])


async def test_suspects_that_nobody_answers_for_do_not_hide_the_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 2: every deletion is asked about in turn, whatever stands before it in the order of names."""
    del autojump_clock
    monkeypatch.setattr(intake, "_SUSPECTS", 2)
    bench = Bench()
    names = ["a", "b", "c", "d", "e"]
    await bench.list(*(event(name, f"u{name}", 5) for name in names), rv=9)
    bench.cluster.silent |= {"a", "b"}
    await bench.list(rv=20, cause=Cause.EXPIRED)
    with trio.move_on_after(500):
        await bench.observer.confirm_pending()
    deleted = [name for kind, name in await bench.told() if kind == "DELETED"]
    assert sorted(deleted) == ["c", "d", "e"]


async def test_many_deletions_are_settled_one_round_after_the_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that settles something is followed by the next at once; the request limit is the only brake."""
    del autojump_clock
    monkeypatch.setattr(intake, "_SUSPECTS", 2)
    bench = Bench()
    names = [f"n{number}" for number in range(9)]
    await bench.list(*(event(name, f"u{name}", 5) for name in names), rv=9)
    await bench.list(rv=20, cause=Cause.EXPIRED)
    with trio.move_on_after(intake._PENDING_SECONDS + 1):
        await bench.observer.confirm_pending()
    deleted = [name for kind, name in await bench.told() if kind == "DELETED"]
    assert sorted(deleted) == names
