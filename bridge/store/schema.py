"""The tables of the log's file, and how an older file becomes a newer one."""

import sqlite3
from collections.abc import Sequence
from typing import Final

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION", "create", "upgrade"]

APPLICATION_ID: Final = 0x6B756272
"""`kubr`: tells our files from every other SQLite file (sqlite.org/fileformat2.html#application_id)."""

_TABLES: Final = """
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
"""
"""`watch.at`: the log's rows behind this position say more about its cursor than the table does."""

_DELIVERY: Final = """
ALTER TABLE sink ADD COLUMN fresh INTEGER;
ALTER TABLE sink ADD COLUMN dropping TEXT;
CREATE TABLE snapshot (
    sink TEXT, stream TEXT, scope TEXT, cause TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (sink, stream, scope)
) WITHOUT ROWID;
CREATE TABLE dead_letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sink TEXT NOT NULL,
    position INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    told TEXT NOT NULL,
    ids BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX dead_letter_of ON dead_letter (sink, position, stored)
"""
"""`stream.info` of a row for one sink has a member `audience`; the index answers counts and sizes alone."""

_SELECTION: Final = "ALTER TABLE sink ADD COLUMN left_out TEXT"
"""What was left out before is not known: nothing is missed by a sink of an older file."""

MIGRATIONS: Final[Sequence[str]] = (_DELIVERY, _SELECTION)
"""Statements (split at `;`) that take a file from version i+1 to i+2; a new file runs them all."""

VERSION: Final = 1 + len(MIGRATIONS)


def create(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Make the tables; the caller's transaction commits them."""
    _run(connection, _TABLES)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    upgrade(connection, 1, migrations)


def upgrade(connection: sqlite3.Connection, found: int, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Run what is missing since version `found`; the caller's transaction commits all or nothing."""
    for migration in migrations[found - 1 :]:
        _run(connection, migration)
    connection.execute(f"PRAGMA user_version = {1 + len(migrations)}")


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";"):  # executescript() would commit first
        if statement.strip():
            connection.execute(statement)
