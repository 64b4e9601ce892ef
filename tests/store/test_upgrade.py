"""A file that an older kube-bridge wrote is opened, goes on where it was, and a copy of it is kept."""

import sqlite3
from pathlib import Path

import msgspec

from bridge.changes.change import Cursor
from bridge.store.codec import RowEncoder
from bridge.store.contract import WatchState
from bridge.store.log import SqliteLog
from bridge.store.schema import VERSION
from tests.store.reading import flat, read_all
from tests.store.samples import PODS, change, emit, letter, owed

FORMAT_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE incarnation (number INTEGER PRIMARY KEY, first INTEGER NOT NULL);
CREATE TABLE stream (id INTEGER PRIMARY KEY, info TEXT NOT NULL UNIQUE);
CREATE TABLE log (
    position INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    cursors TEXT,
    ids BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE watch (
    stream TEXT, scope TEXT, cursor TEXT, epoch INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (stream, scope)
) WITHOUT ROWID;
CREATE TABLE inventory (
    stream TEXT, key BLOB, uid, rv TEXT NOT NULL, PRIMARY KEY (stream, key)
) WITHOUT ROWID;
CREATE TABLE suspect (
    stream TEXT, key BLOB, listed_rv TEXT NOT NULL, PRIMARY KEY (stream, key)
) WITHOUT ROWID;
CREATE TABLE sink (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL, fingerprint TEXT NOT NULL, detached_at INTEGER
) WITHOUT ROWID;
PRAGMA application_id = 0x6B756272;
PRAGMA user_version = 1;
"""


def written_by_format_1(path: Path) -> None:
    """Two records, of which the sink `out` has the first; a sink that was removed from the configuration."""
    packed = RowEncoder().pack(
        [change("a", 1), change("b", 2)],
        {b"shop/a": None},
        {"": Cursor("2", "2")},
    )
    with sqlite3.connect(path) as connection:
        connection.executescript(FORMAT_1)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("log_id", "this-log"), ("reserved", "1000000")]
        )
        connection.execute("INSERT INTO incarnation VALUES (1700000000000, 1)")
        connection.execute("INSERT INTO stream VALUES (1, ?)", (msgspec.json.encode(PODS).decode(),))
        connection.execute("INSERT INTO log VALUES (1, 2, 1000, 1, ?, ?, ?)", packed)
        connection.execute("INSERT INTO watch VALUES ('pods', '', NULL, 3, 'f', 0)")
        connection.execute("INSERT INTO sink VALUES ('out', 1, 'f', NULL), ('old', 0, 'f', 1700000000)")
    connection.close()


async def test_a_file_of_format_1_goes_on_where_it_was(tmp_path: Path) -> None:
    written_by_format_1(tmp_path / "log.db")
    async with SqliteLog.open(tmp_path) as log:
        assert log.identity.log_id == "this-log"
        opened = await log.open_sink("out", "f", ["pods"])
        assert (opened.position, opened.fresh, opened.missed) == (1, False, ()), (
            "what it left out is not known"
        )
        assert log.lag(1).records == 1
        assert log.lag(0).oldest == change("a", 1).time
        assert await log.watch_state("pods", "") == WatchState(Cursor("2", "2"), 3, "f")
        await log.append(PODS, "", emit(change("c", 3)), size=10)
        await log.append(PODS, "", lambda _: [change("d", 4)], size=10, audience="out", fulfils=[owed()])
        await log.bury([letter(2, change("b", 2))])
        await log.flush()
        assert [item.rv for _, item in flat(await read_all(log, 1))] == ["2", "3", "4"]
    with sqlite3.connect(tmp_path / "log.db.format1.bak") as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT position, count FROM log").fetchall() == [(1, 2)]
    backup.close()


async def test_an_upgraded_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    written_by_format_1(tmp_path / "old" / "log.db")
    found = []
    for directory in (tmp_path / "old", tmp_path / "new"):
        async with SqliteLog.open(directory):
            pass
        with sqlite3.connect(directory / "log.db") as connection:
            tables = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
            found.append((tables, connection.execute("PRAGMA user_version").fetchone()))
        connection.close()
    assert found[0] == found[1]
    assert found[0][1] == (VERSION,)
