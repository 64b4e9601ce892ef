"""A sink that was away is told when it has lost records for good, whenever it comes back."""

from pathlib import Path

import pytest

from bridge.store import writer
from bridge.store.contract import Refused
from bridge.store.database import Database
from bridge.store.journal import Journal
from bridge.store.log import SqliteLog
from bridge.store.space import MIN_BYTES, Budget
from tests.store.reading import store
from tests.store.samples import change, owed
from tests.store.waiting import until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.02)
    monkeypatch.setattr(writer, "_ACK_SECONDS", 0.02)


async def lose(path: Path) -> int:
    """A sink that is parked before its second record; what follows is trimmed. Returns where it was."""
    async with SqliteLog.open(path) as log:
        position = (await log.open_sink("out", "f")).position + 1
        await store(log, change("a", 1), change("a", 2))
        log.acknowledge("out", position)
        await log.release_sink("out")
        await until(lambda: log.stats().kept_records == 0)
    return position


async def test_a_parked_sink_that_lost_records_is_fresh_after_any_number_of_restarts(tmp_path: Path) -> None:
    """Nothing is left of the rows by then that could tell."""
    position = await lose(tmp_path)
    async with SqliteLog.open(tmp_path):
        pass
    database = Database.open(tmp_path / "log.db")
    journal = Journal(database, Budget.of(MIN_BYTES))
    while not journal.fold_step():
        pass
    while journal.persist():
        pass
    assert journal.kept.rows == 0
    database.close()
    for _ in range(2):
        async with SqliteLog.open(tmp_path) as log:
            opened = await log.open_sink("out", "f")
            assert (opened.fresh, opened.lost) == (True, True)
            assert opened.position >= position
    async with SqliteLog.open(tmp_path) as log:
        await log.request_snapshots([owed("out")])
    async with SqliteLog.open(tmp_path) as log:
        assert not (await log.open_sink("out", "f")).fresh
        assert await log.snapshot_requests() == [owed("out")]


async def test_a_fresh_sink_is_not_told_again_what_it_has_acknowledged(tmp_path: Path) -> None:
    """It lost some records once; of those behind that it acknowledged one, and another sink keeps them."""
    await lose(tmp_path)
    async with SqliteLog.open(tmp_path) as log:
        await log.open_sink("slow", "f")
        opened = await log.open_sink("out", "f")
        await store(log, change("b", 1), change("b", 2))
        log.acknowledge("out", log.end() - 1)
        await log.release_sink("out")
        again = await log.open_sink("out", "f")
        assert (again.position, again.fresh, again.lost) == (log.end() - 1, True, True)
        assert again.position > opened.position


async def test_a_parked_sink_is_not_fresh_while_another_keeps_what_it_needs(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await log.open_sink("slow", "f")
        await store(log, change("a", 1), change("a", 2))
        log.acknowledge("out", start + 1)
        await log.release_sink("out")
        await store(log, change("a", 3))
    async with SqliteLog.open(tmp_path) as log:
        opened = await log.open_sink("out", "f")
        assert (opened.position, opened.fresh) == (start + 1, False)


async def test_another_destination_is_fresh_and_a_new_state_is_not(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path) as log:
        assert not (await log.open_sink("out", "f")).fresh
    async with SqliteLog.open(tmp_path) as log:
        assert not (await log.open_sink("out", "f")).fresh, "still nothing that it could have missed"
        opened = await log.open_sink("out", "another")
        assert (opened.fresh, opened.lost) == (True, False)


async def test_a_new_sink_that_was_owed_nothing_is_no_new_one_once_it_has_lost_records(
    tmp_path: Path,
) -> None:
    """One that takes streams with `initial: skip` only: what it missed later it is owed all the same."""
    async with SqliteLog.open(tmp_path) as log:
        await store(log, change("a", 1))
    async with SqliteLog.open(tmp_path) as log:
        opened = await log.open_sink("out", "f")
        assert (opened.fresh, opened.lost) == (True, False)
    await lose(tmp_path)
    async with SqliteLog.open(tmp_path) as log:
        opened = await log.open_sink("out", "f")
        assert (opened.fresh, opened.lost) == (True, True)


async def test_what_a_sink_left_out_is_known_after_a_restart_also_of_a_stream_that_was_away(
    tmp_path: Path,
) -> None:
    async with SqliteLog.open(tmp_path) as log:
        await log.open_sink("out", "f", ["pods"], ["secrets", "jobs"])
    async with SqliteLog.open(tmp_path) as log:
        assert (await log.open_sink("out", "f", ["pods"], ["secrets"])).missed == (), "jobs are away"
    async with SqliteLog.open(tmp_path) as log:
        assert (await log.open_sink("out", "f", ["pods", "jobs"], ["secrets"])).missed == ("jobs",)
        await log.request_snapshots([owed("out", "jobs")])
    async with SqliteLog.open(tmp_path) as log:
        assert (await log.open_sink("out", "f", ["pods", "jobs"], ["secrets"])).missed == ()
        assert (await log.open_sink("out", "f", ["secrets"], ["pods", "jobs"])).missed == ("secrets",)
        assert (await log.open_sink("out", "another", ["pods"], [])).missed == (), "as new: it misses all"


async def test_a_request_that_finds_no_room_leaves_what_was_missed_to_be_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Refused("no room")

    async with SqliteLog.open(tmp_path) as log:
        await log.open_sink("out", "f", ["pods"], ["secrets"])
        monkeypatch.setattr("bridge.store.amend.insist", full)
        with pytest.raises(Refused):
            await log.request_snapshots([owed("out", "secrets")])
        assert (await log.open_sink("out", "f", ["pods", "secrets"])).missed == ("secrets",)
