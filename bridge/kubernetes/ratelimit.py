"""How many requests we make: a token bucket, shared by all streams of one cluster."""

import trio

__all__ = ["RateLimiter"]


class RateLimiter:
    """At most `burst` requests at once and `qps` a second in the long run, in the order of asking.

    Watches are not counted ([B21]): a resumed watch that waits behind lists would fall into a relist itself.
    """

    def __init__(self, qps: float = 20.0, burst: int = 40) -> None:
        self._interval = 1.0 / qps
        self._slack = (burst - 1) * self._interval
        self._due = -float("inf")

    async def acquire(self) -> None:
        """Wait for a turn; cancelled, the turn goes back."""
        now = trio.current_time()
        self._due = max(self._due + self._interval, now - self._slack)
        wait = self._due - now
        if wait <= 0:
            return
        try:
            await trio.sleep(wait)
        except trio.Cancelled:
            self._due -= self._interval
            raise
