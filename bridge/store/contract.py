"""What the runtime may ask of a log. `sqlite` log for `run`, memory log for `watch`; one contract.

No I/O here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from bridge.changes.change import Batch, Change, Cursor, StreamInfo
from bridge.changes.deadletter import LettersFull
from bridge.changes.reconcile import Inventory
from bridge.errors import Refused
from bridge.store.letterbox import Letters

__all__ = [
    "Backlogs",
    "Dropped",
    "Lag",
    "LettersFull",
    "Log",
    "LogIdentity",
    "LogStats",
    "OpenedSink",
    "Refused",
    "SnapshotRequest",
    "Snapshots",
    "WatchState",
    "Work",
]

Work = Callable[[Inventory], Sequence[Change]]
"""Turns what was read into changes, against the inventory as it is at that place in the log.

Runs exactly once, in log order, possibly in the writer's thread; does no I/O and never blocks.
"""


class LogIdentity(msgspec.Struct, frozen=True):
    """Which log this is: `log_id` is made once, `incarnation` grows with each open."""

    log_id: str
    incarnation: int


class WatchState(msgspec.Struct, frozen=True):
    """What is durably known of one watch (stream and scope).

    Attributes:
        cursor: where to resume, or None when no listing was ever completed.
        epoch: how often the server's revisions went backwards.
        fingerprint: identity of the collection (cluster, resource, scope, selectors) the state belongs to.
    """

    cursor: Cursor | None
    epoch: int
    fingerprint: str


class LogStats(msgspec.Struct, frozen=True):
    """What a log can say of itself, for metrics, readiness and liveness.

    Attributes:
        end: position of the newest committed record.
        kept_records: records that the log holds.
        kept_bytes: what they occupy, packed.
        file_bytes: the main file; a memory log has none.
        wal_bytes: its write-ahead log.
        commits: transactions that appended, since it was opened.
        commit_seconds: time spent in them.
        committed_records: records in them.
        last_commit_seconds: duration of the newest one.
        overlay: inventory entries in memory that are not yet folded into the table.
        in_flight: bytes accepted and not yet committed.
        heartbeat_age: seconds since the writer's last sign of life.
        full: one sentence why nothing can be appended now, or "".
        limit_bytes: what `kept_bytes` may grow to, about, before the log is full; looked up each second.
    """

    end: int
    kept_records: int
    kept_bytes: int
    file_bytes: int = 0
    wal_bytes: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    committed_records: int = 0
    last_commit_seconds: float = 0.0
    overlay: int = 0
    in_flight: int = 0
    heartbeat_age: float = 0.0
    full: str = ""
    limit_bytes: int = 0


class OpenedSink(msgspec.Struct, frozen=True):
    """Where a sink goes on.

    Attributes:
        position: it has acknowledged everything up to here.
        fresh: it missed records for good: it is new to a log that has existed before, its destination is
            another one, or its cursor lost records to trimming. A snapshot makes it whole. Told at each
            opening until one was requested for it.
        lost: it is the last of these: the log went on without a sink that it had before.
        missed: streams whose records passed it by for good, because it did not take them until now. Told at
            each opening until a snapshot of the stream was requested for it.
    """

    position: int
    fresh: bool
    lost: bool
    missed: tuple[str, ...] = ()


class SnapshotRequest(msgspec.Struct, frozen=True):
    """A snapshot that one sink is owed by one watch; kept until the snapshot is in the log.

    Attributes:
        sink: to whom it is addressed.
        stream: of what.
        scope: the namespace of the watch, "" for all.
        cause: why (`Cause`): requested, backlogFull, stateLost, or firstStart for a new sink.
        id: the snapshot's id, part of the ids of its records.
    """

    sink: str
    stream: str
    scope: str
    cause: str
    id: str


class Snapshots(Protocol):
    """Snapshots that are owed. Part of `Log`; `append(..., fulfils=[...])` removes them."""

    async def request_snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        """Remember; durable on return. One for the same sink, stream and scope replaces an older one.

        A sink that it names is not `fresh` any more, and has not `missed` the stream: that is owed now.

        Raises:
            Refused: there is no room.
        """
        ...

    async def snapshot_requests(self) -> Sequence[SnapshotRequest]:
        """Those that no snapshot has fulfilled yet."""
        ...


class Lag(msgspec.Struct, frozen=True):
    """What the log keeps behind a position.

    Attributes:
        records: of all streams and audiences.
        bytes: as packed in the file.
        oldest: when the first of them was read, microseconds since the Unix epoch; 0 when there is none.
    """

    records: int
    bytes: int
    oldest: int


class Dropped(msgspec.Struct, frozen=True):
    """What `drop_backlog` did, per stream.

    Attributes:
        records: dropped, by stream.
        deletions: of those, deletions whose identities stand in the log again, addressed to the sink.
        end: the sink's position now.
    """

    records: Mapping[str, int]
    deletions: Mapping[str, int]
    end: int


class Backlogs(Protocol):
    """Sinks that lag. Part of `Log`."""

    def lag(self, position: int) -> Lag:
        """What is kept behind a position; cheap enough for every scrape."""
        ...

    async def drop_backlog(
        self, sink: str, streams: Collection[str] | None, owed: Sequence[SnapshotRequest] = ()
    ) -> Dropped:
        """Move a sink to the end of the log, but for the identities of the deletions that it did not get.

        Appends, addressed to the sink, for each stream that it selects (None for all of which something is
        dropped): a RESYNC begin (cause backlogFull, with the counts) and those deletions, without bodies
        (`partial`). Remembers the snapshots that the sink is `owed` now in the same transaction; with them
        there is one RESYNC begin for each, with the request's id and scope. Works also while the log is
        full. A large backlog takes several transactions, and an opened log finishes what a crash cut off:
        the sink never sees a part of it. Nobody may acknowledge for the sink until this has returned; its
        worker reads on from `end`.

        Raises:
            Refused: the sink is not open, or there is no room even for the identities: the sink must park.
                A part may be dropped by then: whoever opens the sink finishes that, and `snapshot_requests`
                tells what it is owed.
        """
        ...

    async def release_sink(self, name: str) -> None:
        """The sink is parked: it holds back nothing from now on; its cursor stays as detached.

        It must be opened again before anything is acknowledged for it.
        """
        ...


class Log(Letters, Snapshots, Backlogs, Protocol):
    """The durable, ordered sequence of records of one bridge; every sink reads it with its own cursor."""

    identity: LogIdentity

    async def watch_state(self, stream: str, scope: str) -> WatchState | None:
        """Durable state of one watch, or None when this stream and scope are new."""
        ...

    async def watch_states(self, stream: str) -> Mapping[str, WatchState]:
        """Durable states of all watches that this stream ever had, by scope."""
        ...

    async def watched_streams(self) -> Collection[str]:
        """Names of all streams of whose objects this log knows something, in order."""
        ...

    async def adopt(
        self, stream: str, collection: Mapping[str, str], configured: Collection[str]
    ) -> Sequence[str]:
        """Have a stream that is not known yet go on as the one that watched the same under another name.

        Where exactly one did, all that stands under its name stands under the new one from then on, durably:
        watches, inventory, records that are kept, dead letters and snapshots that are owed. It must not be
        watched now, nor the new one.

        Args:
            stream: the new name; if it is known already, nothing happens.
            collection: fingerprint of each of its scopes.
            configured: names of streams that are none of those that may be adopted.

        Returns:
            Names of all that watched the same: one was adopted, several were not; none for a known stream.

        Raises:
            Refused: there is no room; nothing was changed.
        """
        ...

    async def append(  # noqa: PLR0913 - everything that is committed together
        self,
        stream: StreamInfo,
        scope: str,
        work: Work,
        *,
        size: int,
        cursor: Cursor | None = None,
        epoch: int | None = None,
        fingerprint: str | None = None,
        audience: str = "",
        fulfils: Sequence[SnapshotRequest] = (),
    ) -> None:
        """Accept work in order; return as soon as there is room for `size` bytes (backpressure).

        The changes of `work`, the inventory writes it made and `cursor`/`epoch`/`fingerprint` (where
        given) are committed in one transaction, together with neighbours. While the disk is full this
        waits. A `fingerprint` that differs from the stored one, without a cursor, forgets the old cursor.
        Cancellation leaves the work either accepted or never run.

        With an `audience` the changes are meant for that sink alone; such work reads the inventory and must
        not write to it. The requests that the append `fulfils` are forgotten in the same transaction, also
        when there are no changes; one that was replaced meanwhile (another id) is still owed.

        Raises:
            InvariantError: some `work` raised (its cause); told at the next call of anything, or at `flush`.
            BridgeError: the storage failed. In both cases the log is dead and the process must end.
        """
        ...

    async def flush(self) -> None:
        """Return when everything appended so far is durable (and its `work` has run). Raises as `append`."""
        ...

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """Next committed batches behind position `after`, at least one; waits for one. Oldest first.

        Raises:
            StateError: what follows `after` was trimmed: the position is not from this log's present.
        """
        ...

    def end(self) -> int:
        """Position of the newest committed change (the start of this incarnation's range - 1 when none)."""
        ...

    async def open_sink(
        self,
        name: str,
        fingerprint: str,
        takes: Collection[str] = (),
        leaves_out: Collection[str] = (),
        skips: Collection[str] = (),
    ) -> OpenedSink:
        """Where this sink goes on; a new sink starts before the oldest kept record.

        From now on it holds back trimming, so sinks are opened before streams are. Another `fingerprint`
        than the stored one is a new sink. (A snapshot for new sinks is not this method's work.)

        Args:
            name: of the sink.
            fingerprint: of its destination.
            takes: names of the streams that it is handed.
            leaves_out: of those that it could be handed and is not; remembered, even if one leaves the
                configuration: until it takes them, their records pass it by.
            skips: streams of which it needs only what comes once it takes them: it has not `missed` them.
        """
        ...

    async def detach_sinks(self, keep: Collection[str]) -> None:
        """All sinks but these left the configuration: they hold back nothing, their cursors stay."""
        ...

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """Hold a cursor that was kept outside against this log.

        Raises:
            StateError: this log never gave out that position (another log, or an older copy of this one).
        """
        ...

    def stats(self) -> LogStats:
        """How it is; cheap enough for every scrape."""
        ...

    def acknowledge(self, name: str, position: int) -> None:
        """The sink owns everything up to `position`. Durable with the next commit, at most 1 s later.

        Raises:
            InvariantError: backwards, beyond the end, or a sink that was not opened.
        """
        ...

    async def aclose(self) -> None:
        """Commit what was accepted, acknowledge cursors durably, release the lock."""
        ...
