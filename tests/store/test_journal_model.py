"""The journal against a model, with what the delivery asks of it: letters, snapshots, backlogs, parking."""

from collections import Counter
from contextlib import suppress
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.changes.change import Change, StreamInfo
from bridge.changes.deadletter import DeadLetter
from bridge.changes.reconcile import object_key
from bridge.store import backlog, fold, journal, letters, tables
from bridge.store import inventory as inventory_module
from bridge.store.amend import request_snapshots
from bridge.store.backlog import attach, drop
from bridge.store.checks import superseded
from bridge.store.contract import SnapshotRequest
from bridge.store.letterbox import Redriven
from tests.store.journal_machine import STREAMS, JournalMachine, place, resync
from tests.store.samples import PODS, SECRETS


class DeliveryMachine(JournalMachine):
    def meanwhile(self, what: str) -> None:
        if what == "redrive":
            self.redrive(None, force=False)
        elif what == "drop":
            self.drop(None, None)
        else:
            super().meanwhile(what)

    @precondition(lambda self: not self.waiting)
    @rule(stream=st.sampled_from(STREAMS), key=st.sampled_from(["1", "2"]))
    def request(self, stream: StreamInfo, key: str) -> None:
        request = SnapshotRequest("out", stream.name, "", "requested", key)
        request_snapshots(self.journal, [request])
        for model in (self.model, self.durable):
            model.requests[place(request)] = request

    @rule(part=st.floats(0, 1), again=st.booleans())
    def bury(self, part: float, again: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        """A record that was delivered; perhaps refused again."""
        if not self.delivered:
            return
        position, name, item = self.delivered[int(part * (len(self.delivered) - 1))]
        known = [n for n, old in self.durable.letters.items() if old.position == position]
        stream = PODS if name == PODS.name else SECRETS
        letter = DeadLetter("out", position, stream, item, "id", "key", "1", "why", 1, 2, 3)
        for _ in range(1 + again):
            self.letters.bury([letter])
        number = known[0] if known else max(n.number for n in self.letters.read(None, 0, 10_000))
        assert number not in self.buried or known
        self.buried.add(number)
        for model in (self.model, self.durable):
            tries = model.letters[number].attempts if known else 0
            model.letters[number] = msgspec.structs.replace(letter, number=number, attempts=tries + 1 + again)

    @rule(numbers=st.none() | st.sets(st.integers(1, 12), max_size=4))
    def purge(self, numbers: set[int] | None) -> None:
        meant = [n for n in self.durable.letters if numbers is None or n in numbers]
        assert self.letters.purge("out", numbers) == len(meant)
        for number in meant:
            del self.model.letters[number], self.durable.letters[number]

    @rule(numbers=st.none() | st.sets(st.integers(1, 12), max_size=4), force=st.booleans())
    def redrive(self, numbers: set[int] | None, force: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        """Behind what is committed, before what waits."""
        meant = [one for n, one in sorted(self.durable.letters.items()) if numbers is None or n in numbers]
        prepared = (
            self.model if self.journal.sealed is not None else self.durable
        )  # what is on its way counts
        chosen = [
            one
            for one in meant
            if force
            or not superseded(
                one.change,
                prepared.inventory[one.stream.name].get(object_key(one.change.namespace, one.change.name)),
                self.journal.epoch(one.stream.name, one.change.namespace),
            )
        ]
        done = self.letters.redrive("out", numbers, force=force)
        assert done == Redriven(len(chosen), len(meant) - len(chosen))
        self.add([(one.stream.name, one.change) for one in chosen])
        for one in chosen:
            del self.model.letters[one.number], self.durable.letters[one.number]

    def add(self, changes: list[tuple[str, Change]]) -> None:
        """Durable at once, behind what was committed and before what waits."""
        end = len(self.durable.changes)
        self.model.changes[end:end] = changes
        self.durable.changes += changes
        self.last_position = max(self.last_position, self.journal.end)

    @rule(cut=st.none() | st.integers(0, 3), of=st.sampled_from([None, ["pods"]]))
    def drop(self, cut: int | None, of: list[str] | None) -> None:
        """The backlog of `out`, perhaps cut off by a crash after some transactions."""
        if self.journal.sealed is not None:
            cut = None
        through = self.journal.end
        done, had = 0, self.journal.sinks["out"].position
        step = backlog._step

        def counted(*arguments: Any) -> bool:
            nonlocal done
            if done == cut:
                raise _Cut
            done += 1
            return step(*arguments)

        with mock.patch.object(backlog, "_step", counted), suppress(_Cut):
            drop(self.journal, "out", of, ())
            cut = None
        if cut == 0:
            self.crash()
            return
        self.delivered = [entry for entry in self.delivered if entry[0] <= had]
        self.replace_backlog(of)
        self.acknowledged = self.read_to = max(had, through)
        if cut is not None:
            self.crash()
        assert self.read_to == self.journal.sinks["out"].position == max(had, through)

    def replace_backlog(self, of: list[str] | None) -> None:
        """Instead of what `out` has not acknowledged: the counts and the deletions."""
        waiting = self.model.changes[len(self.durable.changes) :]
        changes = [(name, item) for _, name, item in self.delivered]
        for stream in STREAMS:
            had = sum(name == stream.name for _, name, _ in self.delivered)
            behind = [item for name, item in self.durable.changes if name == stream.name][had:]
            if (of is not None and stream.name not in of) or (of is None and not behind):
                continue
            gone = [msgspec.structs.replace(item, object=b"") for item in behind if item.type == "DELETED"]
            if of is None or stream in self.journal.routes.latest():
                changes.append((stream.name, resync(len(behind), len(gone))))
            changes += [(stream.name, item) for item in gone]
        self.durable.changes = changes
        self.model.changes = changes + waiting
        self.last_position = max(self.last_position, self.journal.end)

    @rule(trimmed=st.booleans(), crash=st.booleans())
    def park(self, trimmed: bool, crash: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        """Parked, `out` holds back nothing; it comes back where it was, or is told that it lost some."""
        if self.waiting:
            return
        self.read_to = self.journal.sinks["out"].position
        self._forget_undelivered()
        behind = list(self.undelivered())
        self.journal.sinks.detach("out", self.acknowledged)
        while trimmed and self.journal.persist():
            pass
        self.journal.persist()
        before = self.journal.sinks["out"].position
        if crash:
            self.crash()
        else:
            self.opened = attach(self.journal, "out", "f", None)
            self.read_to = self.opened.position
        if not self.opened.fresh:
            assert self.opened.position == before
        else:
            request_snapshots(self.journal, [SnapshotRequest("out", "x", "", "firstStart", "0")])
            for model in (self.model, self.durable):
                model.requests["out", "x", ""] = SnapshotRequest("out", "x", "", "firstStart", "0")
        self.acknowledged = self.read_to
        self._forget_undelivered()
        rest = list(self.undelivered())
        assert rest == behind[len(behind) - len(rest) :]
        assert len(rest) == len(behind) or self.opened.fresh, "lost, and nobody is told"
        self.durable.changes = [(name, item) for _, name, item in self.delivered] + rest
        self.model.changes = list(self.durable.changes)

    @invariant()
    def letters_and_requests_equal_the_model(self) -> None:
        kept = self.letters.read(None, 0, 10_000)
        assert {one.number: one for one in kept} == self.durable.letters
        assert self.letters.counts == Counter(one.sink for one in kept)
        stored = self.journal.connection.execute("SELECT coalesce(sum(stored), 0) FROM dead_letter")
        assert stored.fetchone() == (self.letters.stored,)
        requests = tables.read_requests(self.journal.connection)
        assert {place(request): request for request in requests} == self.durable.requests


class _Cut(Exception):
    pass


def test_the_journal_equals_the_model_in_any_order_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """[N3] [N14]"""
    monkeypatch.setattr(fold, "_CHUNK", 3)
    monkeypatch.setattr(inventory_module, "_PAGE", 2)
    monkeypatch.setattr(journal, "_TRIM_EVERY", 2)
    monkeypatch.setattr(backlog, "_ROWS", 2)
    monkeypatch.setattr(backlog, "_ROW_RECORDS", 2)
    monkeypatch.setattr(letters, "_MANY", 2)
    run_state_machine_as_test(
        DeliveryMachine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
