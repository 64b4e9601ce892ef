"""What an opened log must still know of its former life, at its least convenient moments."""

import shutil
from pathlib import Path

import pytest

from bridge.changes.change import Change, Cursor
from bridge.changes.reconcile import Known
from bridge.errors import InvariantError
from bridge.store import fold
from bridge.store.codec import RowDecoder
from bridge.store.database import Database
from bridge.store.group import Append
from bridge.store.journal import Journal
from bridge.store.log import SqliteLog
from bridge.store.sinks import SinkCursors
from bridge.store.space import MIN_BYTES, Budget
from bridge.store.tail import unpack
from bridge.store.trim import trim
from tests.store.samples import PODS, change, emit


def opened(directory: Path) -> tuple[Database, Journal]:
    database = Database.open(directory / "log.db")
    return database, Journal(database, Budget.of(MIN_BYTES))


def store(journal: Journal, *items: Change) -> None:
    cursor = Cursor(items[-1].rv, items[-1].rv)
    journal.prepare([Append(PODS, "", emit(*items), 100, cursor, None, None, 0.0)], force=False)
    journal.commit()


async def test_positions_go_on_even_where_nothing_is_left_that_had_one(tmp_path: Path) -> None:
    """All is trimmed, so the rows tell nothing: a position used again would never be handed out."""
    database, journal = opened(tmp_path)
    journal.attach_sink("out", "f", None)
    store(journal, change("a", 1), change("b", 2))
    last = journal.end
    journal.sinks.note({"out": last})
    while not journal.fold_step():
        pass
    while journal.persist():
        pass
    assert journal.kept.rows == 0
    database.close()
    async with SqliteLog.open(tmp_path) as log:
        acknowledged = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("c", 3)), size=10)
        await log.flush()
        assert log.end() > last
        (batch,) = await log.read(acknowledged, 1000)
        assert [item.rv for item in batch.changes] == ["3"]


def test_a_fold_that_is_cut_off_after_any_chunk_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inventory and the cursor of each copy are those of the whole."""
    monkeypatch.setattr(fold, "_CHUNK", 3)
    items = [change(f"p{number:02}", number + 1) for number in range(10)]
    expected = {f"shop/{item.name}".encode(): Known(item.uid, item.rv) for item in items}
    (tmp_path / "life").mkdir()
    database, journal = opened(tmp_path / "life")
    store(journal, *items)
    for chunk in range(4):
        last = journal.fold_step()
        journal.persist()
        copy = tmp_path / f"copy{chunk}"
        shutil.copytree(tmp_path / "life", copy)
        survivor, reopened = opened(copy)
        assert dict(reopened.inventories.of("pods").scan(b"", None)) == expected, f"after chunk {chunk}"
        state = reopened.watch_state("pods", "")
        assert state is not None
        assert state.cursor == Cursor("10", "10")
        survivor.close()
        assert last == (chunk == 3)
    database.close()


def test_a_record_read_from_the_file_is_the_record_that_was_stored(tmp_path: Path) -> None:
    """Every field, none at its default: a sink that lags gets the ids and sequences of one that does not."""
    extra = {"gone": "deleted", "synthetic": True, "observedAt": "9", "counts": {"added": 1}}
    items = [
        Change("DELETED", "resync", 17, "shop", "a", "uid-a", "8", 3, b'{"x":1}', extra),
        Change("MODIFIED", "watch", 18, "shop", "b", "uid-b", "9", 2, "ü\u0085".encode(), None),
        Change("RESYNC", "resync", 19, "", "", "", "10", 1, b"", {"id": "stem", "phase": "end"}),
    ]
    assert all(getattr(items[0], name) for name in Change.__struct_fields__), "a default would prove nothing"
    database, journal = opened(tmp_path)
    start = journal.attach_sink("out", "f", None).position
    store(journal, *items)
    database.close()
    database, journal = opened(tmp_path)
    (row,) = journal.rows(start, 1 << 20)
    assert list(unpack(RowDecoder(), row, start).changes) == items
    database.close()


def test_trimming_what_a_sink_still_needs_stops_the_program(tmp_path: Path) -> None:
    """Whatever the low-water mark was computed to be: the last check before a DELETE is its own."""
    database, journal = opened(tmp_path)
    start = journal.attach_sink("slow", "f", None).position
    journal.attach_sink("fast", "f", None)
    journal.sinks.note({"slow": start + 1})
    journal.persist()
    store(journal, change("a", 1))
    store(journal, change("b", 2))
    cursors = SinkCursors(database.connection)
    with database.transaction() as connection, pytest.raises(InvariantError, match="still needs"):
        trim(connection, cursors, start + 2, start + 2, 0)
    database.close()


async def test_a_sink_of_a_log_that_never_had_a_record_lags_by_nothing_after_a_restart(
    tmp_path: Path,
) -> None:
    """Else draining would wait for a million positions that nobody has."""
    for _ in range(3):
        async with SqliteLog.open(tmp_path) as log:
            assert (await log.open_sink("out", "f")).position == log.end()
            await log.flush()
