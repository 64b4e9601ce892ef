"""How long to wait before trying again. No I/O here."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff", "Retry"]

_LARGEST_EXPONENT = 40


@dataclass(frozen=True, slots=True)
class Retry:
    """The `retry:` of a sink, in seconds.

    Attributes:
        initial: upper end of the first wait.
        max: upper end of every wait that the destination did not ask for.
        max_retry_after: most that a destination may ask for; 0 ignores what it asks.
    """

    initial: float = 0.5
    max: float = 30.0
    max_retry_after: float = 600.0


class Backoff:
    """Exponential backoff with full jitter: uniform between 0 and the doubled limit, without an end.

    Full jitter spreads best: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    __slots__ = ("_random", "_retry", "attempts")

    def __init__(self, retry: Retry, random: Callable[[], float]) -> None:
        self._retry = retry
        self._random = random
        self.attempts = 0

    def next(self, retry_after: float | None = None) -> float:
        """Seconds to wait now; what the destination asked for is the least, up to `max_retry_after`."""
        limit = min(self._retry.max, self._retry.initial * 2.0 ** min(self.attempts, _LARGEST_EXPONENT))
        self.attempts += 1
        return max(self._random() * limit, self.granted(retry_after))

    def granted(self, retry_after: float | None) -> float:
        """Seconds of what the destination asked for that it gets; 0 when it asked for nothing."""
        return max(min(retry_after or 0.0, self._retry.max_retry_after), 0.0)

    def reset(self) -> None:
        """Something worked: the next wait is a first one."""
        self.attempts = 0
