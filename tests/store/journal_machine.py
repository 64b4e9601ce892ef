"""A model of the journal: any order of appends, commits, folds, trims, restarts and crashes."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bridge.changes.change import Batch, Change, Cursor, StreamInfo
from bridge.changes.deadletter import DeadLetter
from bridge.changes.reconcile import Inventory, Known, object_key
from bridge.store.backlog import attach, finish
from bridge.store.codec import RowDecoder
from bridge.store.contract import SnapshotRequest, WatchState
from bridge.store.database import Database
from bridge.store.group import Append
from bridge.store.journal import Journal
from bridge.store.letters import LetterBox
from bridge.store.routes import Routes
from bridge.store.space import MIN_BYTES, Budget
from bridge.store.tail import unpack
from tests.store.samples import PODS, SECRETS, uid

__all__ = ["STREAMS", "JournalMachine", "place", "resync"]

STREAMS = (PODS, SECRETS)
NAMES = st.sampled_from(["a0", "b", "-z"])  # few, so that the same key is written again and again
NAMESPACES = st.sampled_from(["", "a", "a-b"])
Step = tuple[str, str, str]
Job = tuple[StreamInfo, str, list[Step], bool, int | None, str | None]
STEPS = st.tuples(st.sampled_from(["put", "remove", "silent", "suspect", "clear"]), NAMESPACES, NAMES)
JOBS: st.SearchStrategy[Job] = st.tuples(
    st.sampled_from(STREAMS),
    st.sampled_from(["", "a"]),
    st.just([]) | st.lists(STEPS, max_size=6),  # often none: a stream without rows must not disturb others
    st.booleans(),
    st.none() | st.integers(0, 2),
    st.none() | st.sampled_from(["f", "g"]),
)
Entries = dict[bytes, Known]


class Model:
    """What must be true once everything accepted is committed."""

    def __init__(self) -> None:
        self.inventory: dict[str, Entries] = {stream.name: {} for stream in STREAMS}
        self.suspects: dict[str, dict[bytes, str]] = {stream.name: {} for stream in STREAMS}
        self.changes: list[tuple[str, Change]] = []  # as the sink `out` must be told them
        self.letters: dict[int, DeadLetter] = {}
        self.requests: dict[tuple[str, str, str], SnapshotRequest] = {}
        self.watches: dict[tuple[str, str], WatchState] = {}

    def copy(self) -> "Model":
        other = Model()
        other.inventory = {name: dict(entries) for name, entries in self.inventory.items()}
        other.suspects = {name: dict(entries) for name, entries in self.suspects.items()}
        other.changes = list(self.changes)
        other.letters = dict(self.letters)
        other.requests = dict(self.requests)
        other.watches = dict(self.watches)
        return other


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-"))
        self.revision = 0
        self.waiting: list[Append] = []
        self.model = Model()
        self.durable = Model()
        self.acknowledged = 0
        self.last_position = 0
        self.delivered: list[tuple[int, str, Change]] = []
        self.read_to = 0
        self.buried: set[int] = set()

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.directory)

    def open(self) -> None:
        self.database = Database.open(self.directory / "log.db")
        self.journal = Journal(self.database, Budget.of(MIN_BYTES))
        assert self.journal.first > self.last_position
        finish(self.journal)
        self.letters = LetterBox(self.journal)
        self.opened = attach(self.journal, "out", "f", None)
        self.read_to = self.opened.position
        self.journal.persist()
        self.last_position = max(self.last_position, self.journal.end)

    @initialize()
    def begin(self) -> None:
        self.open()

    @rule(
        jobs=st.lists(JOBS, min_size=1, max_size=5),
        told=st.none() | st.tuples(st.sampled_from(STREAMS), st.sampled_from(["out", "other"])),
        commit=st.sampled_from([None, False, True, False, True]),
        between=st.sampled_from([None, None, None, "redrive", "drop", "persist"]),
    )
    def work(
        self,
        jobs: list[Job],
        told: tuple[StreamInfo, str] | None,
        commit: bool | None,  # noqa: FBT001 - hypothesis draws it
        between: str | None,
    ) -> None:
        """Most steps do this, or the search would spend itself on restarts of an empty log."""
        for number, job in enumerate(jobs):
            self.append(*job)
            if told is not None and number == 0:
                self.append_addressed(*told)
        if commit is not None:
            self.commit(force=commit, between=between)

    def meanwhile(self, what: str) -> None:
        """Something goes through while a group waits for room."""
        if what == "persist":
            self.journal.persist()

    def append_addressed(self, stream: StreamInfo, audience: str) -> None:
        """A snapshot for one sink, as its work finds the inventory there; it fulfils a request."""
        self.revision += 1
        rv = str(self.revision)
        changes = [
            Change("DELETED", "snapshot", int(rv), "a", "b", "u", rv, 0, rv.encode() * 9, {"gone": rv})
        ]
        entries = sorted(self.model.inventory[stream.name].items())
        fulfils = [one for one in self.model.requests.values() if one.stream == stream.name]

        def work(inventory: Inventory) -> Sequence[Change]:
            assert list(inventory.scan(b"", None)) == entries
            return changes

        self.waiting.append(Append(stream, "", work, 100, None, None, None, 0.0, audience, fulfils))
        for request in fulfils:
            del self.model.requests[place(request)]
        if audience == "out":
            self.model.changes += [(stream.name, item) for item in changes]

    def append(
        self,
        stream: StreamInfo,
        scope: str,
        steps: list[Step],
        moved: bool,  # noqa: FBT001 - one of five drawn values
        epoch: int | None,
        fingerprint: str | None,
    ) -> None:
        self.revision += 1
        rv = str(self.revision)
        model = self.model
        entries, suspects = model.inventory[stream.name], model.suspects[stream.name]
        expected = [self._apply(entries, suspects, stream, step, rv) for step in steps]
        changes = [item for item in expected if item is not None]
        entries_then, suspects_then = sorted(entries.items()), sorted(suspects.items())

        def work(inventory: Inventory) -> Sequence[Change]:
            for kind, namespace, name in steps:
                key = object_key(namespace, name)
                if kind in ("put", "silent"):
                    inventory.put(key, Known(_uid(namespace, name), rv))
                elif kind == "remove":
                    inventory.remove(key)
                elif kind == "suspect":
                    if inventory.get(key) is not None:
                        inventory.suspect(key, rv)
                else:
                    known = inventory.get(key)
                    if known is not None:
                        inventory.put(key, known)
            # What is not committed yet lies over what is, also for the works behind it.
            assert list(inventory.scan(b"", None)) == entries_then
            assert [(key, rv) for key, _, rv in inventory.suspects(1000)] == suspects_then
            return changes

        cursor = Cursor(rv, rv) if moved else None
        self.waiting.append(Append(stream, scope, work, 100, cursor, epoch, fingerprint, 0.0))
        if moved or epoch is not None or fingerprint is not None:
            old = model.watches.get((stream.name, scope), WatchState(None, 0, ""))
            same = fingerprint is None or fingerprint == old.fingerprint
            model.watches[stream.name, scope] = WatchState(
                cursor or (old.cursor if same else None),
                old.epoch if epoch is None else epoch,
                old.fingerprint if fingerprint is None else fingerprint,
            )

    def _apply(
        self,
        entries: Entries,
        suspects: dict[bytes, str],
        stream: StreamInfo,
        step: Step,
        rv: str,
    ) -> Change | None:
        kind, namespace, name = step
        key = object_key(namespace, name)
        if kind in ("put", "silent"):
            entries[key] = Known(_uid(namespace, name), rv)
            suspects.pop(key, None)
        elif kind == "remove":
            entries.pop(key, None)
            suspects.pop(key, None)
        elif kind == "suspect" and key in entries:
            suspects[key] = rv
        elif kind == "clear" and key in entries:
            suspects.pop(key, None)
        if kind not in ("put", "remove"):
            return None
        type_ = "MODIFIED" if kind == "put" else "DELETED"
        change = Change(
            type_, "watch", int(rv), namespace, name, _uid(namespace, name), rv, 0, rv.encode() * 50
        )
        self.model.changes.append((stream.name, change))
        return change

    def commit(self, *, force: bool, between: str | None = None) -> None:
        """`between`: the group waits for room, and meanwhile something else goes through."""
        self.journal.prepare(self.waiting, force=force)
        if between is not None:
            self.meanwhile(between)
        self.waiting = []
        batches = self.journal.commit()
        for batch in batches:
            assert batch.position > self.last_position
            self.last_position = batch.last_position
        self.durable = self.model.copy()
        if not force:
            return
        for key, state in self.durable.watches.items():
            assert self.journal.watch_state(*key) == state

    @rule(whole=st.booleans())
    def fold(self, whole: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        while not self.journal.fold_step() and whole:
            pass

    @rule(limit=st.sampled_from([1, 200, 1 << 20]), part=st.none() | st.floats(0, 1), persist=st.booleans())
    def deliver(self, limit: int, part: float | None, persist: bool) -> None:  # noqa: FBT001 - drawn
        if self.read_to < self.journal.end:
            self.read(limit)
        if part is not None:
            self.acknowledge(part)
        if persist:
            self.journal.persist()

    def read(self, limit: int) -> None:
        for batch in self.batches(limit):
            if batch.audience in ("", "out"):
                self.delivered += [
                    (batch.position + n, batch.stream.name, named(item))
                    for n, item in enumerate(batch.changes)
                ]
            self.read_to = batch.last_position

    def batches(self, limit: int) -> list[Batch]:
        decoder = RowDecoder()
        return [unpack(decoder, row, self.read_to) for row in self.journal.rows(self.read_to, limit)]

    def undelivered(self) -> Iterator[tuple[str, Change]]:
        """What is kept for `out` behind what it has read."""
        for batch in self.batches(1 << 30):
            if batch.audience in ("", "out"):
                yield from ((batch.stream.name, named(item)) for item in batch.changes)

    def acknowledge(self, part: float) -> None:
        known = [position for position, _, _ in self.delivered]
        if known:
            position = known[int(part * (len(known) - 1))]
            if position > self.acknowledged:
                self.acknowledged = position
                self.journal.sinks.note({"out": position})

    @precondition(lambda self: not self.waiting)
    @rule()
    def restart(self) -> None:
        """Everything is durable but what only moved: a clean end."""
        self.journal.prepare((), force=True)
        self.journal.commit()
        self.journal.persist()
        self.database.close()
        self.open()
        assert self.acknowledged in (self.read_to, 0)
        for key, state in self.durable.watches.items():
            assert self.journal.watch_state(*key) == state
        self._forget_undelivered()

    @rule()
    def crash(self) -> None:
        """A copy of the files as they are: what a kill leaves behind. What was not committed never was."""
        survivor = Path(tempfile.mkdtemp(prefix="journal-"))
        for name in ("log.db", "log.db-wal"):
            if (self.directory / name).exists():
                shutil.copy(self.directory / name, survivor / name)
        self.database.close()
        shutil.rmtree(self.directory)
        self.directory = survivor
        self.waiting = []
        self.model = self.durable.copy()
        self.open()
        assert self.read_to <= self.acknowledged or self.acknowledged == 0 or self.opened.fresh
        self.acknowledged = self.read_to
        for key, state in self.durable.watches.items():
            now = self.journal.watch_state(*key) or WatchState(None, 0, "")
            assert (now.epoch, now.fingerprint) == (state.epoch, state.fingerprint)
            if now.cursor is not None:  # never ahead; behind only where nothing but the cursor had moved
                assert state.cursor is not None
                assert int(now.cursor.rv) <= int(state.cursor.rv)
        self.model.watches = {
            (name, scope): left
            for name in self.model.inventory
            for scope in ("", "a")
            if (left := self.journal.watch_state(name, scope)) is not None
        }
        self.durable.watches = dict(self.model.watches)
        self._forget_undelivered()

    def _forget_undelivered(self) -> None:
        self.delivered = [entry for entry in self.delivered if entry[0] <= self.read_to]

    @invariant()
    def inventory_equals_the_model(self) -> None:
        for stream in STREAMS:
            inventory = self.journal.inventories.of(stream.name)
            expected = self.durable.inventory[stream.name]
            assert list(inventory.scan(b"", None)) == sorted(expected.items())
            assert list(inventory.scan(b"a/", b"a/~")) == sorted(
                (key, known) for key, known in expected.items() if b"a/" < key <= b"a/~"
            )
            for key, known in expected.items():
                assert inventory.get(key) == known
            assert [(key, rv) for key, _, rv in inventory.suspects(1000)] == sorted(
                self.durable.suspects[stream.name].items()
            )

    @invariant()
    def a_restart_would_read_every_row_under_the_same_stream(self) -> None:
        """Needs no restart and no reader at the right moment, unlike the delivery below."""
        stored = Routes(self.journal.connection).by_number
        assert {number: self.journal.routes.by_number[number] for number in stored} == stored
        used = self.journal.connection.execute("SELECT DISTINCT stream FROM log").fetchall()
        assert {number for (number,) in used} <= stored.keys()

    @invariant()
    def every_committed_change_is_delivered_once_in_order_or_still_kept(self) -> None:
        rest = list(self.undelivered())
        for stream in STREAMS:
            got = [item for _, name, item in self.delivered if name == stream.name]
            got += [item for name, item in rest if name == stream.name]
            assert got == [item for name, item in self.durable.changes if name == stream.name]

    @invariant()
    def the_lag_is_what_is_kept(self) -> None:
        rows = self.journal.connection.execute(
            "SELECT position, count FROM log WHERE count > 0 AND position + count - 1 > ?", (self.read_to,)
        ).fetchall()
        behind = sum(min(count, position + count - 1 - self.read_to) for position, count in rows)
        assert self.journal.kept.lag(self.read_to).records == behind


def place(request: SnapshotRequest) -> tuple[str, str, str]:
    return request.sink, request.stream, request.scope


def resync(dropped: int, deletions: int) -> Change:
    counts = {"dropped": dropped, "deletions": deletions}
    return Change("RESYNC", "resync", 0, "", "", "", "", 0, b"", {"counts": counts})


def named(item: Change) -> Change:
    """Without what is drawn at random."""
    return resync(*item.extra["counts"].values()) if item.type == "RESYNC" and item.extra else item


def _uid(namespace: str, name: str) -> str:
    return uid(hash_of(namespace + "/" + name)) if name != "a0" else "not a uuid"


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:6].ljust(6, b"."), "big") % 1_000_000
