"""Planted bugs between the log and the destination."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_WORKER = "bridge/delivery/worker.py"
_AGREEMENT = "bridge/delivery/agreement.py"
_FILE = "sinks/jsonlines/appendfile.py"

BUGS = (
    Bug(
        "acknowledged-before-delivery",
        "a kill during a delivery loses the batch: the cursor has passed it",
        "bridge/delivery/serial.py",
        "                parcel = Parcel(delivery)\n",
        "                session.ledger.settle(delivery.last_position)\n"
        "                session.acknowledge()\n"
        "                parcel = Parcel(delivery)\n",
        ("tests/delivery/test_worker.py::test_the_cursor_does_not_move_before_the_sink_owns_the_batch",),
    ),
    Bug(
        "acknowledged-out-of-order",
        "what is still on its way is passed by the cursor, and lost by a kill",
        "bridge/delivery/ledger.py",
        "        return next(iter(self._outstanding.values()), self._reached)",
        "        return self._reached",
        ("tests/delivery/test_ledger.py",),
    ),
    Bug(
        "replay-not-marked",
        "after each restart the end of the file is written a second time",
        _WORKER,
        "        self._replay_through = reader.end()\n",
        "        self._replay_through = resume.position\n",
        ("tests/delivery/test_worker.py::test_what_may_have_been_delivered_before_is_marked_as_a_replay",),
    ),
    Bug(
        "skips-to-the-head",
        "a state that was rolled back goes on where its destination is: all between is lost, and nobody told",
        _AGREEMENT,
        "                await self._lose(sink, known, error)\n                return given.position\n",
        '                self._logger("warning", "going on where the destination is", reason=str(error))\n',
        ("tests/end_to_end/test_rollback.py",),
    ),
    Bug(
        "a-snapshot-at-each-opening",
        "after a lost state a broker that is away for a while costs one snapshot after the other",
        _AGREEMENT,
        "        if known == self._lost:\n            return\n",
        "",
        ("tests/delivery/test_domains.py::test_a_lost_state_asks_for_one_snapshot_however_often_it_opens",),
    ),
    Bug(
        "file-known-further-than-synced",
        "a kill or a power cut before the sync loses records: the next start is told that they are there",
        "sinks/jsonlines/fileoutput.py",
        "            self._deliver([record.value for record in batch.records], replay=batch.replay)\n"
        "            if self._place is not None:\n"
        "                self._place = replace(self._place, position=batch.last_position)\n"
        "                self._cursor.write(self._place)\n",
        "            if self._place is not None:\n"
        "                self._place = replace(self._place, position=batch.last_position)\n"
        "                self._cursor.write(self._place)\n"
        "            self._deliver([record.value for record in batch.records], replay=batch.replay)\n",
        ("tests/sinks/test_filecursor.py",),
    ),
    Bug(
        "file-of-another-log",
        "an exchanged or rolled back state writes to the file of a lost one: records repeated and missing",
        "sinks/jsonlines/fileoutput.py",
        "        return self._cursor.resume(given, sink)\n",
        "        return given\n",
        ("tests/sinks/test_filecursor.py",),
    ),
    Bug(
        "probe-never-given-back",
        "a pipeline that failed while it waited for its breaker stands still for ever",
        "bridge/delivery/pipeline.py",
        "                    session.handover.forgo()\n",
        "                    pass\n",
        (
            "tests/delivery/test_overlap.py::test_a_pipeline_whose_breaker_is_ready_before_its_last_call_has_failed_goes_on",
        ),
    ),
    Bug(
        "lane-by-record",
        "two requests for one object are in flight at once: the older state may arrive last",
        "bridge/delivery/queues.py",
        'crc32(record.key.encode("utf-8", "surrogatepass"))',
        'crc32(record.id.encode("utf-8", "surrogatepass"))',
        ("tests/delivery/test_overlap.py",),
    ),
    Bug(
        "whole-batch-buried",
        "records that the destination owns are dead letters too, and a redrive repeats them",
        "bridge/delivery/handover.py",
        "for index in sorted(refused)]",
        "for index in range(len(parcel.delivery.records)) for refused in [dict.fromkeys(range(999), '')]]",
        ("tests/delivery/test_overlap.py",),
    ),
    Bug(
        "filter-hides-a-gap",
        "a sink that wants deletions only is never told of a RESYNC: its state is wrong in silence",
        "bridge/delivery/handout.py",
        " | CONTROL_TYPES if wanted else None",
        " if wanted else None",
        ("tests/delivery/test_handout.py::test_no_filter_of_types_hides_a_gap",),
    ),
    Bug(
        "acknowledged-before-the-sync",
        "a power cut loses lines that the cursor has passed",
        _FILE,
        '            crash_point("sink.written")\n            os.fdatasync(self._fd)\n',
        '            crash_point("sink.written")\n',
        ("tests/sinks/test_appendfile.py", "tests/sinks/test_sync_order.py"),
    ),
    Bug(
        "torn-line-kept",
        "half a line stands in the file for ever: every reader fails on it",
        _FILE,
        "        os.ftruncate(self._fd, self.end)\n",
        "",
        ("tests/sinks/test_appendfile.py",),
    ),
    Bug(
        "written-again",
        "what a kill left behind the cursor stands in the file twice",
        "sinks/jsonlines/fileoutput.py",
        "        if self._search and (replay or self._suspect):\n",
        "        if self._search and self._suspect:\n",
        ("tests/sinks/test_jsonlines.py",),
    ),
    Bug(
        "half-a-batch-left",
        "a full disk leaves half a batch, which stands there twice once there is room",
        _FILE,
        "            self._take_back(begin)\n            if error.errno in NO_ROOM:",
        "            if error.errno in NO_ROOM:",
        ("tests/sinks/test_appendfile.py",),
    ),
    Bug(
        "rotated-files-forgotten",
        "what a kill left behind the cursor is written again when its file was rotated meanwhile",
        "sinks/jsonlines/fileoutput.py",
        "        earlier = rotated_files(self._path) if self._rotation and replay else ()\n",
        "        earlier = ()\n",
        ("tests/sinks/test_trail.py",),
    ),
    Bug(
        "original-removed-too-early",
        "a kill while a rotated file is compressed loses all of it",
        "sinks/jsonlines/tidying.py",
        '        crash_point("rotate.compressed")\n',
        '        Path(path).unlink()\n        crash_point("rotate.compressed")\n',
        ("tests/sinks/test_crash.py",),
    ),
    Bug(
        "numbers-begin-anew",
        "a rotated file is written over by the next one",
        "sinks/jsonlines/rotation.py",
        "        number = files[-1].number + 1 if files else 1\n",
        "        number = 1\n",
        ("tests/sinks/test_rotation.py",),
    ),
    Bug(
        "needed-file-removed",
        "a replay no longer finds what retention has removed, and writes it and all behind it again",
        "sinks/jsonlines/tidying.py",
        "                if time.time() - Path(path).stat().st_mtime < _NEEDED_SECONDS:\n",
        "                if False:\n",
        ("tests/sinks/test_tidying.py",),
    ),
)
