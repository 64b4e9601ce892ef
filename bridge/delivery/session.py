"""What the three ways of delivering share: one opened sink, from its cursor on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from bridge.changes.change import Batch
from bridge.delivery.handout import HandOut
from bridge.delivery.handover import Handover
from bridge.delivery.ledger import Ledger
from bridge.delivery.limits import Limits
from bridge.delivery.stats import SinkStats
from bridge.delivery.tries import Parcel, Tries
from bridge.delivery.waits import Waits

__all__ = ["LogReader", "Session"]


class LogReader(Protocol):
    """What a worker needs of the log; `bridge.store.contract.Log` has it."""

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """Next committed batches with something behind position `after`, oldest first; waits for one."""
        ...

    def end(self) -> int:
        """Position of the newest committed change; never ahead of what `read` can still give."""
        ...

    def acknowledge(self, name: str, position: int) -> None:
        """The sink owns everything up to `position`. Durable soon, without waiting for it."""
        ...

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """Raise `StateError` for a cursor, kept outside, that this log never gave out."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """One opened sink and its place in the log.

    Attributes:
        reader: the log.
        ledger: what is handed out and what is settled.
        hand_out: what this sink gets of what is read.
        tries: how often what is handed out was tried.
        handover: hands it over.
        waits: what may be cut short.
        stats: counters.
        limits: how much there is of everything.
        replay_through: records up to here may have been delivered before.
        acknowledge: tells the log how far the ledger is.
    """

    reader: LogReader
    ledger: Ledger
    hand_out: HandOut
    tries: Tries
    handover: Handover
    waits: Waits
    stats: SinkStats
    limits: Limits
    replay_through: int
    acknowledge: Callable[[], None]

    async def read(self, delay: float = 0.0) -> Sequence[Batch]:
        """What follows in the log; waits for something, and then up to `delay` seconds for a full delivery.

        Raises:
            Quit: the sink shall rest.
        """
        limits, waits = self.limits, self.waits
        # What is read becomes larger by its envelopes: half fills one delivery without a small rest behind.
        most = limits.bytes // 2
        with waits.idle():
            batches = await self.reader.read(self.ledger.reached, most)
        if delay and not waits.hurried:
            batches = list(batches)
            with waits.idle(trio.current_time() + delay, impatient=True):
                while (room := most - sum(batch.size for batch in batches)) > 0:
                    if sum(len(batch.changes) for batch in batches) >= limits.records:
                        break
                    batches += await self.reader.read(batches[-1].last_position, room)
        return batches

    async def finish(self, parcel: Parcel, refused: Mapping[int, str]) -> None:
        """The destination has answered for a delivery and for all before it: settle it.

        Raises:
            Halted: it refused records, and the sink shall stop before them.
            Quit: the sink shall rest, and what was refused is not buried.
        """
        delivery = parcel.delivery
        if refused:
            await self.handover.refuse(parcel, refused)
        self.answered(parcel, len(refused))
        self.ledger.settle(delivery.last_position)
        self.acknowledge()

    def answered(self, parcel: Parcel, refused: int) -> None:
        """Count a parcel that will not come again; so many of its records were refused."""
        self.stats.delivered(parcel.delivery, parcel.seconds, refused)
        self.tries.settle(parcel)
