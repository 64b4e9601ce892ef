"""A rate limit that tasks, and sinks, wait for in turn."""

import trio

from bridge.delivery.rates import Buckets, Rates

__all__ = ["Throttle"]


class Throttle:
    """One rate limit; whoever shares it is served in the order of asking."""

    def __init__(self, rates: Rates) -> None:
        self._buckets = Buckets(rates)
        self._turn = trio.StrictFIFOLock()

    async def acquire(self, records: int, size: int) -> None:
        """Return when one request of so many records and bytes may go. Cancellation takes nothing."""
        async with self._turn:
            wait = self._buckets.wait(trio.current_time(), records, size)
            if wait > 0:
                await trio.sleep(wait)
            self._buckets.take(trio.current_time(), records, size)
