"""Planted bugs in the log."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_JOURNAL = "bridge/store/journal.py"
_T_CONTRACT = "tests/store/test_contract.py"

BUGS = (
    Bug(
        "cursor-before-its-events",
        "a kill between two transactions loses the events that the cursor has passed already",
        _JOURNAL,
        "            with self._database.transaction():\n                self._write_group(sealed)\n",
        "            with self._database.transaction():\n"
        "                tables.write_watches(self._connection, sealed.watches, sealed.end)\n"
        "            with self._database.transaction():\n                self._write_group(sealed)\n",
        ("tests/store/test_kill.py::test_a_kill_at_each_point_of_a_transaction_loses_nothing[log.written]",),
    ),
    Bug(
        "commit-without-a-sync",
        "a power cut loses records that a sink was given: positions and history no longer agree",
        "bridge/store/database.py",
        '    ("synchronous", "FULL", 2),',
        '    ("synchronous", "NORMAL", 1),',
        ("tests/store/test_commit.py::test_a_record_is_seen_by_nobody_before_the_sync_of_its_commit",),
    ),
    Bug(
        "readers-before-the-commit",
        "a sink is given records that a kill then takes back: it knows changes that the log never had",
        "bridge/store/writer.py",
        "            batches = self._journal.commit()\n",
        "            if sealed:\n"
        "                self._post(self._committed, Committed(sealed.batches, 0, sealed.end, []))\n"
        "            self._journal.commit()\n            batches = []\n",
        ("tests/store/test_commit.py::test_a_record_is_seen_by_nobody_before_the_sync_of_its_commit",),
    ),
    Bug(
        "flush-before-the-commit",
        "deletions are asked about before the listing that doubts them is durable",
        "bridge/store/writer.py",
        "            if isinstance(taken, Flush):\n                self._taken.append(taken)\n",
        "            if isinstance(taken, Flush):\n                self._post(taken.done)\n",
        ("tests/store/test_commit.py::test_a_record_is_seen_by_nobody_before_the_sync_of_its_commit",),
    ),
    Bug(
        "position-used-twice",
        "after a restart new records have positions that a sink has acknowledged: it is never given them",
        "bridge/store/opening.py",
        '        first = int(meta.get("reserved", "0")) + 1\n',
        '        first = connection.execute("SELECT ifnull(max(position), 0) + 1 FROM log").fetchone()[0]\n',
        ("tests/store/test_reopening.py", "tests/store/test_opening.py"),
    ),
    Bug(
        "lost-future-taken-for-ours",
        "a volume restored from a snapshot goes on behind what its sink had: deletions are lost",
        "bridge/store/opening.py",
        "(number, _given_out(connection) + 1)",
        "(number, first)",
        ("tests/store/test_opening.py::test_a_copy_of_a_running_log_does_not_know_what_came_after_it",),
    ),
    Bug(
        "trimmed-under-a-sink",
        "the log deletes what a slow sink has not been given yet",
        "bridge/store/sinks.py",
        "        return min([default, *(s.position for s in self._sinks.values() if s.detached_at is None)])",
        "        return default",
        ("tests/store/test_reopening.py",),
    ),
    Bug(
        "low-water-mark-of-the-fastest",
        "as soon as one sink has a record it is deleted, whoever else waits for it",
        "bridge/store/sinks.py",
        "        return min([bound, *waiting])",
        "        return max([position for position in waiting if position <= bound], default=bound)",
        ("tests/store/test_commit.py::test_what_every_sink_owns_is_given_back_and_nothing_before",),
    ),
    Bug(
        "fold-done-before-its-rows",
        "a kill during a fold forgets objects: the next relist tells them again, deletions never come",
        _JOURNAL,
        "            if last:\n                tables.write_watches(",
        "            if True:\n                tables.write_watches(",
        ("tests/store/test_reopening.py",),
    ),
    Bug(
        "epoch-lost-on-disk",
        "a sink that lags gets other ids and sequences than one that does not, after a restored backup",
        "bridge/store/codec.py",
        "            changes.append(Change(*meta[:8], objects[start:end], meta[9]))",
        "            changes.append(Change(*meta[:7], 0, objects[start:end], meta[9]))",
        ("tests/store/test_reopening.py",),
    ),
    Bug(
        "another-clusters-state",
        "a changed kubeconfig context reports every object of the old cluster as deleted",
        _JOURNAL,
        "        if known is not None and known != cluster:",
        "        if False:",
        ("tests/store/test_opening.py::test_another_clusters_state_is_refused",),
    ),
    Bug(
        "cursor-ahead-of-the-log",
        "a sink acknowledges what it never had, and is never given it",
        "bridge/store/positions.py",
        "    if position > max(before, end):",
        "    if False:",
        (f"{_T_CONTRACT}::test_acknowledging_backwards_beyond_the_end_or_unopened_breaks_an_invariant",),
    ),
    Bug(
        "added-behind-what-waits",
        "on a full log a dropped backlog takes the positions of records that wait for room",
        _JOURNAL,
        "            self.sealed = self.sealed.moved_by(places)",
        "            pass",
        ("tests/store/test_full_backlogs.py",),
    ),
    Bug(
        "lost-and-not-told",
        "a sink that was parked too long comes back, gets no snapshot, and is wrong for ever",
        _JOURNAL,
        "        if self.sinks.missed(trimmed.last):",
        "        if False:",
        ("tests/store/test_fresh.py",),
    ),
    Bug(
        "deletions-dropped-the-second-time",
        "a backlog that is dropped twice loses the deletions that the first drop had kept",
        "bridge/store/backlog.py",
        '        if route.audience in ("", name) and',
        '        if route.audience == "" and',
        ("tests/store/test_backlogs.py",),
    ),
    Bug(
        "drop-forgotten-by-a-crash",
        "a kill within a drop lets the sink read the rest of its backlog, then its older deletions",
        "bridge/store/backlog.py",
        "    cursor.dropping = None if last else msgspec.json.encode(todo).decode()",
        "    cursor.dropping = None",
        ("tests/store/test_power.py",),
    ),
    Bug(
        "older-state-redriven",
        "a redrive puts what an object was over what it is",
        "bridge/store/checks.py",
        "newer(known.rv, change.rv))",
        "newer(change.rv, known.rv))",
        ("tests/store/test_letters.py",),
    ),
    Bug(
        "redriven-and-still-a-letter",
        "a kill within a redrive, or the next redrive, sends the record again",
        "bridge/store/letters.py",
        "SET position = ?, stored = 0, ids = x'', body = x'' WHERE number = ?",
        "SET position = ? WHERE number = ?",
        ("tests/store/test_letters.py",),
    ),
    Bug(
        "snapshot-among-newer-records",
        "an addressed snapshot shares the row of live records: its older state overwrites what is newer",
        "bridge/store/group.py",
        "            or draft.audience != audience\n",
        "",
        ("tests/store/test_backlogs.py",),
    ),
    Bug(
        "replaced-request-fulfilled",
        "a snapshot that began before a second request fulfils that too: what it asked for never comes",
        "bridge/store/tables.py",
        ' AND scope = ? AND id = ?",\n        [(request.sink, request.stream, request.scope, request.id) for',
        ' AND scope = ?",\n        [(request.sink, request.stream, request.scope) for',
        ("tests/store/test_backlogs.py",),
    ),
)
