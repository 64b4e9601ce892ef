"""The contract of a sink. No I/O here.

A sink is an async context manager that hands rendered records to one destination. Retry, backoff, rate
limits, order, dead letters, cursors and metrics exist once, in `bridge.delivery`; a sink only says what
happened.

```
async with sink:
    resume = await sink.open(resume, context)  # where the destination itself says it is, or what was given
    await sink.deliver(batch)                  # returns: the destination owns every record
                                               # raises Unavailable: none is promised, it comes again
                                               # raises Rejected: these never; the others are owned
                                               # raises Stopped: nothing ever again, until a person acts
```
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import ClassVar, Protocol, Self, runtime_checkable

import msgspec

from bridge.changes.change import StreamInfo
from bridge.changes.record import Record
from bridge.errors import BridgeError

__all__ = [
    "Checked",
    "ClosedPipe",
    "Context",
    "Delivery",
    "Forgetting",
    "Located",
    "Overlap",
    "Owning",
    "Record",
    "Rejected",
    "Reopen",
    "Reopened",
    "Resume",
    "Sink",
    "Sparing",
    "Stopped",
    "Unavailable",
    "no_snapshot",
    "unlimited",
]


class Overlap(StrEnum):
    """Which calls of `deliver` may be in flight at once; at most `concurrency` are."""

    NONE = "none"
    """One at a time."""
    PIPELINE = "pipeline"
    """The next one may begin before this one returned. Calls begin in the order of the log, and the sink
    keeps that order from its first await on. After a failure all from the failed call on comes again."""
    LANES = "lanes"
    """Calls for different keys, in any order; records of one key never overlap."""


async def unlimited(records: int, size: int) -> None:
    """There is no rate limit."""


async def no_snapshot(streams: Collection[str]) -> bool:
    """What a destination has lost is not sent anew."""
    return not streams


class Context(msgspec.Struct, frozen=True):
    """Where a sink stands.

    Attributes:
        name: its configured name, unique in this bridge.
        cluster: name of the cluster, `[a-z0-9.-]+`.
        cluster_uid: identity of the cluster, part of every id.
        streams: what it is handed, as far as the API server has told by now.
        content_type: media type of a record's `value`.
        max_records: most records that one delivery will hold.
        admit: awaited before each request of a `deliver` but its first, with its records and bytes: returns
            when the rate limit lets it go.
        fresh: what the destination holds does not count: the sink is new to the log, or the log went on
            without it. A snapshot is on its way, so nobody need be told what is missing there.
        control: it is handed RESYNC and POISON; `format: kubernetes` has none.
        lost: awaited with the names of streams of which the destination has lost what it had, seen while the
            sink is open: has snapshots of them made where `onStateLoss: resync` says so, and returns whether
            they are owed. False: say what a person can do.
    """

    name: str
    cluster: str
    cluster_uid: str
    streams: Sequence[StreamInfo] = ()
    content_type: str = "application/json"
    max_records: int = 1
    admit: Callable[[int, int], Awaitable[None]] = unlimited
    fresh: bool = False
    control: bool = True
    lost: Callable[[Collection[str]], Awaitable[bool]] = no_snapshot


class Resume(msgspec.Struct, frozen=True):
    """A place in one log: everything up to and with `position` is owned by the destination.

    Attributes:
        log_id: identity of the log, made once per state directory.
        incarnation: counts the openings of that log; positions of different ones never collide.
        position: the last acknowledged position.
    """

    log_id: str
    incarnation: int
    position: int


class Delivery(msgspec.Struct, frozen=True):
    """Records handed to a sink at once, in order.

    Attributes:
        last_position: without `Overlap.LANES`: once this is owned, so is everything up to here (filtered
            records are counted in); with lanes only the position of the last record.
        records: at least one.
        size: bytes of all values.
        replay: an earlier run or attempt, cut off before it could say so, may have delivered some of these.
    """

    last_position: int
    records: Sequence[Record]
    size: int
    replay: bool = False


class Unavailable(BridgeError):
    """The destination does not answer or has no room; none of the batch is promised.

    Attributes:
        retry_after: seconds that the destination asked to wait, or None for the worker's own backoff.
        reason: one word for the metrics, from a small fixed set of the sink's own.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, reason: str = "unavailable"
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reason = reason


class ClosedPipe(BridgeError):
    """Whoever read our standard output has what it wanted: the command ends quietly."""

    exit_code: ClassVar[int] = 0


class Stopped(BridgeError):
    """The destination wants nothing any more (HTTP 410), or another instance has taken it over.

    The sink stops, loudly, with its cursor where it is; the others go on. A restart tries again.
    """


class Reopen(BridgeError):
    """What `open` was told no longer holds: the sink is left, entered again and goes on from its cursor.

    For what a running sink may meet and nobody has to look into; anything that is no `BridgeError` is a bug.
    """


class Rejected(BridgeError):
    """The destination will never take these records; every other one of the batch is owned.

    Attributes:
        reasons: index within the batch -> one sentence.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(sorted(set(reasons.values()))))
        self.reasons = dict(reasons)


@runtime_checkable
class Sink(Protocol):
    """One destination. A frozen dataclass of its options, named by an entry point in `kube_bridge.sinks`.

    A raised `ValueError` in its `__post_init__` is a problem of the configuration, told with its line;
    `RULES` (`bridge.settings.Rule`) tell several, each at its key.
    """

    @property
    def max_records(self) -> int:
        """Most records it wants at once; `batch.maxRecords` may want fewer."""
        ...

    @property
    def max_bytes(self) -> int:
        """Most bytes it wants at once; a single larger record still comes alone."""
        ...

    @property
    def overlap(self) -> Overlap:
        """Which calls may be in flight at once."""
        ...

    @property
    def concurrency(self) -> int:
        """How many; 1 without overlap."""
        ...

    async def __aenter__(self) -> Self:
        """Acquire what the destination needs; may raise `Unavailable`."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release everything, also when cancelled."""
        ...

    async def open(self, resume: Resume, context: Context) -> Resume:
        """Return where to go on: what was given, or what the destination knows better.

        The worker holds what the destination knows against the log: a place that this log never gave out
        ends with exit code 3, or with a new snapshot where `onStateLoss: resync` says so.
        """
        ...

    async def deliver(self, batch: Delivery) -> None:
        """Return when the destination owns every record. Cancellation may leave the batch half-taken."""
        ...


@runtime_checkable
class Sparing(Protocol):
    """A sink that is handed fewer records at once than `max_records` unless `batch.maxRecords` is set."""

    @property
    def default_records(self) -> int:
        """Most records at once where the configuration says nothing."""
        ...


@runtime_checkable
class Located(Protocol):
    """A sink of which some options say where it delivers, and the others only how.

    A sink whose `destination` changes is a new one: it starts with a snapshot. Without this, every option
    (each field that `__init__` takes) is a part of the place.
    """

    @property
    def destination(self) -> str:
        """The place, in a form that other options, secrets among them, do not change."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A sink that can tell, for `kube-bridge check`, what would keep it from working."""

    async def problems(self, context: Context) -> Sequence[str]:
        """What is wrong now, each in one sentence that says what to do. Changes nothing anywhere."""
        ...


@runtime_checkable
class Owning(Protocol):
    """A sink that says, for `kube-bridge check`, what it means that its destination owns a record."""

    @property
    def ownership(self) -> str:
        """One clause, as `written and synced`."""
        ...


@runtime_checkable
class Forgetting(Protocol):
    """A sink whose destination can be made to forget the place in a log that it keeps."""

    @property
    def forgetting(self) -> str:
        """What a person does, as `remove FILE to begin anew`."""
        ...


@runtime_checkable
class Reopened(Protocol):
    """A sink that can let go of what was put aside under its feet, as log files are: on SIGHUP."""

    async def reopen(self) -> None:
        """Open the destination anew if something else has taken its place.

        It may come while a `deliver` is running. What cannot be opened is no error here: `deliver` says so.
        """
        ...
