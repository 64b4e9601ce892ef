"""Calls for different keys in parallel (`Overlap.LANES`): each lane is strictly in order.

A lane retries its head in place. One that is stuck stops reading only when all that is handed out fills the
window, and until then the other lanes go on. Across lanes there is no order.
"""

import math
from collections.abc import Mapping, Sequence

import trio
from trio.lowlevel import ParkingLot

from bridge.changes.record import Record
from bridge.delivery.crew import Crew
from bridge.delivery.handover import Halted
from bridge.delivery.queues import LaneQueues
from bridge.delivery.session import Session
from bridge.delivery.sink import Delivery
from bridge.delivery.tries import Parcel

__all__ = ["run_lanes"]


async def run_lanes(session: Session) -> None:
    """Deliver until the session ends; raises what ends it (`Handover.insist`, `Handover.refuse`)."""
    lanes = _Lanes(session)
    async with Crew.assemble(session.waits) as crew:
        for lane in range(session.limits.concurrency):
            crew.start(lanes.run, lane)
        crew.start(lanes.read)


class _Lanes:
    """The lanes of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._queues = LaneQueues(session.limits)
        self._filled = [ParkingLot() for _ in range(session.limits.concurrency)]
        self._room = ParkingLot()

    async def read(self) -> None:
        """Put what is read into its lanes, as far as there is room."""
        session, queues, ledger = self._session, self._queues, self._session.ledger
        while True:
            batches = await session.read()
            for delivery in session.hand_out.deliveries(batches, ledger.reached, session.replay_through):
                for record in delivery.records:
                    while not queues.has_room(record):
                        with session.waits.idle():
                            await self._room.park()
                    ledger.take(record.position)
                    self._filled[queues.put(record, trio.current_time())].unpark()
                ledger.pass_over(delivery.last_position)
                session.acknowledge()
            session.stats.filtered = session.hand_out.filtered
            await trio.lowlevel.checkpoint()

    async def run(self, lane: int) -> None:
        """Deliver what comes into one lane."""
        session = self._session
        while True:
            records = await self._next(lane)
            parcel = Parcel(
                Delivery(
                    records[-1].position,
                    records,
                    sum(len(record.value) for record in records),
                    replay=records[0].position <= session.replay_through,
                )
            )
            refused = await session.handover.insist(parcel, lane)
            await self._settle(parcel, refused)

    async def _next(self, lane: int) -> Sequence[Record]:
        queues, waits = self._queues, self._session.waits
        while True:
            waits.check()
            due = queues.due_at(lane)
            now = trio.current_time()
            if due is not None and (due <= now or waits.hurried):
                return queues.take(lane, now)
            with waits.idle(math.inf if due is None else due, impatient=due is not None):
                await self._filled[lane].park()

    async def _settle(self, parcel: Parcel, refused: Mapping[int, str]) -> None:
        session, records = self._session, parcel.delivery.records
        halted: Halted | None = None
        if refused:
            try:
                await session.handover.refuse(parcel, refused)
            except Halted as error:
                halted = error
        for index, record in enumerate(records):
            if halted is None or index not in refused:
                session.ledger.settle(record.position)
        session.answered(parcel, len(refused))
        session.acknowledge()
        self._queues.done(records)
        self._room.unpark_all()
        if halted is not None:
            raise halted
