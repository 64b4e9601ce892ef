"""Where calls of a sink wait for its breaker: the head that was tried least goes first."""

import math
from itertools import count

import trio

from bridge.delivery.breaker import Breaker, BreakerState
from bridge.delivery.waits import Waits

__all__ = ["Gate"]


class Gate:
    """The breaker of one sink, for the tasks of one session.

    The probe is the head that was tried least: after a failed probe another lane is asked, and one object
    that the destination always answers with an error holds up the others for one wait at most.
    """

    def __init__(self, breaker: Breaker, waits: Waits) -> None:
        breaker.abandon()
        self._breaker = breaker
        self._waits = waits
        self._numbers = count()
        self._waiting: set[tuple[int, int]] = set()
        self._changed = trio.Event()

    async def enter(self, tries: int = 0) -> int:
        """The ticket of a call that begins now; `tries` is how often it was tried in vain.

        Raises:
            Quit: nothing new may begin.
        """
        self._waits.check()
        breaker = self._breaker
        if breaker.state is not BreakerState.CLOSED:
            await self._wait(tries)
        ticket = breaker.begin(trio.current_time())
        return ticket if ticket is not None else await self.enter(tries)

    async def _wait(self, tries: int) -> None:
        """Until everybody may go, or this one as the probe."""
        breaker, me = self._breaker, (tries, next(self._numbers))
        self._waiting.add(me)
        self._pulse()
        try:
            while breaker.state is not BreakerState.CLOSED:
                first = breaker.state is BreakerState.OPEN and me == min(self._waiting)
                if first and trio.current_time() >= breaker.ready_at:
                    return
                with self._waits.idle(breaker.ready_at if first else math.inf):
                    await self._changed.wait()
        finally:
            self._waiting.discard(me)
            self._pulse()

    def succeeded(self, ticket: int) -> None:
        """See `Breaker.succeeded`."""
        closed = self._breaker.state is BreakerState.CLOSED
        self._breaker.succeeded(ticket)
        if not closed:
            self._pulse()

    def failed(self, ticket: int, lane: int, retry_after: float | None) -> bool:
        """See `Breaker.failed`."""
        paced = self._breaker.failed(ticket, trio.current_time(), lane=lane, retry_after=retry_after)
        self._pulse()
        return paced

    def forgo(self) -> None:
        """The call that was let in will not begin: if it was the probe, another one may be."""
        self._breaker.abandon()
        self._pulse()

    def hurry(self) -> None:
        """Do not wait for the rest of the pause."""
        self._breaker.hurry(trio.current_time())
        self._pulse()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
