"""When things become durable and visible, how they are grouped, and what is kept for whom."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from bridge.changes.change import Change, Cursor
from bridge.changes.reconcile import Inventory
from bridge.errors import StateError
from bridge.store import journal, writer
from bridge.store.contract import WatchState
from bridge.store.failures import LogError
from bridge.store.log import SqliteLog
from bridge.store.memory import MemoryLog
from tests.store.apsw_disk import Disk, connector
from tests.store.samples import PODS, SECRETS, change, emit, gone, owed
from tests.store.waiting import until


async def everything(log: SqliteLog, position: int) -> list[str]:
    found: list[str] = []
    while position < log.end():
        for batch in await log.read(position, 100_000):
            found += [item.rv for item in batch.changes]
            position = batch.last_position
    return found


def copied(state: Path) -> Path:
    """What a kill at this moment would leave behind."""
    copy = state.with_name(state.name + "-copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(state, copy)
    return copy


async def test_appends_of_one_moment_share_a_commit_and_a_row(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        for n in range(100):
            await log.append(PODS, "", emit(change("a", n)), size=100)
            await log.append(SECRETS, "", emit(change("s", n)), size=100)
        await log.flush()
        batches = await log.read(start, 1 << 20)
        assert log.stats().commits <= 3
        assert len(batches) <= 6
        assert sum(len(batch.changes) for batch in batches) == 200


async def test_a_record_is_seen_by_nobody_before_the_sync_of_its_commit(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteLog.open(tmp_path, connector=connector(disk)) as log:
        start = (await log.open_sink("out", "f")).position
        await log.flush()
        seen: list[int] = []
        flushed: list[int] = []

        async def reader() -> None:
            seen.append((await log.read(start, 1000))[0].position)

        async def flusher() -> None:
            await log.flush()
            flushed.append(1)

        async with trio.open_nursery() as nursery:
            disk.gate.clear()
            disk.recording = []
            nursery.start_soon(reader)
            await log.append(PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"))
            nursery.start_soon(flusher)
            await until(lambda: any(what == "write" for what, *_ in disk.recording or ()))
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert (seen, flushed, log.end()) == ([], [], start)
            disk.gate.set()
        assert seen == [start + 1]
        assert ("sync", "log.db-wal", 0, b"") in (disk.recording or ())


async def test_bytes_on_their_way_to_the_disk_are_bounded_and_appends_wait_in_order(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteLog.open(tmp_path, memory_bytes=8 << 20, connector=connector(disk)) as log:
        start = (await log.open_sink("out", "f")).position
        await log.flush()
        disk.gate.clear()
        accepted: list[int] = []

        async def append(number: int) -> None:
            await log.append(PODS, "", emit(change("a", number)), size=1 << 20)
            accepted.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(append, number)
                await trio.testing.wait_all_tasks_blocked()
            assert accepted == [0, 1]  # a quarter of memory_bytes is for what is in flight
            assert log.stats().in_flight == 2 << 20
            disk.gate.set()
        await log.flush()
        assert await everything(log, start) == [str(n) for n in range(8)]


async def test_an_append_that_is_cancelled_while_it_waits_never_runs(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteLog.open(tmp_path, memory_bytes=4 << 20, connector=connector(disk)) as log:
        start = (await log.open_sink("out", "f")).position
        await log.flush()
        disk.gate.clear()
        await log.append(PODS, "", emit(change("a", 1)), size=1 << 20)
        with trio.move_on_after(0.01) as scope:
            await log.append(PODS, "", emit(change("a", 2)), size=1 << 20)
        assert scope.cancelled_caught
        disk.gate.set()
        await log.append(PODS, "", emit(change("a", 3)), size=1 << 20)
        await log.flush()
        assert await everything(log, start) == ["1", "3"]


async def test_closing_commits_what_was_accepted_even_when_cancelled(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with SqliteLog.open(tmp_path) as log:
            start = (await log.open_sink("out", "f")).position
            await log.append(PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"))
            scope.cancel()
            await trio.sleep_forever()
    async with SqliteLog.open(tmp_path) as log:
        assert await everything(log, start) == ["1"]
        assert await log.watch_state("pods", "") == WatchState(Cursor("1", "1"), 0, "")


async def test_what_is_acknowledged_in_the_last_moment_is_durable_after_closing(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("a", 1), change("a", 2)), size=10)
        await log.flush()
        await until(log._writer._wake.locked)  # the writer waits, and sees nothing but the end
        await trio.testing.wait_all_tasks_blocked(0.02)
        log.acknowledge("out", start + 2)
    async with SqliteLog.open(tmp_path) as log:
        assert (await log.open_sink("out", "f")).position == start + 2


async def test_an_acknowledged_cursor_is_durable_by_itself_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.05)
    monkeypatch.setattr(writer, "_ACK_SECONDS", 0.05)
    disk = Disk()
    state = tmp_path / "state"
    async with SqliteLog.open(state, connector=connector(disk)) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("a", 1), change("a", 2)), size=10)
        await log.flush()
        disk.recording = []
        log.acknowledge("out", start + 2)
        await until(lambda: any(what == "sync" for what, *_ in disk.recording or ()))
        async with SqliteLog.open(copied(state)) as copy:
            assert (await copy.open_sink("out", "f")).position == start + 2


async def test_a_bookmark_alone_is_durable_after_a_while_and_at_once_with_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[B] The cursor of a bookmark is not worth a commit of its own, nor may it be forgotten."""
    monkeypatch.setattr(writer, "_TICK", 0.02)
    monkeypatch.setattr(writer, "_CURSOR_SECONDS", 30.0)
    disk = Disk()
    state = tmp_path / "state"
    async with SqliteLog.open(state, connector=connector(disk)) as log:
        await log.append(PODS, "", emit(change("a", 1)), size=10, cursor=Cursor("1", "1"))
        await log.flush()
        disk.recording = []
        await log.append(PODS, "", emit(), size=10, cursor=Cursor("7", "7"))
        await until(lambda: log.stats().in_flight == 0)
        assert disk.recording == []
        await log.append(PODS, "pay", emit(change("b", 8, namespace="pay")), size=10, cursor=Cursor("8", "8"))
        await until(lambda: log.stats().in_flight == 0)
        async with SqliteLog.open(copied(state)) as copy:
            assert await copy.watch_state("pods", "") == WatchState(Cursor("7", "7"), 0, "")
            assert await copy.watch_state("pods", "pay") == WatchState(Cursor("8", "8"), 0, "")
        monkeypatch.setattr(writer, "_CURSOR_SECONDS", 0.05)
        disk.recording = []
        await log.append(PODS, "", emit(), size=10, cursor=Cursor("9", "9"))
        await until(lambda: any(what == "sync" for what, *_ in disk.recording or ()))
        async with SqliteLog.open(copied(state)) as copy:
            assert await copy.watch_state("pods", "") == WatchState(Cursor("9", "9"), 0, "")


async def test_a_flush_makes_a_bookmark_durable_too(tmp_path: Path) -> None:
    """Everything appended so far is durable, also what moved nothing but a cursor."""
    state = tmp_path / "state"
    async with SqliteLog.open(state) as log:
        await log.append(PODS, "", emit(), size=10, cursor=Cursor("7", "7"))
        await log.flush()
        async with SqliteLog.open(copied(state)) as copy:
            assert await copy.watch_state("pods", "") == WatchState(Cursor("7", "7"), 0, "")


async def test_a_reader_far_behind_reads_the_same_from_the_file_as_a_near_one_from_memory(
    tmp_path: Path,
) -> None:
    async with SqliteLog.open(tmp_path, memory_bytes=1 << 20) as log:
        start = (await log.open_sink("slow", "f")).position
        near: list[str] = []
        position = (await log.open_sink("fast", "f")).position
        for n in range(60):
            await log.append(PODS, "", emit(change("a", n, body=b"x" * 40_000)), size=40_000)
            await log.flush()
            for batch in await log.read(position, 1 << 20):
                near += [item.rv for item in batch.changes]
                position = batch.last_position
            log.acknowledge("fast", position)
        assert near == await everything(log, start) == [str(n) for n in range(60)]


async def fill(log: SqliteLog, records: int) -> None:
    for n in range(records):
        await log.append(PODS, "", emit(change(f"p{n % 5}", n)), size=100)
        await log.flush()


async def test_what_every_sink_owns_is_given_back_and_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.02)
    monkeypatch.setattr(writer, "_ACK_SECONDS", 0.02)
    async with SqliteLog.open(tmp_path) as log:
        slow, fast = (await log.open_sink("slow", "f")).position, (await log.open_sink("fast", "f")).position
        await fill(log, 100)
        log.acknowledge("fast", fast + 100)
        log.acknowledge("slow", slow + 60)
        await until(lambda: log.stats().kept_records <= 40)
        await fill(log, 20)
        assert log.stats().kept_records == 60
        assert await everything(log, slow + 60) == [str(n) for n in [*range(60, 100), *range(20)]]
    async with SqliteLog.open(tmp_path) as log:
        assert len(await everything(log, slow + 60)) == 60
        with pytest.raises(StateError, match="older copy"):
            await log.read(slow + 59, 1000)


async def test_a_sink_that_is_configured_but_not_opened_yet_holds_back_and_a_removed_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.02)
    monkeypatch.setattr(writer, "_ACK_SECONDS", 0.02)
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("old", "f")).position
        await log.flush()
    async with SqliteLog.open(tmp_path) as log:
        position = (await log.open_sink("out", "f")).position
        await fill(log, 50)
        log.acknowledge("out", log.end())
        await fill(log, 20)
        assert log.stats().kept_records == 70
        await log.detach_sinks(["out"])
        await until(lambda: log.stats().kept_records <= 20)
        again = (await log.open_sink("old", "f")).position
        assert again > start
        assert len(await everything(log, again)) == 20
        assert (await log.open_sink("out", "other destination")).position >= position


async def test_a_detached_sink_that_comes_back_in_time_goes_on_where_it_was(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("old", "f")).position
        await log.open_sink("out", "f")
        await fill(log, 10)
        log.acknowledge("old", start + 4)
        await log.detach_sinks(["out"])
        assert (await log.open_sink("old", "f")).position == start + 4


async def test_without_sinks_no_object_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.02)
    async with SqliteLog.open(tmp_path) as log:
        await fill(log, 20)
        await until(lambda: log.stats().kept_records == 0)
        end = log.end()
    async with SqliteLog.open(tmp_path) as log:
        assert (await log.open_sink("out", "f")).position >= end


async def test_the_inventory_is_folded_while_appends_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[N12]"""
    monkeypatch.setattr(journal, "_OVERLAY", 300)
    found: list[tuple[bytes, str]] = []

    def look(inventory: Inventory) -> Sequence[Change]:
        found.extend((key, known.rv) for key, known in inventory.scan(b"", None))
        return ()

    async with SqliteLog.open(tmp_path) as log:
        for n in range(2000):
            await log.append(PODS, "", emit(change(f"p{n % 700:03}", n)), size=200)
        await log.flush()
        await until(lambda: log.stats().overlay < 300)
        await log.append(PODS, "", look, size=1)
        await log.flush()
    assert found == [(f"shop/p{n:03}".encode(), str(1400 + n if n < 600 else 700 + n)) for n in range(700)]


async def test_a_memory_log_that_is_full_blocks_intake_until_every_sink_has_acknowledged() -> None:
    async with MemoryLog.open(memory_bytes=10_000) as log:
        one, two = (await log.open_sink("one", "f")).position, (await log.open_sink("two", "f")).position
        accepted: list[int] = []

        async def produce() -> None:
            for n in range(10):
                await log.append(PODS, "", emit(change("a", n, body=b"x" * 4000)), size=4000)
                accepted.append(n)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            await trio.testing.wait_all_tasks_blocked()
            assert accepted == [0, 1]
            log.acknowledge("one", one + 2)
            await trio.testing.wait_all_tasks_blocked()
            assert accepted == [0, 1]
            log.acknowledge("two", two + 1)
            await trio.testing.wait_all_tasks_blocked()
            assert accepted == [0, 1, 2]
            await log.detach_sinks(["one"])
            while len(accepted) < 10:
                log.acknowledge("one", log.end())
                await trio.testing.wait_all_tasks_blocked()


async def test_a_memory_log_forgets_names_that_are_gone() -> None:
    async with MemoryLog.open() as log:
        await log.open_sink("out", "f")
        for n in range(0, 30_000, 100):
            items = [change(f"job-{k}", k) for k in range(n, n + 100)]
            await log.append(PODS, "", emit(*items), size=1)
            await log.append(PODS, "", emit(*(gone(item.name, int(item.rv)) for item in items)), size=1)
            log.acknowledge("out", log.end())
        assert len(log._inventories["pods"]._layer) < 10_000


async def test_a_question_that_fails_unexpectedly_is_its_askers_loss_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError("a defect")

    async with SqliteLog.open(tmp_path) as log:
        monkeypatch.setattr("bridge.store.asked.tables.read_requests", fail)
        with pytest.raises(OverflowError, match="a defect"):
            await log.snapshot_requests()
        await fill(log, 3)
        assert log.stats().kept_records == 3


async def test_a_change_that_fails_unexpectedly_ends_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what memory and file have of it."""

    def fail(*_: object) -> None:
        raise OverflowError("a defect")

    async with SqliteLog.open(tmp_path) as log:
        monkeypatch.setattr("bridge.store.amend.tables.insert_requests", fail)
        for call in (lambda: log.request_snapshots([owed()]), log.snapshot_requests):
            with pytest.raises(LogError, match="OverflowError: a defect"):
                await call()
