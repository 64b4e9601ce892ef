"""The contract of a sink. No I/O here.

A sink is an async context manager that hands rendered records to one destination. Retry, backoff,
cursors and metrics exist once, in `bridge.delivery.worker`; a sink only says what happened.

```
async with sink:
    resume = await sink.open(resume)      # where the destination itself says it is, or what it was given
    await sink.deliver(batch)             # returns: the destination owns every record
                                          # raises Unavailable: none is promised, the same batch comes again
                                          # raises Rejected: these never; the others are owned
```
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Protocol, Self, runtime_checkable

import msgspec

from bridge.errors import BridgeError

__all__ = ["ClosedPipe", "Delivery", "Rejected", "Resume", "Sink", "Unavailable"]


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
        last_position: of the last record considered for this delivery (filtered ones included).
        values: one rendered record each, without a line end; at least one.
        keys: the ordering key of each record (`cluster/group/resource/namespace/name`).
        size: bytes of all values.
        replay: an earlier run or attempt, cut off before it could say so, may have delivered some of these.
    """

    last_position: int
    values: Sequence[bytes]
    keys: Sequence[str]
    size: int
    replay: bool = False


class Unavailable(BridgeError):
    """The destination does not answer or has no room; none of the batch is promised.

    Attributes:
        retry_after: seconds that the destination asked to wait, or None for the worker's own backoff.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClosedPipe(BridgeError):
    """Whoever read our standard output has what it wanted: the command ends quietly."""

    exit_code: ClassVar[int] = 0


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
    """One destination. A frozen dataclass of its options, named by an entry point in `kube_bridge.sinks`."""

    max_records: ClassVar[int]
    """Most records it wants at once."""
    max_bytes: ClassVar[int]
    """Most bytes it wants at once; a single larger record still comes alone."""

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

    async def open(self, resume: Resume | None) -> Resume | None:
        """Return where to go on: what was given, or what the destination knows better."""
        ...

    async def deliver(self, batch: Delivery) -> None:
        """Return when the destination owns every record. Cancellation may leave the batch half-taken."""
        ...
