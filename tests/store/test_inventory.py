"""Scanning the inventory over its layers, at the seams that a random search seldom meets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.changes.change import Change
from bridge.changes.reconcile import Inventory, Known
from bridge.store import fold, inventory
from bridge.store.database import Database
from bridge.store.group import Append
from bridge.store.inventory import pack_uid
from bridge.store.journal import Journal
from bridge.store.space import MIN_BYTES, Budget
from tests.store.samples import PODS, change, emit


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setattr(fold, "_CHUNK", 3)
    monkeypatch.setattr(inventory, "_PAGE", 4)
    database = Database.open(tmp_path / "log.db")
    yield Journal(database, Budget.of(MIN_BYTES))
    database.close()


def put(journal: Journal, *items: Change) -> None:
    journal.prepare([Append(PODS, "", emit(*items), 1, None, None, None, 0.0)], force=False)
    journal.commit()


def scanned(journal: Journal, *uncommitted: Change) -> dict[bytes, str]:
    """What work sees behind writes of its own that are not committed."""
    found: list[tuple[bytes, str]] = []

    def look(inventory: Inventory) -> list[Change]:
        emit(*uncommitted)(inventory)
        found.extend((key, known.rv) for key, known in inventory.scan(b"", None))
        return []

    journal.prepare([Append(PODS, "", look, 1, None, None, None, 0.0)], force=False)
    journal.commit()
    assert [key for key, _ in found] == sorted({key for key, _ in found})
    return dict(found)


def test_a_newer_layer_hides_every_older_one(journal: Journal) -> None:
    """Table, frozen, overlay and delta each hold another revision of the same key."""
    put(journal, *(change(f"p{n}", 1) for n in range(8)))
    while not journal.fold_step():
        pass
    put(journal, *(change(f"p{n}", 2) for n in range(6)))
    journal.fold_step()
    assert journal.folding
    put(journal, *(change(f"p{n}", 3) for n in range(4)))
    assert scanned(journal, change("p0", 4), change("p1", 4)) == {
        b"shop/p0": "4",
        b"shop/p1": "4",
        b"shop/p2": "3",
        b"shop/p3": "3",
        b"shop/p4": "2",
        b"shop/p5": "2",
        b"shop/p6": "1",
        b"shop/p7": "1",
    }


def test_entries_above_the_tables_first_page_are_shown_once_and_in_order(journal: Journal) -> None:
    """Keys of the table and of the overlay alternate over several pages of the table."""
    put(journal, *(change(f"p{n:02}", 1) for n in range(0, 30, 2)))
    while not journal.fold_step():
        pass
    put(journal, *(change(f"p{n:02}", 2) for n in range(1, 30, 2)))
    expected = {f"shop/p{n:02}".encode(): "2" if n % 2 else "1" for n in range(30)}
    assert scanned(journal) == expected


@pytest.mark.parametrize(
    "uid",
    [
        "0b7c2f4e-1111-4222-8333-444455556666",
        "0B7C2F4E-1111-4222-8333-444455556666",
        "0b7c2f4e11114222833344445555666600ab",
        "0b7c2f4e-1111-4222-8333-44445555666 ",
        "not a uuid",
        "",
    ],
)
def test_a_uid_of_any_form_comes_back_as_it_was(journal: Journal, uid: str) -> None:
    def write(inventory: Inventory) -> list[Change]:
        inventory.put(b"shop/a", Known(uid, "1"))
        return []

    journal.prepare([Append(PODS, "", write, 1, None, None, None, 0.0)], force=False)
    journal.commit()
    while not journal.fold_step():
        pass
    assert journal.inventories.of("pods").get(b"shop/a") == Known(uid, "1")
    assert isinstance(pack_uid(uid), bytes) == (uid == "0b7c2f4e-1111-4222-8333-444455556666")
