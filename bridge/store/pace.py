"""Keeps a sink that keeps up within reach of the memory, by letting intake wait some milliseconds for it.

A record that its sinks own before the next checkpoint never reaches the log's main file, and one that is
still in memory is not read back. At full speed intake would outrun a sink that is hardly slower, and every
record would cost both. Bounded on purpose (promise 6): only for a sink that acknowledges right now and is
not yet out of memory's reach; a slow or dead one falls behind at once and is not waited for again.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Final

import trio

from bridge.store.tail import Tail

__all__ = ["Pace"]

_STEP_SECONDS: Final = 0.001
_STEPS: Final = 20
"""Most steps that one append waits."""
_LIVELY_SECONDS: Final = 0.25
"""A sink that acknowledged nothing for this long is not waited for."""


class Pace:
    """Decides whether an append waits a moment.

    Args:
        tail: the newest batches in memory.
        full_bytes: what the tail may hold.
        acknowledged: the position of each open sink; shared with the log.
    """

    def __init__(self, tail: Tail, full_bytes: int, acknowledged: Mapping[str, int]) -> None:
        self._tail = tail
        self._full_bytes = full_bytes
        self._acknowledged = acknowledged
        self._lively: dict[str, float] = {}

    def acknowledged(self, name: str) -> None:
        """This sink took something just now."""
        self._lively[name] = monotonic()

    async def wait(self, end: int) -> None:
        """Wait while a lively sink lags by a third of what is in memory; `end` is the newest position."""
        for _ in range(_STEPS):
            if not self._outrun(end):
                return
            await trio.sleep(_STEP_SECONDS)

    def _outrun(self, end: int) -> bool:
        start = self._tail.start
        if start is None or self._tail.size * 2 < self._full_bytes:
            return False
        now, late = monotonic(), end - (end - start) // 3
        return any(
            start - 1 <= position < late and now - self._lively.get(name, -1.0) < _LIVELY_SECONDS
            for name, position in self._acknowledged.items()
        )
