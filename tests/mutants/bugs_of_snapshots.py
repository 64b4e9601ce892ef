"""Planted bugs in snapshots for one sink and in what a full log does."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_SNAPSHOTS = "bridge/runtime/snapshots.py"
_BACKLOG = "bridge/runtime/backlog.py"
_TESTS = "tests/runtime/test_snapshots.py"

BUGS = (
    Bug(
        "snapshot-forgotten-by-a-crash",
        "a crash between the request and the listing: the sink waits for ever for what it needs",
        _SNAPSHOTS,
        "        await self._log.request_snapshots(requests)\n",
        "",
        (f"{_TESTS}::test_a_request_outlives_a_crash_until_its_end_is_in_the_log",),
    ),
    Bug(
        "snapshot-fulfilled-at-its-beginning",
        "a crash in the middle: half a snapshot passes for a whole one",
        _SNAPSHOTS,
        "            await self._append(snapshot, work, _RESYNC_BYTES)\n",
        "            await self._append(snapshot, work, _RESYNC_BYTES, fulfils=[snapshot.request])\n",
        (f"{_TESTS}::test_a_request_outlives_a_crash_until_its_end_is_in_the_log",),
    ),
    Bug(
        "snapshot-shows-what-is-in-doubt",
        "the new owner of a name comes before the deletion of the old one, which then deletes it",
        _SNAPSHOTS,
        "known = [e for e in part if inventory.get(_key(e)) == Known(e.uid, e.rv)]",
        "known = list(part)",
        (f"{_TESTS}::test_a_name_with_a_new_owner_is_told_as_deletion_and_addition_in_that_order",),
    ),
    Bug(
        "snapshot-for-everybody",
        "every sink is sent everything because one of them needed it",
        _SNAPSHOTS,
        "audience=request.sink, fulfils=fulfils",
        'audience="", fulfils=fulfils',
        (f"{_TESTS}::test_a_listing_sends_what_exists_to_the_sink_that_is_owed_it_and_differences_to_all",),
    ),
    Bug(
        "replaced-snapshot-goes-on",
        "the end of a snapshot whose beginning was dropped calls a part of it complete",
        _SNAPSHOTS,
        "        if self._desk is not None and self._desk.owes(request):\n",
        "        if self._desk is not None:\n",
        (f"{_TESTS}::test_a_snapshot_that_another_one_replaces_is_void_and_ends_nowhere",),
    ),
    Bug(
        "dead-sink-is-listed-for",
        "a sink that takes nothing has the log filled for it again and again, and all others with it",
        _BACKLOG,
        "        takes = stats.records > recovery.records or stats.position >= self._log.end()\n",
        "        takes = True\n",
        ("tests/runtime/test_backlog.py",),
    ),
    Bug(
        "dropped-for-nothing",
        "a sink that holds deletions alone has them written again four times a second, with a line each",
        "bridge/runtime/lagging.py",
        "min(self._left(name, position), size)",
        "0",
        ("tests/runtime/test_lagging.py",),
    ),
    Bug(
        "trimming-costs-the-next-one",
        "what is dropped of one sink is trimmed bit by bit, and meanwhile a healthy one loses its backlog",
        _BACKLOG,
        "full=bool(stats.full) and now >= self._full_counts_at",
        "full=bool(stats.full)",
        ("tests/runtime/test_backlog.py",),
    ),
    Bug(
        "deletions-without-room-are-lost",
        "where the deletions of a backlog find no room the sink goes on as if nothing had been",
        _BACKLOG,
        "                await self._give_up(name, str(error))\n",
        "",
        ("tests/runtime/test_backlog.py::test_a_sink_whose_deletions_find_no_room_parks",),
    ),
    Bug(
        "socket-for-everybody",
        "any user of the machine may pause sinks and purge dead letters",
        "bridge/operations/control.py",
        "        path.chmod(0o600)\n",
        "        path.chmod(0o666)\n",
        ("tests/operations/test_control.py::test_only_the_owner_may_open_it_and_it_goes_with_the_bridge",),
    ),
)
