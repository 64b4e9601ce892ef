"""Several calls in flight, begun in the order of the log (`Overlap.PIPELINE`).

What the calls come to is settled in that order too. After a failure nothing new begins, what is in flight
ends, and all from the failed call on comes again: later records of a key are repeated, never overtaken.
"""

from collections import deque
from collections.abc import Mapping

import trio
from trio.lowlevel import ParkingLot

from bridge.delivery.crew import Crew
from bridge.delivery.session import Session
from bridge.delivery.sink import Unavailable
from bridge.delivery.tries import Parcel

__all__ = ["run_pipeline"]


async def run_pipeline(session: Session) -> None:
    """Deliver until the session ends; raises what ends it (`Handover.insist`, `Session.finish`)."""
    replay_through = session.replay_through
    while True:
        line = _Line(session, replay_through)
        try:
            async with Crew.assemble(session.waits) as crew:
                crew.start(line.settle)
                crew.start(line.begin, crew)
        except _Failed:
            # The breaker is open: the next call waits for it, and goes alone.
            replay_through = max(replay_through, session.ledger.reached)
            session.ledger.rewind()
            session.tries.rewind()


class _Failed(Exception):
    """A call was in vain; the breaker knows."""


class _Flight:
    """One call."""

    __slots__ = ("done", "error", "parcel", "refused")

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.done = trio.Event()
        self.error: Exception | None = None
        self.refused: Mapping[int, str] = {}


class _Line:
    """The calls in flight, the oldest first; one line ends with its first failure."""

    def __init__(self, session: Session, replay_through: int) -> None:
        self._session = session
        self._replay_through = replay_through
        self._flights: deque[_Flight] = deque()
        self._size = 0
        self._failed = False
        self._changed = ParkingLot()

    async def begin(self, crew: Crew) -> None:
        """Read, and begin calls in order, as many as may be in flight."""
        session = self._session
        ledger = session.ledger
        while True:
            batches = await session.read(session.limits.delay)
            for delivery in session.hand_out.deliveries(batches, ledger.reached, self._replay_through):
                if not delivery.records:
                    ledger.pass_over(delivery.last_position)
                    session.acknowledge()
                    continue
                while not self._has_room(delivery.size):
                    await self._wait()
                flight = _Flight(Parcel(delivery))
                ticket = await session.handover.admit(flight.parcel)
                if self._failed:
                    session.handover.forgo()
                while self._failed:
                    await self._wait()  # for the end of this line
                ledger.take(delivery.last_position)
                self._flights.append(flight)
                self._size += delivery.size
                begun = trio.Event()
                crew.start(self._fly, flight, ticket, begun)
                await begun.wait()
                self._changed.unpark_all()
            session.stats.filtered = session.hand_out.filtered
            await trio.lowlevel.checkpoint()

    async def settle(self) -> None:
        """Settle the oldest call, for ever; raises its error once no other is in flight."""
        while True:
            while not self._flights:
                await self._wait()
            flight = self._flights[0]
            await flight.done.wait()
            if flight.error is not None:
                for other in self._flights:
                    await other.done.wait()
                if isinstance(flight.error, Unavailable):
                    raise _Failed from flight.error
                raise flight.error
            await self._session.finish(flight.parcel, flight.refused)
            self._flights.popleft()
            self._size -= flight.parcel.delivery.size
            self._changed.unpark_all()

    async def _fly(self, flight: _Flight, ticket: int, begun: trio.Event) -> None:
        begun.set()  # who waits for it runs only after the call has come to its first await
        try:
            flight.refused = await self._session.handover.call(flight.parcel, ticket)
        except Exception as error:  # noqa: BLE001 - raised by `settle`, in order
            flight.error = error
            self._failed = True
        flight.done.set()

    def _has_room(self, size: int) -> bool:
        limits = self._session.limits
        return not self._flights or (
            len(self._flights) < limits.concurrency and self._size + size <= limits.window_bytes
        )

    async def _wait(self) -> None:
        with self._session.waits.idle():
            await self._changed.park()
