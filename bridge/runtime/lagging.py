"""Which sinks hold back the log, with what, and who of them must be dealt with. No I/O here, and no clock."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Lagging", "Leftovers", "Patience", "holders"]

_AS_MUCH: Final = 0.9
"""Of what the worst sink holds back: who holds that much is dealt with together with it."""
_WORTH: Final = 4 << 20
"""Bytes that a sink must hold back so that dealing with it is worth it when the log is full."""
_FREED: Final = 1 / 16
"""A drop writes what it leaves once more: it must free this part of what its sink holds back."""
_MOVING_SECONDS: Final = 2.0
"""A sink that took nothing for that long does not move."""
_GRACE_SECONDS: Final = 10.0
"""How long a sink that moves may be over its limit; meanwhile intake may wait for it."""


@dataclass(frozen=True, slots=True)
class Lagging:
    """How far a sink is behind.

    Attributes:
        name: of the sink.
        bytes: what the log keeps behind it, but for what earlier drops have left to other sinks.
        limit: what it may be at most.
        kept: of those bytes, what an earlier drop has left to it: identities of deletions.
    """

    name: str
    bytes: int
    limit: int
    kept: int = 0

    @property
    def droppable(self) -> int:
        """What a drop would free, where that is worth what it costs; else 0."""
        free = self.bytes - self.kept
        return free if free >= self.bytes * _FREED else 0


class Leftovers:
    """What drops have left to each sink: it stands in the log behind the others too, and no drop frees it.

    Args:
        behind: bytes that the log keeps behind a position.
    """

    def __init__(self, behind: Callable[[int], int]) -> None:
        self._behind = behind
        self._through: dict[str, int] = {}

    def dropped(self, name: str, end: int) -> None:
        """The backlog of a sink was dropped; what it is left with ends at `end`."""
        self._through[name] = end

    def forget(self, name: str) -> None:
        """The log goes on without this sink."""
        self._through.pop(name, None)

    def lagging(self, positions: Mapping[str, int], limits: Mapping[str, int]) -> list[Lagging]:
        """How far all sinks are behind, from where each one is and what it may lag by."""
        found = []
        for name, position in positions.items():
            others = sum(
                self._left(other, max(position, at)) for other, at in positions.items() if other != name
            )
            size = max(self._behind(position) - others, 0)
            found.append(Lagging(name, size, limits[name], min(self._left(name, position), size)))
        return found

    def _left(self, name: str, position: int) -> int:
        """Bytes behind a position that are left to a sink."""
        through = self._through.get(name, position)
        return self._behind(position) - self._behind(through) if position < through else 0


def holders(sinks: Collection[Lagging], *, full: bool) -> list[str]:
    """The sinks that must be dealt with now, the one that lags most first.

    Where the log is full, and mostly of what no drop frees, that is the one that holds most of it: its
    deletions find no room any more.

    Args:
        sinks: all that hold back the log.
        full: nothing can be appended now.
    """
    worst = sorted(sinks, key=lambda sink: sink.droppable, reverse=True)
    over = [sink.name for sink in worst if sink.bytes >= sink.limit and sink.droppable]
    if over or not full or not worst:
        return over
    if worst[0].droppable >= _WORTH:
        # They share what is kept: to deal with one alone would free nothing.
        return [sink.name for sink in worst if sink.droppable >= _AS_MUCH * worst[0].droppable]
    most = max(worst, key=lambda sink: sink.kept)
    mostly = 2 * sum(sink.kept for sink in worst) >= max(sink.limit for sink in worst)
    return [most.name] if mostly and most.kept >= _WORTH else []


class Patience:
    """Tells a sink that catches up from one that does not."""

    def __init__(self) -> None:
        self._moved: dict[str, tuple[int, float]] = {}
        self._pressing: dict[str, float] = {}

    def moved(self, name: str, position: int, now: float) -> None:
        """Where a sink is now."""
        if self._moved.get(name, (position - 1, now))[0] != position:
            self._moved[name] = (position, now)

    def spent(self, pressing: Sequence[str], now: float) -> list[str]:
        """Of the sinks that are over their limit now, those that nobody waits for any longer."""
        self._pressing = {name: self._pressing.get(name, now) for name in pressing}
        return [
            name
            for name in pressing
            if now - self._moved.get(name, (0, now))[1] > _MOVING_SECONDS
            or now - self._pressing[name] > _GRACE_SECONDS
        ]
