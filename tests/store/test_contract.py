"""What every log promises, held against the one on disk and the one in memory."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from bridge.changes.change import Change, Cursor
from bridge.changes.reconcile import Inventory, Known
from bridge.errors import InvariantError, StateError
from bridge.store.contract import Log, WatchState
from tests.store.reading import flat, read_all
from tests.store.samples import PODS, SECRETS, change, emit, gone
from tests.store.waiting import until


async def test_what_is_appended_is_read_back_equal_in_order_and_with_rising_positions(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    items = [change("a", 1, kind="ADDED"), change("b", 2), gone("a", 3), change("c", 4, body=b"{}")]
    for item in items:
        await log.append(PODS, "", emit(item), size=100)
    await log.append(SECRETS, "", emit(change("s", 5)), size=100)
    await log.flush()
    batches = await read_all(log, start)
    found = flat(batches)
    pods = [item for batch in batches if batch.stream == PODS for item in batch.changes]
    assert pods == items
    assert [item for batch in batches if batch.stream == SECRETS for item in batch.changes] == [
        change("s", 5)
    ]
    positions = [position for position, _ in found]
    assert positions == sorted(set(positions))
    assert positions[0] == start + 1
    assert positions[-1] == log.end()


async def test_a_read_from_the_middle_of_a_batch_begins_at_the_next_record(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    await log.append(PODS, "", emit(*(change(f"p{n}", n) for n in range(10))), size=1000)
    await log.flush()
    (batch,) = await log.read(start + 4, 1 << 20)
    assert batch.position == start + 5
    assert [item.rv for item in batch.changes] == ["4", "5", "6", "7", "8", "9"]


async def test_a_read_returns_about_max_bytes_but_always_one_batch(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    for n in range(6):
        await log.append(PODS, "", emit(change("a", n, body=b"x" * 100_000)), size=100_000)
        await log.flush()
    batches = await log.read(start, 250_000)
    assert 1 <= len(batches) < 6
    assert len(await log.read(start, 1)) == 1


async def test_a_reader_at_the_end_waits_for_the_next_commit(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    seen: list[int] = []

    async def reader() -> None:
        seen.extend(batch.position for batch in await log.read(start, 1000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        await log.append(PODS, "", emit(change("a", 1)), size=100)
    assert seen == [start + 1]


async def test_works_run_once_in_order_against_the_inventory_as_it_is_there(log: Log) -> None:
    seen: list[tuple[int, Known | None]] = []

    def work(number: int) -> Any:
        def run(inventory: Inventory) -> Sequence[Change]:
            seen.append((number, inventory.get(b"shop/a")))
            inventory.put(b"shop/a", Known("u", str(number)))
            return [change("a", number)] if number % 3 else []

        return run

    for number in range(50):
        await log.append(PODS, "", work(number), size=10)
    await log.flush()
    assert seen == [(n, Known("u", str(n - 1)) if n else None) for n in range(50)]


async def test_scan_shows_entries_in_byte_order_within_its_bounds(log: Log) -> None:
    keys = [b"a-b/x", b"a/x", b"a/y", b"b/", b"/node", b"z/z", b"a0/q"]
    found: list[list[bytes]] = []

    def write(inventory: Inventory) -> Sequence[Change]:
        for key in keys:
            inventory.put(key, Known("u", "1"))
        inventory.remove(b"a/y")
        return ()

    def look(inventory: Inventory) -> Sequence[Change]:
        found.append([key for key, _ in inventory.scan(b"", None)])
        found.append([key for key, _ in inventory.scan(b"a/", b"a0")])
        found.append([key for key, _ in inventory.scan(b"a-b/x", b"a/x")])
        return ()

    await log.append(PODS, "", write, size=10)
    await log.append(PODS, "", look, size=10)
    await log.flush()
    assert found == [[b"/node", b"a-b/x", b"a/x", b"a0/q", b"b/", b"z/z"], [b"a/x"], [b"a/x"]]


async def test_a_suspicion_lasts_until_the_key_is_written(log: Log) -> None:
    """[C] A suspect stays in the inventory until a put or remove settles it."""
    found: list[list[tuple[bytes, Known, str]]] = []

    def write(inventory: Inventory) -> Sequence[Change]:
        for name in (b"n/a", b"n/b", b"n/c"):
            inventory.put(name, Known("u", "1"))
            inventory.suspect(name, "9")
        return ()

    def settle(inventory: Inventory) -> Sequence[Change]:
        found.append(list(inventory.suspects(2)))
        inventory.put(b"n/a", Known("u", "2"))
        inventory.remove(b"n/b")
        return ()

    def look(inventory: Inventory) -> Sequence[Change]:
        found.append(list(inventory.suspects(10)))
        return ()

    await log.append(PODS, "", write, size=10)
    await log.flush()
    await log.append(PODS, "", settle, size=10)
    await log.append(PODS, "", look, size=10)
    await log.flush()
    await log.append(PODS, "", look, size=10)
    await log.flush()
    known = Known("u", "1")
    assert found[0] == [(b"n/a", known, "9"), (b"n/b", known, "9")]
    assert found[1] == found[2] == [(b"n/c", known, "9")]


async def test_the_state_of_a_watch_is_what_was_appended_last(log: Log) -> None:
    assert await log.watch_state("pods", "shop") is None
    await log.append(PODS, "shop", emit(change("a", 1)), size=10, cursor=Cursor("1", "2", ("u/ADDED",)))
    await log.append(PODS, "shop", emit(), size=10, cursor=Cursor("5", "5"), epoch=2, fingerprint="f")
    await log.append(PODS, "pay", emit(change("b", 1, namespace="pay")), size=10, cursor=Cursor("7", "7"))
    await log.flush()
    assert await log.watch_state("pods", "shop") == WatchState(Cursor("5", "5"), 2, "f")
    assert await log.watch_state("pods", "pay") == WatchState(Cursor("7", "7"), 0, "")


async def test_another_fingerprint_without_a_cursor_forgets_the_old_cursor(log: Log) -> None:
    await log.append(
        PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"), epoch=1, fingerprint="f"
    )
    await log.append(PODS, "", emit(change("a", 2)), size=10, cursor=Cursor("2", "2"))
    await log.append(PODS, "", emit(), size=10, fingerprint="g")
    await log.flush()
    assert await log.watch_state("pods", "") == WatchState(None, 1, "g")


async def test_another_fingerprint_also_forgets_a_cursor_that_moved_without_records(log: Log) -> None:
    await log.append(PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"), fingerprint="f")
    await log.flush()
    await log.append(PODS, "", emit(), size=10, cursor=Cursor("7", "7"))
    await until(lambda: log.stats().in_flight == 0)  # its own group: the cursor waits for a row to carry it
    await log.append(PODS, "", emit(), size=10, fingerprint="g")
    await log.flush()
    assert await log.watch_state("pods", "") == WatchState(None, 0, "g")


async def test_acknowledging_backwards_beyond_the_end_or_unopened_breaks_an_invariant(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    await log.append(PODS, "", emit(change("a", 1), change("a", 2)), size=10)
    await log.flush()
    log.acknowledge("out", start + 2)
    for name, position in (("out", start + 1), ("out", start + 3), ("other", start)):
        with pytest.raises(InvariantError):
            log.acknowledge(name, position)


async def test_a_second_sink_starts_before_the_oldest_record_kept(log: Log) -> None:
    start = (await log.open_sink("one", "f")).position
    await log.append(PODS, "", emit(change("a", 1), change("a", 2)), size=10)
    await log.flush()
    assert (await log.open_sink("two", "f")).position == start
    assert len(flat(await read_all(log, start))) == 2


async def test_opening_a_sink_again_returns_what_it_acknowledged(log: Log) -> None:
    start = (await log.open_sink("one", "f")).position
    await log.append(PODS, "", emit(change("a", 1), change("a", 2)), size=10)
    await log.flush()
    log.acknowledge("one", start + 1)
    assert (await log.open_sink("one", "f")).position == start + 1


async def test_a_cursor_of_another_log_or_beyond_the_end_is_refused(log: Log) -> None:
    await log.append(PODS, "", emit(change("a", 1)), size=10)
    await log.flush()
    identity = log.identity
    log.verify(identity.log_id, identity.incarnation, log.end())
    for log_id, incarnation, position in (
        ("other", identity.incarnation, 1),
        (identity.log_id, identity.incarnation + 1, 1),
        (identity.log_id, identity.incarnation, log.end() + 1),
    ):
        with pytest.raises(StateError, match="onStateLoss"):
            log.verify(log_id, incarnation, position)


async def test_work_that_raises_ends_the_log_for_everybody_and_commits_nothing_after(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    await log.append(PODS, "", emit(change("a", 1)), size=10)
    await log.flush()

    def broken(_: Inventory) -> Sequence[Change]:
        raise ZeroDivisionError("a bug")

    async def go_on() -> None:
        await log.append(PODS, "", broken, size=10, cursor=Cursor("9", "9"))
        await log.append(PODS, "", emit(change("a", 2)), size=10)
        await log.flush()

    with pytest.raises(InvariantError, match=r"pods.*ZeroDivisionError") as caught:
        await go_on()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert log.end() == start + 1
    with pytest.raises(InvariantError):
        await log.append(PODS, "", emit(change("a", 3)), size=10)
    with pytest.raises(InvariantError):
        await log.read(log.end(), 10)


async def test_after_closing_nothing_more_is_taken(log: Log) -> None:
    await log.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await log.append(PODS, "", emit(change("a", 1)), size=10)
    with pytest.raises(trio.ClosedResourceError):
        await log.flush()
    await log.aclose()


async def test_stats_count_what_is_there(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    await log.append(PODS, "", emit(change("a", 1), change("a", 2)), size=10)
    await log.flush()
    stats = log.stats()
    assert stats.end == start + 2
    assert stats.kept_records == 2
    assert stats.committed_records == 2
    assert stats.commits == 1
    assert stats.kept_bytes > 0
    assert stats.in_flight == 0
    assert stats.full == ""
