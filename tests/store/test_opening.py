"""Opening state that is locked, newer, older, damaged, foreign or unwritable: exit 3 and what helps."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from bridge.errors import StateError, UsageError
from bridge.store import schema
from bridge.store.database import Database
from bridge.store.directory import StateDirectory, file_system
from bridge.store.log import SqliteLog
from bridge.store.space import MIN_BYTES, Budget
from tests.store.samples import PODS, change, emit


async def fill(path: Path, records: int = 200) -> None:
    async with SqliteLog.open(path) as log:
        await log.open_sink("out", "f")
        for n in range(records):
            await log.append(PODS, "", emit(change(f"p{n}", n, body=os.urandom(2000))), size=2000)
        await log.flush()


async def refusal(path: Path, **options: str) -> str:
    with pytest.raises(StateError) as caught:
        async with SqliteLog.open(path, **options):  # type: ignore[arg-type]  # only `cluster` is passed
            pass
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


HOLDER = """
import pathlib, sys
from bridge.store.directory import StateDirectory
held = StateDirectory.acquire(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_second_bridge_is_refused_and_told_who_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    holder = await trio.lowlevel.open_process(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert (await holder.stdout.receive_some()).startswith(b"held")
        message = await refusal(Path())
        assert message.startswith(f"the state directory '{tmp_path}' is in use by ")
        assert f"process {holder.pid} on {os.uname().nodename} since 20" in message
        assert "stop that one first" in message
    finally:
        holder.kill()
        await holder.wait()
    await fill(tmp_path, 1)


async def test_the_lock_is_free_again_after_closing(tmp_path: Path) -> None:
    await fill(tmp_path, 1)
    await fill(tmp_path, 1)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
async def test_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "with space" / "state"
    escaped = str(tmp_path / "with space").replace(" ", "\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        f"23 22 0:33 / {escaped} rw,relatime - {kind} server:/export rw\n"
    )
    with pytest.raises(StateError, match=rf"network file system \({re.escape(kind)}\).*ReadWriteOnce"):
        StateDirectory.acquire(state, mounts)
    assert file_system(tmp_path, mounts) == "ext4"


async def test_the_kernel_names_the_file_system_of_this_directory(tmp_path: Path) -> None:
    assert file_system(tmp_path) != ""


async def test_a_newer_format_is_refused_naming_both_versions(tmp_path: Path) -> None:
    await fill(tmp_path, 1)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 3}")
    connection.close()
    message = await refusal(tmp_path)
    assert f"format {schema.VERSION + 3}, this one knows {schema.VERSION}" in message
    assert "run the newer version" in message


async def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = (tmp_path / "log.db").read_bytes()
    assert "belongs to another program" in await refusal(tmp_path)
    assert (tmp_path / "log.db").read_bytes() == before


def not_sqlite(path: Path) -> None:
    path.write_bytes(b"apiVersion: v1\n" * 1000)


def first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 90)


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 8192 * 4096)


def middle(path: Path) -> None:
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(3, pages, 2):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)


@pytest.mark.parametrize("damage", [not_sqlite, first_page, cut_in_half, middle])
async def test_damage_is_told_with_what_to_do_and_nothing_is_reset(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    await fill(tmp_path)
    damage(tmp_path / "log.db")
    before = (tmp_path / "log.db").read_bytes()
    message = await refusal(tmp_path)
    assert "from a backup" in message
    assert f"mv {tmp_path} {tmp_path}.broken" in message
    assert (tmp_path / "log.db").read_bytes() == before


async def test_a_damaged_row_is_told_with_its_position(tmp_path: Path) -> None:
    await fill(tmp_path, 3)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("UPDATE log SET ids = x'28b52ffd00'")
    connection.close()
    assert "corrupt at position 1" in await refusal(tmp_path)


async def test_another_clusters_state_is_refused(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path, cluster="uid-a") as log:
        assert log.cluster == "uid-a"
    message = await refusal(tmp_path, cluster="uid-b")
    assert "belongs to cluster uid-a, not to uid-b" in message
    async with SqliteLog.open(tmp_path) as log:
        with pytest.raises(StateError, match="uid-a"):
            await log.claim("uid-b", "another")
        assert log.trusted_by is None
        await log.claim("uid-a", "an authority")
    async with SqliteLog.open(tmp_path) as log:
        assert (log.cluster, log.trusted_by) == ("uid-a", "an authority")
        await log.claim("uid-a")
        assert log.trusted_by == "an authority", "nothing else is said to vouch for it"


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Run as an ordinary user, since root may write anywhere."""
    code = (
        "import os, sys, pathlib, bridge.store.log\n"
        "from bridge.errors import StateError\n"
        "from bridge.store.directory import StateDirectory\n"
        "os.chdir(sys.argv[1])\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: StateDirectory.acquire(pathlib.Path('state'))\n"
        "except StateError as error: print(error)\n"
    )
    tmp_path.chmod(0o555)
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        )
    finally:
        tmp_path.chmod(0o755)
    assert "cannot be written" in answer.stdout
    assert "writable volume" in answer.stdout


async def test_a_file_that_another_program_has_open_is_refused(tmp_path: Path) -> None:
    await fill(tmp_path, 1)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert "another program has" in await refusal(tmp_path)
    finally:
        other.close()


def test_every_pragma_is_read_back_from_the_connection(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "log.db")
    read = {
        name: database.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in (
            *("page_size", "locking_mode", "journal_mode", "synchronous", "secure_delete"),
            *("wal_autocheckpoint", "journal_size_limit", "cache_size", "auto_vacuum"),
        )
    }
    database.close()
    assert read == {
        "page_size": 4096,
        "locking_mode": "exclusive",
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 0,
        "wal_autocheckpoint": 4096,
        "journal_size_limit": -1,
        "cache_size": -8000,
        "auto_vacuum": 0,
    }
    assert not (tmp_path / "log.db-shm").exists()


def test_an_older_format_is_upgraded_in_one_transaction_after_a_backup_copy(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    Database.open(path).close()
    later = ("CREATE TABLE extra (x); INSERT INTO extra VALUES (7)", "ALTER TABLE extra ADD COLUMN y")
    database = Database.open(path, migrations=(*schema.MIGRATIONS, *later))
    assert database.connection.execute("SELECT x, y FROM extra").fetchall() == [(7, None)]
    assert database.connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION + 2
    database.close()
    with sqlite3.connect(tmp_path / f"log.db.format{schema.VERSION}.bak") as old:
        assert old.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
        assert old.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone()[0] == 0
    old.close()


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    Database.open(path).close()
    broken = "CREATE TABLE extra (x); INSERT INTO missing VALUES (1)"
    with pytest.raises(Exception, match="no such table"):
        Database.open(path, migrations=(*schema.MIGRATIONS, broken))
    database = Database.open(path)
    assert database.connection.execute(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'"
    ).fetchone() == (0,)
    database.close()


def test_too_small_a_limit_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="64Mi"):
        Budget.of(MIN_BYTES - 1)
    budget = Budget.of(MIN_BYTES)
    assert 0 < budget.fold < budget.soft * 4096 < budget.hard * 4096 < MIN_BYTES


async def test_positions_go_on_after_a_restart_and_a_restored_copy_does_not_know_its_lost_future(
    tmp_path: Path,
) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    async with SqliteLog.open(state) as log:
        await log.open_sink("out", "f")
        await log.append(PODS, "", emit(change("a", 1)), size=10)
        await log.flush()
        first = (log.identity, log.end())
    shutil.copytree(state, copy)
    async with SqliteLog.open(state) as log:
        await log.append(PODS, "", emit(change("a", 2)), size=10)
        await log.flush()
        assert log.end() > first[1]
        assert log.identity.incarnation > first[0].incarnation
        log.verify(first[0].log_id, first[0].incarnation, first[1])
        lost = (log.identity, log.end() + 5)
    async with SqliteLog.open(copy) as log:
        for n in range(10):
            await log.append(PODS, "", emit(change("b", n)), size=10)
        await log.flush()
        assert log.end() > lost[1]
        with pytest.raises(StateError, match="restored from an older copy"):
            log.verify(lost[0].log_id, lost[0].incarnation, lost[1])


async def test_a_copy_of_a_running_log_does_not_know_what_came_after_it(tmp_path: Path) -> None:
    """As a snapshot of a volume is: the opening is known to it, but how far that went is not."""
    state, copy = tmp_path / "state", tmp_path / "copy"
    async with SqliteLog.open(state) as log:
        await log.open_sink("out", "f")
        await log.append(PODS, "", emit(change("a", 1)), size=10)
        await log.flush()
        kept = (log.identity, log.end())
        shutil.copytree(state, copy)
        await log.append(PODS, "", emit(change("a", 2)), size=10)
        await log.flush()
        lost = (log.identity, log.end())
    async with SqliteLog.open(copy) as log:
        log.verify(kept[0].log_id, kept[0].incarnation, kept[1])
        with pytest.raises(StateError, match="restored from an older copy"):
            log.verify(lost[0].log_id, lost[0].incarnation, lost[1])


async def test_a_place_is_known_after_all_of_the_log_was_trimmed(tmp_path: Path) -> None:
    """Then only the cursors of sinks say how far the log has come, those of removed sinks too."""
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("a", 1)), size=10)
        await log.flush()
        given = (log.identity, log.end())
        log.acknowledge("out", start + 1)
    for _ in range(2):
        async with SqliteLog.open(tmp_path) as log:
            log.verify(given[0].log_id, given[0].incarnation, given[1])


async def test_nobody_else_may_read_what_the_state_holds(tmp_path: Path) -> None:
    """Also where the directory's own mode no longer helps, as in a copy."""
    async with SqliteLog.open(tmp_path / "state") as log:
        await log.open_sink("out", "f")
        modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "state").iterdir()}
    assert {"log.db", "log.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0}
