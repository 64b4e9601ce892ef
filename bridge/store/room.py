"""Admission by bytes, first come first served: what bounds the memory between a watch and the log."""

from collections import deque
from collections.abc import Callable

import trio

__all__ = ["Room"]


class _Waiter:
    __slots__ = ("admitted", "event", "size")

    def __init__(self, size: int, admitted: Callable[[], None]) -> None:
        self.size = size
        self.admitted = admitted
        self.event = trio.Event()


class Room:
    """So many bytes may be inside at once; one that is larger than that may be inside alone.

    Attributes:
        limit: bytes.
        used: bytes inside now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[_Waiter] = deque()
        self._error: BaseException | None = None

    async def enter(self, size: int, admitted: Callable[[], None] = lambda: None) -> None:
        """Return when there is room and everyone who asked earlier is inside.

        Args:
            size: bytes.
            admitted: called at that moment, in the order of admission; tasks that were let in together
                resume in any order.

        Cancellation leaves nothing inside. Raises what `fail` was given.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._error is not None:
            raise self._error
        if not self._waiting and self._fits(size):
            self.used += size
            admitted()
            return
        waiter = _Waiter(size, admitted)
        self._waiting.append(waiter)
        try:
            await waiter.event.wait()
        except trio.Cancelled:  # never after the event was set: then the task is already on its way
            self._waiting.remove(waiter)
            self._admit()
            raise
        if self._error is not None:
            raise self._error

    def take(self, size: int) -> None:
        """Enter without asking, also where there is no room."""
        self.used += size

    def leave(self, size: int) -> None:
        """Give back bytes; whoever fits now is let in."""
        self.used -= size
        self._admit()

    def fail(self, error: BaseException) -> None:
        """Whoever waits, now or later, gets this error."""
        self._error = error
        while self._waiting:
            self._waiting.popleft().event.set()

    def _fits(self, size: int) -> bool:
        return self.used == 0 or self.used + size <= self.limit

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0].size):
            waiter = self._waiting.popleft()
            self.used += waiter.size
            waiter.admitted()
            waiter.event.set()
