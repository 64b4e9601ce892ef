"""The tasks of one session of a sink: none of them raises into another, and the worst error is told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from bridge.delivery.handover import Halted
from bridge.delivery.sink import Rejected, Reopen, Stopped, Unavailable
from bridge.delivery.waits import Quit, Waits
from bridge.errors import BridgeError
from bridge.secret import SecretError

__all__ = ["Crew", "fatal"]

_GENTLE = (Quit, Halted, Stopped)


class Crew:
    """Tasks that end together: gently when the sink shall rest, at once after any other error."""

    def __init__(self, nursery: trio.Nursery, waits: Waits) -> None:
        self._nursery = nursery
        self._waits = waits
        self._errors: list[Exception] = []

    @classmethod
    @asynccontextmanager
    async def assemble(cls, waits: Waits) -> AsyncIterator["Crew"]:
        """A crew for the block; leaving it waits for all of them, and raises their worst error."""
        async with trio.open_nursery() as nursery:
            crew = cls(nursery, waits)
            yield crew
        if crew._errors:
            raise max(crew._errors, key=_severity)

    def start(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Start a task."""
        self._nursery.start_soon(self._guard, work, arguments)

    async def _guard(self, work: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        try:
            await work(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever a sink throws is told by `assemble`
            self._errors.append(error)
            if isinstance(error, _GENTLE):
                self._waits.quit()
            else:
                self._nursery.cancel_scope.cancel()


def _severity(error: Exception) -> int:
    if fatal(error) is not None:
        return len(_GENTLE) + 1
    return next((rank for rank, kind in enumerate(_GENTLE) if isinstance(error, kind)), len(_GENTLE))


def fatal(error: BaseException) -> BridgeError | None:
    """The error in here that is meant to leave the sink, also from within the groups that nurseries make."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := fatal(inner))), None)
    own = (Unavailable, Rejected, Reopen, Stopped, SecretError)  # a secret may be in the middle of a rotation
    return error if isinstance(error, BridgeError) and not isinstance(error, own) else None
