"""Kafka: each change a message of its object's key, so that a compacted topic equals the cluster.

A record is owned when all replicas in sync have confirmed all of its messages. With `delivery: atLeastOnce`
a replay after a crash repeats a suffix; with `transactional` the place in the log travels in the same
transaction as the records (`transactions`), so a committed reader sees each of them once.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

from bridge.delivery.sink import Context, Delivery, Overlap, Resume
from bridge.errors import InvariantError
from sinks.kafka.options import KafkaOptions
from sinks.kafka.place import ID_BYTES

if TYPE_CHECKING:
    from sinks.kafka.session import Session

__all__ = ["Kafka"]


class _Runtime:
    """What an open sink holds beside its options."""

    session: "Session | None" = None
    nursery: AbstractAsyncContextManager[trio.Nursery] | None = None


@dataclass(frozen=True)
class Kafka(KafkaOptions):
    """Sends each change to a topic."""

    _runtime: _Runtime = field(init=False, repr=False, compare=False, default_factory=_Runtime)

    @property
    def max_records(self) -> int:
        """More where each batch costs a transaction, but no more than its cursor can name."""
        return max(min(5000, self.most_message_bytes // ID_BYTES), 1) if self.transactional else 1000

    @property
    def max_bytes(self) -> int:
        """As `max_records`: a commit takes some tens of milliseconds however much it commits."""
        return 16 << 20 if self.transactional else 2 << 20

    @property
    def overlap(self) -> Overlap:
        """Batches follow each other without waiting, unless each is a transaction."""
        return Overlap.NONE if self.transactional else Overlap.PIPELINE

    @property
    def concurrency(self) -> int:
        """How many batches may be on their way."""
        return 1 if self.transactional else 5

    @property
    def ownership(self) -> str:
        """What it means that Kafka owns a record."""
        if self.transactional:
            return "committed together with our place in the log, once each for committed readers"
        return "confirmed by all replicas in sync"

    async def __aenter__(self) -> Self:
        """Nothing is reached before `open`, which knows the names."""
        from sinks.kafka.session import Session  # noqa: PLC0415 - the client costs 100 ms to import

        nursery = trio.open_nursery()
        self._runtime.session = Session(self, await nursery.__aenter__())
        self._runtime.nursery = nursery
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give what is on its way a moment; abort an open transaction, so that no reader waits for it."""
        runtime = self._runtime
        session, nursery = runtime.session, runtime.nursery
        runtime.session = runtime.nursery = None
        try:
            if session is not None:
                await session.close()
        finally:
            if nursery is not None:
                # An error of the body is not the nursery's: it would come out wrapped in a group.
                await nursery.__aexit__(None, None, None)

    async def open(self, resume: Resume, context: Context) -> Resume:
        """Look at the topics, make those that are missing if so configured, and begin.

        Returns:
            What was given; a transactional sink returns the place that Kafka has.

        Raises:
            Unavailable: Kafka cannot be reached, or a topic or a right is missing; one sentence says which.
            Stopped: a topic's name is illegal, or the client refuses its configuration.
        """
        return await self._session().open(resume, context)

    async def deliver(self, batch: Delivery) -> None:
        """Send the records; return when Kafka owns all of their messages.

        Cancelled, records may still arrive; those that come again before `open` are not sent twice.

        Raises:
            Unavailable: from this batch on all must come again.
            Rejected: no message can hold these; the others are owned.
            Stopped: `onTooLarge: halt`, or another instance has taken over the transactional id.
        """
        await self._session().deliver(batch)

    async def problems(self, context: Context) -> Sequence[str]:
        """What keeps it from working: unreachable, topics, rights, compaction. Changes nothing."""
        from sinks.kafka.session import problems  # noqa: PLC0415 - as above

        return await problems(self, context)

    def _session(self) -> "Session":
        if self._runtime.session is None:
            raise InvariantError("A Kafka sink was used while it was closed.")
        return self._runtime.session
