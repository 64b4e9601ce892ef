"""A snapshot that one sink is owed: from the request to its end in the log, through listings and crashes."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio

from bridge.changes.change import Cause, Change, Cursor, Event, Gone, StreamInfo
from bridge.changes.envelope import Bridge, Renderer
from bridge.changes.reconcile import Answer, Known, Reconciler
from bridge.operations.stats import StreamStats
from bridge.runtime.intake import WatchObserver
from bridge.runtime.snapshots import SnapshotDesk, snapshot_requests
from bridge.store.contract import SnapshotRequest
from bridge.store.memory import MemoryLog

STREAM = StreamInfo("cm", "", "v1", "configmaps", "ConfigMap")


def event(name: str, uid: str, rv: int, kind: str = "ADDED") -> Event:
    return Event(kind, "n", name, uid, str(rv), json.dumps({"name": name, "secret": "s3cret"}).encode())


class Bench:
    """One watch of a stream over a log in memory; `truth` is what GETs would show."""

    def __init__(self, log: MemoryLog | None = None, **options: Any) -> None:
        self.log = log or MemoryLog()
        self.desk = SnapshotDesk(self.log)
        self.truth: dict[str, Event] = {}
        self.silent: set[str] = set()
        self.demands: list[Cause] = []
        self.observer = WatchObserver(
            STREAM, "", self.log, Reconciler(selected=False), confirm=self.ask, stats=StreamStats("cm"),
            fingerprint="f", notice=lambda *_: None, desk=self.desk, **{"redact": None, **options},
        )  # fmt: skip

    async def ask(self, suspects: Sequence[tuple[bytes, Known]], *, deadline: float) -> list[Answer]:
        del deadline
        await trio.lowlevel.checkpoint()
        answers = []
        for key, known in suspects:
            name = key.decode().partition("/")[2]
            found = self.truth.get(name)
            same = found is not None and found.uid == known.uid
            if name not in self.silent:
                answers.append(Answer(key, known, None if same else Gone.DELETED, found))
        return answers

    def demand(self, cause: Cause) -> None:
        self.demands.append(cause)

    async def request(self, sink: str, cause: Cause = Cause.REQUESTED) -> SnapshotRequest:
        (request,) = snapshot_requests(sink, "cm", [""], cause)
        await self.desk.request([request])
        return request

    async def relist(self, *events: Event, rv: int, cause: Cause = Cause.REQUESTED) -> None:
        await self.observer.listing(cause, "1")
        if events:
            await self.observer.page(events)
        await self.observer.listed(str(rv))

    async def records(self, sink: str = "") -> list[Change]:
        """What a sink is handed; without a name what all are."""
        if not self.log.end():
            return []
        batches = await self.log.read(0, 1 << 30)
        return [change for batch in batches if batch.audience in ("", sink) for change in batch.changes]

    async def told(self, sink: str = "") -> list[tuple[str, str]]:
        """Type and name; of addressed records with the snapshot's mark."""
        return [
            (c.type, (c.name or (c.extra or {})["phase"]) + ("/s" if "snapshot" in (c.extra or {}) else ""))
            for c in await self.records(sink)
        ]


async def test_a_listing_sends_what_exists_to_the_sink_that_is_owed_it_and_differences_to_all() -> None:
    bench = Bench()
    await bench.relist(event("a", "u1", 5), event("b", "u2", 4), rv=9, cause=Cause.FIRST_START)
    before = len(await bench.records("new"))
    request = await bench.request("new")
    await bench.relist(event("a", "u1", 5), event("b", "u2", 12), rv=20)
    assert (await bench.told("new"))[before:] == [
        ("RESYNC", "begin/s"), ("RESYNC", "begin"),
        ("MODIFIED", "b"), ("ADDED", "a/s"), ("ADDED", "b/s"),
        ("RESYNC", "end"), ("RESYNC", "end/s"),
    ]  # fmt: skip
    assert (await bench.told("other"))[before:] == [
        ("RESYNC", "begin"), ("MODIFIED", "b"), ("RESYNC", "end"),
    ]  # fmt: skip
    end = (await bench.records("new"))[-1].extra
    assert end == {
        "id": request.id, "snapshot": request.id, "cause": "requested", "from": "1", "to": "20", "scope": "",
        "phase": "end", "counts": {"added": 2},
    }  # fmt: skip
    assert await bench.log.snapshot_requests() == []
    assert bench.desk.waiting("new") == []


async def test_ids_of_a_snapshot_are_its_own_and_the_same_when_it_starts_anew() -> None:
    """Promise 5: a repeat can be told from something new, and from the object's own record."""
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    request = await bench.request("new")
    await bench.observer.listing(Cause.REQUESTED, "9")
    await bench.observer.page([event("a", "u1", 5)])
    await bench.relist(event("a", "u1", 5), rv=9)
    render = Renderer(Bridge("c", "cu"), STREAM).render
    mine = [c for c in await bench.records("new") if c.type == "ADDED" and c.extra]
    ids = [record.id for change in mine if (record := render(change, 1)) is not None]
    assert ids == [f"cu/cm/u1/5/U/s{request.id}"] * 2
    assert mine[0].origin == "snapshot"


async def test_a_request_outlives_a_crash_until_its_end_is_in_the_log() -> None:
    """A crash in the middle of the snapshot, and one between request and listing, list again."""
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    request = await bench.request("new", Cause.STATE_LOST)
    await bench.observer.listing(Cause.REQUESTED, "9")
    await bench.observer.page([event("a", "u1", 5)])
    again = Bench(bench.log)
    await again.desk.load(["new"])
    assert again.desk.waiting("new") == [request]
    with again.desk.watching("cm", "", again.demand, lists=False):
        assert again.demands == [Cause.REQUESTED]
    await again.relist(event("a", "u1", 5), rv=9)
    last = Bench(bench.log)
    await last.desk.load(["new"])
    assert last.desk.waiting("new") == []
    with last.desk.watching("cm", "", last.demand, lists=False):
        assert last.demands == []


async def test_a_request_during_a_listing_is_served_by_the_next_one() -> None:
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    await bench.observer.listing(Cause.EXPIRED, "9")
    with bench.desk.watching("cm", "", bench.demand, lists=False):
        request = await bench.request("new")
        assert bench.demands == [Cause.REQUESTED]
        await bench.observer.page([event("a", "u1", 5)])
        await bench.observer.listed("20")
        assert bench.desk.waiting("new") == [request]
        assert ("ADDED", "a/s") not in await bench.told("new")
        await bench.relist(event("a", "u1", 5), rv=20)
    assert ("ADDED", "a/s") in await bench.told("new")
    assert bench.desk.waiting("new") == []


@pytest.mark.parametrize(
    "cause", [Cause.EXPIRED, Cause.POISON, Cause.EPOCH, Cause.SCOPE_CHANGED, Cause.AUDIT]
)
async def test_any_listing_pays_what_is_owed(cause: Cause) -> None:
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    await bench.request("new")
    await bench.relist(event("a", "u1", 5), rv=20, cause=cause)
    assert bench.desk.waiting("new") == []
    assert [told for told in await bench.told("new") if told[1].endswith("/s")] == [
        ("RESYNC", "begin/s"), ("ADDED", "a/s"), ("RESYNC", "end/s"),
    ]  # fmt: skip


async def test_a_first_listing_that_tells_everybody_everything_is_a_new_sinks_snapshot_too() -> None:
    """Nobody knew anything yet, so nothing is sent twice."""
    bench = Bench()
    await bench.request("new", Cause.FIRST_START)
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    assert await bench.told("new") == [("RESYNC", "begin"), ("ADDED", "a"), ("RESYNC", "end")]
    assert bench.desk.waiting("new") == []


async def test_a_snapshot_that_was_asked_for_comes_even_where_initial_is_skip() -> None:
    bench = Bench(report_initial=False)
    await bench.request("new")
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    assert ("ADDED", "a/s") in await bench.told("new")
    assert ("ADDED", "a") not in await bench.told("other")


async def test_a_first_listing_that_a_crash_cut_off_leaves_the_new_sink_its_own_snapshot() -> None:
    """What the first attempt told may be gone from the log before the new sink comes."""
    bench = Bench()
    await bench.observer.listing(Cause.FIRST_START, "")
    await bench.observer.page([event("a", "u1", 5)])
    again = Bench(bench.log)
    await again.request("new", Cause.FIRST_START)
    await again.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    assert ("ADDED", "a/s") in await again.told("new")


async def test_a_name_with_a_new_owner_is_told_as_deletion_and_addition_in_that_order() -> None:
    """The snapshot must not show the new object before the old one is said to be gone."""
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    await bench.request("new")
    bench.truth["a"] = event("a", "u2", 15)
    await bench.relist(event("a", "u2", 15), rv=20)
    objects = [(c.type, c.uid) for c in await bench.records("new") if c.name]
    assert objects == [("ADDED", "u1"), ("DELETED", "u1"), ("ADDED", "u2")]


async def test_an_object_that_the_list_hid_belongs_to_the_snapshot() -> None:
    """Promise 8: a list can lie; what a GET still shows exists."""
    bench = Bench()
    await bench.relist(event("a", "u1", 5), event("b", "u2", 6), rv=9, cause=Cause.FIRST_START)
    await bench.request("new")
    bench.truth["b"] = event("b", "u2", 6)
    await bench.relist(event("a", "u1", 5), rv=20)
    assert [told for told in await bench.told("new") if told[1].endswith("/s")] == [
        ("RESYNC", "begin/s"), ("ADDED", "a/s"), ("ADDED", "b/s"), ("RESYNC", "end/s"),
    ]  # fmt: skip


async def test_what_nobody_could_confirm_is_counted_at_the_end() -> None:
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    await bench.request("new")
    bench.silent.add("a")
    await bench.relist(rv=20)
    assert ((await bench.records("new"))[-1].extra or {})["unconfirmed"] == 1


async def test_snapshots_are_redacted_like_everything_else() -> None:
    """Promise 9."""

    def redact(one: Event) -> Event:
        return msgspec.structs.replace(one, object=one.object.replace(b"s3cret", b"#"))

    bench = Bench(redact=redact)
    await bench.relist(event("a", "u1", 5), event("b", "u2", 5), rv=9, cause=Cause.FIRST_START)
    await bench.request("new")
    bench.truth["b"] = event("b", "u2", 6)
    await bench.relist(event("a", "u1", 5), rv=20)
    assert {c.object for c in await bench.records("new") if c.object} == {
        b'{"name": "a", "secret": "#"}', b'{"name": "b", "secret": "#"}',
    }  # fmt: skip


async def test_a_sink_that_takes_nothing_is_not_listed_for() -> None:
    """Its snapshot would fill the log once more; it is asked for when the sink is back."""
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    with bench.desk.watching("cm", "", bench.demand, lists=False):
        bench.desk.hold("slow")
        request = await bench.request("slow", Cause.BACKLOG_FULL)
        assert bench.demands == []
        await bench.relist(event("a", "u1", 5), rv=20, cause=Cause.EXPIRED)
        assert bench.desk.waiting("slow") == [request]
        bench.desk.release("slow")
        assert bench.demands == [Cause.BACKLOG_FULL]
        await bench.relist(event("a", "u1", 5), rv=20, cause=Cause.BACKLOG_FULL)
    told = [told for told in await bench.told("slow") if told[1].endswith("/s")]
    assert told == [("ADDED", "a/s"), ("RESYNC", "end/s")], "it began where the backlog was dropped"


async def test_a_snapshot_that_another_one_replaces_is_void_and_ends_nowhere() -> None:
    """Its beginning was dropped with the backlog: an end would call a part of it complete."""
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    await bench.request("slow")
    await bench.observer.listing(Cause.REQUESTED, "9")
    newer = await bench.request("slow", Cause.BACKLOG_FULL)
    await bench.observer.page([event("a", "u1", 5)])
    await bench.observer.listed("20")
    assert [told for told in await bench.told("slow") if told[1].endswith("/s")] == [("RESYNC", "begin/s")]
    assert bench.desk.waiting("slow") == [newer]
    assert await bench.log.snapshot_requests() == [newer]


async def test_live_changes_around_a_snapshot_keep_their_order() -> None:
    bench = Bench()
    await bench.relist(event("a", "u1", 5), rv=9, cause=Cause.FIRST_START)
    await bench.observer.changes([event("a", "u1", 10, "MODIFIED")], Cursor("9", "10"))
    await bench.request("new")
    await bench.relist(event("a", "u1", 10), rv=10)
    await bench.observer.changes([event("a", "u1", 11, "DELETED")], Cursor("10", "11"))
    objects = [(c.type, c.rv) for c in await bench.records("new") if c.name]
    assert objects == [("ADDED", "5"), ("MODIFIED", "10"), ("ADDED", "10"), ("DELETED", "11")]
