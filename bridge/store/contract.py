"""What the runtime may ask of a log. `sqlite` log for `run`, memory log for `watch`; one contract.

No I/O here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from bridge.changes.change import Batch, Change, Cursor, StreamInfo
from bridge.changes.reconcile import Inventory

__all__ = ["Log", "LogIdentity", "LogStats", "WatchState", "Work"]

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


class Log(Protocol):
    """The durable, ordered sequence of records of one bridge; every sink reads it with its own cursor."""

    identity: LogIdentity

    async def watch_state(self, stream: str, scope: str) -> WatchState | None:
        """Durable state of one watch, or None when this stream and scope are new."""
        ...

    async def watch_states(self, stream: str) -> Mapping[str, WatchState]:
        """Durable states of all watches that this stream ever had, by scope."""
        ...

    async def append(
        self,
        stream: StreamInfo,
        scope: str,
        work: Work,
        *,
        size: int,
        cursor: Cursor | None = None,
        epoch: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """Accept work in order; return as soon as there is room for `size` bytes (backpressure).

        The changes of `work`, the inventory writes it made and `cursor`/`epoch`/`fingerprint` (where
        given) are committed in one transaction, together with neighbours. While the disk is full this
        waits. A `fingerprint` that differs from the stored one, without a cursor, forgets the old cursor.
        Cancellation leaves the work either accepted or never run.

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

    async def open_sink(self, name: str, fingerprint: str) -> int:
        """Position that this sink has acknowledged; a new sink starts before the oldest kept record.

        From now on it holds back trimming, so sinks are opened before streams are. Another `fingerprint`
        than the stored one is a new sink. (A snapshot for new sinks is not this method's work.)
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
