"""When the log will be full if it goes on as in the last minutes. No I/O here, and no clock."""

import math
from collections import deque

__all__ = ["Projection"]


class Projection:
    """A line through the oldest and the newest of the sizes that were seen within a span of time."""

    def __init__(self, span: float = 600.0) -> None:
        """Nothing was seen yet.

        Args:
            span: seconds that are looked back.
        """
        self._span = span
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, now: float, size: int) -> None:
        """It has this size now."""
        self._seen.append((now, size))
        while self._seen[0][0] < now - self._span:
            self._seen.popleft()

    def seconds_until(self, limit: int) -> float:
        """Seconds until it has this size; infinite while it does not grow, or has been seen once only."""
        if not self._seen:
            return math.inf
        (since, before), (now, size) = self._seen[0], self._seen[-1]
        if size >= limit:
            return 0.0
        if now <= since or size <= before:
            return math.inf
        return (limit - size) * (now - since) / (size - before)
