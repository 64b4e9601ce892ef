"""What the runtime may ask of a log. `sqlite` log for `run`, memory log for `watch`; one contract.

No I/O here.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from bridge.changes.change import Batch, Change, Cursor, StreamInfo
from bridge.changes.reconcile import Inventory

__all__ = ["Log", "LogIdentity", "WatchState", "Work"]

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


class Log(Protocol):
    """The durable, ordered sequence of records of one bridge; every sink reads it with its own cursor."""

    identity: LogIdentity

    async def watch_state(self, stream: str, scope: str) -> WatchState | None:
        """Durable state of one watch, or None when this stream and scope are new."""
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
        waits. Raises what `work` raised, at the next call or at `flush`.
        """
        ...

    async def flush(self) -> None:
        """Return when everything appended so far is durable (and its `work` has run)."""
        ...

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """Next committed batches behind position `after`, at least one; waits for one. Oldest first."""
        ...

    def end(self) -> int:
        """Position of the newest committed change (the start of this incarnation's range - 1 when none)."""
        ...

    async def open_sink(self, name: str, fingerprint: str) -> int:
        """Position that this sink has acknowledged; a new sink starts before the oldest kept record."""
        ...

    def acknowledge(self, name: str, position: int) -> None:
        """The sink owns everything up to `position`. Durable with the next commit, at most 1 s later."""
        ...

    async def aclose(self) -> None:
        """Commit what was accepted, acknowledge cursors durably, release the lock."""
        ...
