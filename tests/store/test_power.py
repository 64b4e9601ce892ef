"""Power cuts: whatever the disk kept of what was not synced, nothing that was committed is lost."""

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.changes.change import Change
from bridge.changes.reconcile import Inventory, Known
from bridge.errors import BridgeError
from bridge.store import backlog, fold, journal, tables
from bridge.store.amend import request_snapshots
from bridge.store.backlog import attach, drop, finish
from bridge.store.codec import RowDecoder
from bridge.store.database import Database
from bridge.store.group import Append
from bridge.store.journal import Journal
from bridge.store.letters import LetterBox
from bridge.store.space import MIN_BYTES, Budget
from bridge.store.tail import unpack
from tests.store.apsw_disk import Disk, Operation, connector
from tests.store.samples import PODS, change, emit, letter, owed

SECTOR = 512


def image(operations: list[Operation], chance: random.Random) -> dict[str, bytes]:
    """The files after a cut: all that was synced, and a random part of the rest, torn at sectors."""
    durable: dict[str, bytearray] = {}
    loose: dict[str, list[Operation]] = {}
    for operation in operations:
        what, name, _, _ = operation
        if what == "delete":
            durable.pop(name, None)
            loose.pop(name, None)
        elif what == "sync":
            for pending in loose.pop(name, []):
                _apply(durable.setdefault(name, bytearray()), pending)
            durable.setdefault(name, bytearray())
        else:
            loose.setdefault(name, []).append(operation)
    for pending in [operation for operations_of in loose.values() for operation in operations_of]:
        for part in _sectors(pending):
            if chance.random() < 0.5:
                _apply(durable.setdefault(pending[1], bytearray()), part)
    return {name: bytes(content) for name, content in durable.items()}


def _sectors(operation: Operation) -> list[Operation]:
    what, name, offset, data = operation
    if what == "truncate":
        return [operation]
    return [
        (what, name, offset + start, data[start : start + SECTOR]) for start in range(0, len(data), SECTOR)
    ]


def _apply(content: bytearray, operation: Operation) -> None:
    what, _, offset, data = operation
    if what == "truncate":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data


def scenario(
    directory: Path, disk: Disk, chance: random.Random, synchronous: str
) -> list[tuple[int, int, int]]:
    """Appends, acknowledgements, trims and folds; returns (operations, number, acknowledged) per commit."""
    database = Database.open(directory / "log.db", connector=connector(disk))
    database.connection.execute("PRAGMA wal_autocheckpoint = 60")
    database.connection.execute(f"PRAGMA synchronous = {synchronous}")
    log = Journal(database, Budget.of(MIN_BYTES))
    log.attach_sink("out", "f", None)
    log.persist()
    marks: list[tuple[int, int, int]] = []
    acknowledged = 0
    for number in range(1, 301):
        body = chance.randbytes(chance.choice([10, 500, 9000]))
        work = emit(change(f"p{number % 40}", number, body=body))
        log.prepare([Append(PODS, "", work, 1, None, None, None, 0.0)], force=False)
        log.commit()
        if chance.random() < 0.3 and log.end > 5:
            acknowledged = max(acknowledged, chance.randint(log.end - 5, log.end))
            log.sinks.note({"out": acknowledged})
            log.persist()
        if chance.random() < 0.2:
            log.fold_step()
        assert disk.recording is not None
        marks.append((len(disk.recording), number, acknowledged))
    return marks


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_CHUNK", 20)
    monkeypatch.setattr(journal, "_TRIM_EVERY", 3)


def losses(tmp_path: Path, seed: int, *, synchronous: str) -> list[str]:
    """What was wrong after each of many cuts; nothing, if all is well."""
    chance = random.Random(seed)
    disk = Disk()
    operations = disk.recording = []
    (tmp_path / "life").mkdir()
    marks = scenario(tmp_path / "life", disk, chance, synchronous)
    disk.recording = None
    wrong: list[str] = []
    for trial in range(120):
        cut = chance.randint(marks[0][0], len(operations))
        promised = max(mark for mark in marks if mark[0] <= cut)
        directory = tmp_path / f"cut{trial}"
        directory.mkdir()
        for name, content in image(operations[:cut], chance).items():
            (directory / name).write_bytes(content)
        try:
            check(directory, promised[1], promised[2])
        except (AssertionError, BridgeError) as error:
            wrong.append(f"cut {cut}: {error}")
    return wrong


def test_no_power_cut_loses_a_commit_or_damages_the_file(tmp_path: Path) -> None:
    assert losses(tmp_path, 20261123, synchronous="FULL") == []


def test_the_simulation_tells_full_from_normal(tmp_path: Path) -> None:
    """Without the sync in each commit cuts do lose commits: the test above can fail."""
    assert len(losses(tmp_path, 20261123, synchronous="NORMAL")) > 20


class Promise(NamedTuple):
    """What was said to be done after so many operations of the disk."""

    operations: int
    buried: frozenset[int]
    gone: frozenset[int]
    requested: frozenset[str]
    position: int


def delivery(directory: Path, disk: Disk, chance: random.Random) -> list[Promise]:
    """Letters are buried, purged and redriven, snapshots requested, backlogs dropped; what each promised."""
    database = Database.open(directory / "log.db", connector=connector(disk))
    database.connection.execute("PRAGMA wal_autocheckpoint = 60")
    log = Journal(database, Budget.of(MIN_BYTES))
    attach(log, "out", "f", None)
    letters = LetterBox(log)
    buried: set[int] = set()
    gone: set[int] = set()
    requested: set[str] = set()
    promises: list[Promise] = []
    for number in range(1, 201):
        kind = chance.choice(["MODIFIED", "DELETED"])
        item = change(f"p{number % 40}", number, kind=kind, body=chance.randbytes(chance.choice([10, 3000])))
        log.prepare([Append(PODS, "", emit(item), 1, None, None, None, 0.0)], force=False)
        log.commit()
        what = chance.random()
        if what < 0.3:
            letters.bury([letter(number, item)])
            buried.add(number)
        elif what < 0.4 and buried:
            meant = {one.number: one.position for one in letters.read(None, 0, 5)}
            if chance.random() < 0.5:
                letters.purge("out", meant)
            else:
                letters.redrive("out", meant, force=True)
            gone |= set(meant.values())
        elif what < 0.5:
            request_snapshots(log, [owed(scope=str(number))])
            requested.add(str(number))
        elif what < 0.55:
            drop(log, "out", None, ())
        assert disk.recording is not None
        done = frozenset(buried), frozenset(gone), frozenset(requested)
        promises.append(Promise(len(disk.recording), *done, log.sinks["out"].position))
    return promises


def test_no_power_cut_takes_back_what_the_delivery_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters, requests and the sink's position, and a drop that was cut off is finished: no part is seen."""
    monkeypatch.setattr(backlog, "_ROWS", 3)
    chance = random.Random(20261128)
    disk = Disk()
    operations = disk.recording = []
    (tmp_path / "life").mkdir()
    promises = delivery(tmp_path / "life", disk, chance)
    disk.recording = None
    unfinished = 0
    for trial in range(100):
        cut = chance.randint(promises[0].operations, len(operations))
        now = max((one for one in promises if one.operations <= cut), key=lambda one: one.operations)
        after = promises[min(promises.index(now) + 1, len(promises) - 1)]
        directory = tmp_path / f"cut{trial}"
        directory.mkdir()
        for name, content in image(operations[:cut], chance).items():
            (directory / name).write_bytes(content)
        unfinished += keeps(directory, now, after)
    assert unfinished > 0, "no cut fell into a drop: this proves nothing of it"


def keeps(directory: Path, now: Promise, after: Promise) -> bool:
    """What was promised is there, and nothing else but what came next; returns whether a drop was cut off."""
    database = Database.open(directory / "log.db")
    try:
        assert database.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        log = Journal(database, Budget.of(MIN_BYTES))
        unfinished = bool(log.sinks.unfinished())
        finish(log)
        position = attach(log, "out", "f", None).position
        assert log.sinks.unfinished() == []
        assert position in (now.position, after.position)
        kept = {one.position for one in LetterBox(log).read(None, 0, 1000)}
        assert now.buried - after.gone <= kept <= after.buried - now.gone
        requests = {request.scope for request in tables.read_requests(database.connection)}
        assert now.requested <= requests <= after.requested
        log.rows(position, 1 << 30)
        return unfinished
    finally:
        database.close()


def check(directory: Path, number: int, acknowledged: int) -> None:
    database = Database.open(directory / "log.db")
    try:
        assert database.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        log = Journal(database, Budget.of(MIN_BYTES))
        position = log.attach_sink("out", "f", None).position
        assert position >= acknowledged
        names: dict[bytes, Known] = {}

        def look(inventory: Inventory) -> list[Change]:
            names.update(inventory.scan(b"", None))
            return []

        log.prepare([Append(PODS, "", look, 1, None, None, None, 0.0)], force=False)
        found = sorted(int(known.rv) for known in names.values())
        newest = found[-1] if found else 0
        assert newest >= number
        assert found == list(range(max(1, newest - 39), newest + 1))
        rows = log.rows(position, 1 << 30)
        kept = [int(c.rv) for row in rows for c in unpack(RowDecoder(), row, position).changes]
        assert kept == list(range(newest - len(kept) + 1, newest + 1))
    finally:
        database.close()
