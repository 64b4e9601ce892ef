"""Waits that a pause of the sink, or the drain, may cut short; a call that is in flight never is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio

__all__ = ["Quit", "Waits"]


class Quit(Exception):
    """The sink shall rest: nothing new begins, what is in flight ends by itself."""


class Waits:
    """The waits of one session.

    Attributes:
        quitting: nothing new may begin.
        hurried: the bridge drains: nothing waits in order to be sent together.
    """

    def __init__(self, *, hurried: bool = False) -> None:
        self.quitting = False
        self.hurried = hurried
        self._scopes: set[trio.CancelScope] = set()
        self._impatient: set[trio.CancelScope] = set()

    def check(self) -> None:
        """Raise `Quit` if nothing new may begin."""
        if self.quitting:
            raise Quit

    def quit(self) -> None:
        """End all waits, and those that begin later, with `Quit`."""
        self.quitting = True
        for scope in self._scopes:
            scope.cancel()

    def hurry(self) -> None:
        """End the impatient waits of this moment."""
        self.hurried = True
        for scope in self._impatient:
            scope.cancel()

    @contextmanager
    def idle(self, deadline: float = math.inf, *, impatient: bool = False) -> Iterator[None]:
        """Wait for something within this block; it ends at the deadline without an error.

        Args:
            deadline: in `trio.current_time()`.
            impatient: `hurry` ends it too.

        Raises:
            Quit: nothing new may begin.
        """
        self.check()
        with trio.CancelScope(deadline=deadline) as scope:
            self._scopes.add(scope)
            if impatient:
                self._impatient.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
                self._impatient.discard(scope)
        self.check()

    async def pause(self, seconds: float) -> None:
        """Sleep, unless `hurry` or `quit` ends it; raises as `idle`."""
        with self.idle(trio.current_time() + seconds, impatient=True):
            await trio.sleep_forever()
