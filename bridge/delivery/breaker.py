"""Whether a sink may be called now: a circuit breaker over all calls of it. No I/O here, and no clock.

```
CLOSED --several failures, nothing succeeded in between, or the destination asked to wait--> OPEN
OPEN --the wait is over--> PROBING: one call, which belongs to another lane than the last one where it can
PROBING --it failed--> OPEN, for longer          PROBING --it succeeded--> CLOSED
```
"""

from enum import StrEnum

from bridge.delivery.pacing import Backoff

__all__ = ["Breaker", "BreakerState"]


class BreakerState(StrEnum):
    """What the breaker lets through."""

    CLOSED = "closed"  # every call
    OPEN = "open"  # none before `ready_at`, then one
    PROBING = "halfOpen"  # none: one is on its way


class Breaker:
    """The breaker of one sink.

    A call gets a ticket when it begins. What began before the breaker opened tells nothing new when it
    fails: sixteen calls that fail together are one failure of the sink, not sixteen.

    Attributes:
        state: what it lets through.
        ready_at: when it is open: when the next call may begin.
    """

    __slots__ = (
        "_asked",
        "_backoff",
        "_era",
        "_failures",
        "_lanes",
        "_limit",
        "_limit_lanes",
        "ready_at",
        "state",
    )

    def __init__(self, backoff: Backoff, *, failures: int = 1, lanes: int = 1) -> None:
        """Closed at first.

        Args:
            backoff: how long it stays open.
            failures: so many without a success in between open it...
            lanes: ...if they are of so many lanes: one object that is always refused is no outage, and its
                lane paces itself.
        """
        self.state = BreakerState.CLOSED
        self.ready_at = float("-inf")
        self._backoff = backoff
        self._limit = failures
        self._limit_lanes = lanes
        self._failures = 0
        self._lanes: set[int] = set()
        self._era = 0
        self._asked = False

    def begin(self, now: float) -> int | None:
        """The ticket of a call that begins now, or None when none may."""
        if self.state is BreakerState.PROBING or (self.state is BreakerState.OPEN and now < self.ready_at):
            return None
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.PROBING
        return self._era

    def succeeded(self, ticket: int) -> None:
        """The destination answered. What it was asked before it wanted a pause does not end the pause."""
        if ticket == self._era or not self._asked:
            self.close()

    def failed(self, ticket: int, now: float, *, lane: int = 0, retry_after: float | None = None) -> bool:
        """A call failed.

        Args:
            ticket: of the call.
            now: the time.
            lane: whose call it was.
            retry_after: seconds that the destination asked to wait; the whole sink waits.

        Returns:
            Whether the breaker lets through as before, so that the lane must pace itself.
        """
        asked = self._backoff.granted(retry_after)
        if ticket != self._era:
            if asked and self.state is not BreakerState.CLOSED:
                self._asked = True
                self.ready_at = max(self.ready_at, now + asked)
                return False
            if not asked:
                return self.state is BreakerState.CLOSED
        self._failures += 1
        self._lanes.add(lane)
        enough = self._failures >= self._limit and len(self._lanes) >= self._limit_lanes
        if self.state is BreakerState.CLOSED and not (enough or asked):
            return True
        self.trip(now, retry_after)
        return False

    def trip(self, now: float, retry_after: float | None = None) -> None:
        """The sink as a whole failed: open, for longer each time until something succeeds."""
        self._era += 1
        self.state = BreakerState.OPEN
        self._asked = bool(self._backoff.granted(retry_after))
        self.ready_at = now + self._backoff.next(retry_after)

    def abandon(self) -> None:
        """No call is on its way any more: a probe that was cut off told nothing."""
        if self.state is BreakerState.PROBING:
            self.state = BreakerState.OPEN

    def hurry(self, now: float) -> None:
        """Do not wait for the rest of the pause."""
        self.ready_at = min(self.ready_at, now)

    def close(self) -> None:
        """Let everything through."""
        if self.state is not BreakerState.CLOSED:
            # Calls from before are of another era now: their failures count again only in the next one.
            self._era += 1
        self.state = BreakerState.CLOSED
        self._asked = False
        self._failures = 0
        self._lanes.clear()
        self._backoff.reset()
