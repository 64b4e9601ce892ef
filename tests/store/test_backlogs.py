"""Records for one sink, sinks that come and go, lag, snapshots that are owed, dropped backlogs."""

from collections.abc import Sequence

import msgspec
import pytest

from bridge.changes.change import Change, Cursor
from bridge.changes.reconcile import Inventory, Known
from bridge.errors import InvariantError
from bridge.store.contract import Dropped, Lag, Log, Refused, WatchState
from tests.store.reading import flat, heard, read_all, store
from tests.store.samples import PODS, SECRETS, change, deleted, emit, gone, owed, tell

# Audiences.


async def test_records_for_one_sink_keep_their_place_among_those_for_all(log: Log) -> None:
    """Within one stream and one commit too: a snapshot's older state must not come behind a newer one."""
    start = (await log.open_sink("out", "f")).position
    await log.append(PODS, "", emit(change("a", 1)), size=100)
    await log.append(PODS, "", tell(change("a", 1), change("b", 1)), size=100, audience="out")
    await log.append(PODS, "", emit(change("a", 2)), size=100)
    await log.append(PODS, "", tell(change("a", 2)), size=100, audience="other")
    await log.flush()
    found = [(batch.audience, item.rv) for batch in await read_all(log, start) for item in batch.changes]
    assert found == [("", "1"), ("out", "1"), ("out", "1"), ("", "2"), ("other", "2")]
    (batch,) = await log.read(start + 2, 1)
    assert (batch.audience, batch.position, len(batch.changes)) == ("out", start + 3, 1)


async def test_records_for_one_sink_leave_the_inventory_and_the_watch_as_they_were(log: Log) -> None:
    seen: list[Known | None] = []

    def look(inventory: Inventory) -> Sequence[Change]:
        seen.append(inventory.get(b"shop/a"))
        return [change("a", 9), gone("a", 9)]

    await log.append(PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"), fingerprint="f")
    await log.append(PODS, "", look, size=10, audience="out")
    await log.append(PODS, "", look, size=10)
    await log.flush()
    assert seen == [Known(change("a", 1).uid, "1")] * 2
    assert await log.watch_state("pods", "") == WatchState(Cursor("1", "1"), 0, "f")


@pytest.mark.parametrize("write", ["put", "remove", "suspect"])
async def test_work_for_one_sink_that_writes_to_the_inventory_ends_the_log(log: Log, write: str) -> None:
    def work(inventory: Inventory) -> Sequence[Change]:
        if write == "put":
            inventory.put(b"shop/a", Known("u", "1"))
        elif write == "remove":
            inventory.remove(b"shop/a")
        else:
            inventory.suspect(b"shop/a", "1")
        return ()

    async def go_on() -> None:
        await log.append(PODS, "", work, size=10, audience="out")
        await log.flush()

    with pytest.raises(InvariantError, match=r"for all|of all"):
        await go_on()


# Sinks that come and go.


async def test_a_sink_of_a_new_log_is_not_fresh_and_a_later_one_is_until_a_snapshot_is_owed(log: Log) -> None:
    assert not (await log.open_sink("one", "f")).fresh
    await store(log, change("a", 1))
    assert not (await log.open_sink("one", "f")).fresh
    assert (await log.open_sink("two", "f")).fresh
    assert (await log.open_sink("two", "f")).fresh
    await log.request_snapshots([owed("two")])
    assert not (await log.open_sink("two", "f")).fresh


async def test_a_released_sink_holds_back_nothing_and_goes_on_where_it_was_if_it_lost_nothing(
    log: Log,
) -> None:
    start = (await log.open_sink("out", "f")).position
    await log.open_sink("slow", "f")
    await store(log, change("a", 1), change("a", 2))
    log.acknowledge("out", start + 1)
    await log.release_sink("out")
    with pytest.raises(InvariantError, match="not opened"):
        log.acknowledge("out", start + 2)
    opened = await log.open_sink("out", "f")
    assert (opened.position, opened.fresh) == (start + 1, False)


async def test_releasing_a_sink_that_is_not_open_does_nothing(log: Log) -> None:
    await log.release_sink("nobody")


# Lag.


async def test_lag_is_what_is_kept_behind_a_position(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    assert log.lag(start) == Lag(0, 0, 0)
    await store(log, *(change("a", rv) for rv in range(10, 20)))
    await log.append(PODS, "", tell(change("b", 5)), size=10, audience="other")
    await log.flush()
    whole = log.lag(start)
    assert whole.records == 11
    assert whole.bytes == log.stats().kept_bytes
    assert whole.oldest == change("a", 10).time
    part = log.lag(start + 4)
    assert part.records == 7
    assert 0 < part.bytes < whole.bytes
    assert log.lag(start + 10).records == 1
    assert log.lag(start + 10).oldest == change("b", 5).time
    assert log.lag(log.end()) == Lag(0, 0, 0)
    assert log.stats().limit_bytes >= whole.bytes


# Snapshots that are owed.


async def test_a_request_is_kept_until_its_own_snapshot_is_in_the_log(log: Log) -> None:
    first, second = owed(), owed("hook", scope="shop", key="s2")
    await log.request_snapshots([first, second])
    assert await log.snapshot_requests() == [second, first]
    await log.append(PODS, "", tell(change("a", 1)), size=10, audience="out", fulfils=[first])
    await log.flush()
    assert await log.snapshot_requests() == [second]
    await log.append(PODS, "", tell(), size=10, audience="hook", fulfils=[second])
    await log.flush()
    assert await log.snapshot_requests() == []


async def test_a_request_that_replaced_another_is_not_fulfilled_by_the_older_ones_snapshot(log: Log) -> None:
    await log.request_snapshots([owed(key="old")])
    await log.request_snapshots([owed(key="new")])
    await log.append(PODS, "", tell(), size=10, audience="out", fulfils=[owed(key="old")])
    await log.flush()
    assert await log.snapshot_requests() == [owed(key="new")]


# Backlogs.


async def test_a_dropped_backlog_leaves_a_resync_with_counts_and_the_deletions_without_objects(
    log: Log,
) -> None:
    start = (await log.open_sink("out", "f")).position
    await log.open_sink("fast", "f")
    lost = msgspec.structs.replace(deleted("b", 3), extra={"gone": "deleted"})
    await store(log, change("a", 1), change("b", 2), lost)
    log.acknowledge("out", start + 1)
    await log.append(PODS, "", tell(deleted("c", 4), change("d", 4)), size=10, audience="out")
    await log.append(PODS, "", tell(deleted("e", 5)), size=10, audience="fast")
    await log.append(SECRETS, "", emit(change("s", 6)), size=10)
    await log.flush()
    end = log.end()
    assert await log.drop_backlog("out", ["pods"]) == Dropped({"pods": 4}, {"pods": 2}, end)
    batches = [batch for batch in await read_all(log, end) if batch.audience == "out"]
    begin, *rest = [item for _, item in flat(batches)]
    assert (begin.type, begin.origin) == ("RESYNC", "resync")
    assert begin.extra is not None
    assert begin.extra.pop("id")
    assert begin.extra == {
        "cause": "backlogFull",
        "from": "2",
        "scope": "",
        "phase": "begin",
        "counts": {"dropped": 4, "deletions": 2},
    }
    assert rest == [msgspec.structs.replace(item, object=b"") for item in (lost, deleted("c", 4))]
    log.acknowledge("out", log.end())
    told = await heard(log, "fast", start)
    assert told[:3] == [("MODIFIED", "1"), ("MODIFIED", "2"), ("DELETED", "3")]
    assert told[3:] == [("DELETED", "5"), ("MODIFIED", "6")]


async def test_what_is_dropped_begins_at_its_oldest_revision_in_whatever_order_it_was_listed(
    log: Log,
) -> None:
    """A listing comes in the order of names, and a restored backup counts anew."""
    await log.open_sink("out", "f")
    later = msgspec.structs.replace(change("z", 1), epoch=1)
    await store(log, change("a", 100), change("b", 99), change("c", 101), later)
    dropped = await log.drop_backlog("out", ["pods"])
    [begin] = [item.extra for _, item in flat(await read_all(log, dropped.end)) if item.type == "RESYNC"]
    assert begin is not None
    assert begin["from"] == "99"


async def test_deletions_that_were_kept_once_are_kept_when_the_backlog_is_dropped_again(log: Log) -> None:
    await log.open_sink("out", "f")
    await store(log, change("a", 1), deleted("a", 2))
    await log.drop_backlog("out", None)
    await store(log, change("b", 3))
    dropped = await log.drop_backlog("out", None)
    assert (dropped.records, dropped.deletions) == ({"pods": 3}, {"pods": 1})
    assert await heard(log, "out", dropped.end) == [("RESYNC", ""), ("DELETED", "2")]


async def test_with_the_snapshots_that_are_owed_each_has_its_begin_and_is_remembered(log: Log) -> None:
    await log.open_sink("out", "f")
    await store(log, deleted("a", 1), change("b", 2, namespace="pay"), change("c", 3, namespace="pay"))
    requests = [owed(scope="pay", key="p"), owed(scope="shop", key="s"), owed(stream="never", key="n")]
    dropped = await log.drop_backlog("out", None, requests)
    begins = [item.extra for _, item in flat(await read_all(log, dropped.end)) if item.type == "RESYNC"]
    assert [(extra["id"], extra["scope"], extra["from"], extra["counts"]) for extra in begins if extra] == [
        ("p", "pay", "2", {"dropped": 2, "deletions": 0}),
        ("s", "shop", "1", {"dropped": 1, "deletions": 1}),
    ]
    assert await log.snapshot_requests() == sorted(requests, key=lambda one: (one.stream, one.scope))


async def test_dropping_nothing_moves_nothing(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    assert await log.drop_backlog("out", None) == Dropped({}, {}, start)
    assert log.end() == start


async def test_the_backlog_of_a_sink_that_is_not_open_cannot_be_dropped(log: Log) -> None:
    with pytest.raises(Refused, match="not open"):
        await log.drop_backlog("out", None)


async def test_of_a_batch_that_a_sink_has_a_part_of_only_the_rest_is_dropped(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    await store(log, deleted("a", 1), change("b", 2), deleted("c", 3), change("d", 4))
    log.acknowledge("out", start + 1)
    dropped = await log.drop_backlog("out", None)
    assert (dropped.records, dropped.deletions) == ({"pods": 3}, {"pods": 1})
    assert await heard(log, "out", dropped.end) == [("RESYNC", ""), ("DELETED", "3")]


async def test_work_for_one_sink_sees_the_inventory(log: Log) -> None:
    found: list[object] = []

    def look(inventory: Inventory) -> Sequence[Change]:
        found.append((inventory.get(b"shop/a"), list(inventory.scan(b"", None)), inventory.suspects(9)))
        return ()

    await store(log, change("a", 1))
    await log.append(PODS, "", look, size=10, audience="out")
    await log.flush()
    known = Known(change("a", 1).uid, "1")
    assert found == [(known, [(b"shop/a", known)], [])]


async def test_a_sink_that_takes_a_stream_it_left_out_is_told_so_until_that_is_owed(log: Log) -> None:
    assert (await log.open_sink("out", "f", ["pods"], ["secrets", "jobs"])).missed == ()
    await log.release_sink("out")
    for _ in range(2):
        opened = await log.open_sink("out", "f", ["pods", "secrets", "nodes"], ["jobs"])
        assert (opened.fresh, opened.missed) == (False, ("secrets",))
        await log.release_sink("out")
    await log.request_snapshots([owed("out", "secrets")])
    opened = await log.open_sink("out", "f", ["jobs", "secrets", "nodes"], ["pods"])
    assert opened.missed == ("jobs",)


async def test_a_stream_of_which_a_sink_needs_only_what_is_to_come_is_not_missed_later_either(
    log: Log,
) -> None:
    """`initial: skip` was its word when it began to take it, and is not asked for again."""
    await log.open_sink("out", "f", ["pods"], ["secrets", "jobs"])
    await log.release_sink("out")
    assert (await log.open_sink("out", "f", ["pods", "secrets"], ["jobs"], ["secrets"])).missed == ()
    await log.release_sink("out")
    assert (await log.open_sink("out", "f", ["pods", "secrets", "jobs"])).missed == ("jobs",)
    await log.release_sink("out")
    await log.open_sink("out", "f", ["pods", "jobs"], ["secrets"], ["pods"])
    await log.release_sink("out")
    assert (await log.open_sink("out", "f", ["pods", "secrets"])).missed == ("secrets",), "left out again"
