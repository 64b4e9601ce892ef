"""How long to wait before asking again. No I/O here: time and randomness are passed in."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

__all__ = ["LONGEST_RETRY_AFTER", "Backoff", "Random", "retry_after", "slow_backoff"]

LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds; a server that asks for more is asked again all the same [I3]."""


class Random(Protocol):
    """The part of `random.Random` that is used."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


class Backoff:
    """Exponential delays with jitter; the numbers of client-go's reflector [I1].

    Args:
        random: source of jitter.
        initial: first delay in seconds, before jitter.
        cap: longest delay before jitter.
        jitter: each delay d becomes a number in [d, d + d * jitter).
        reset_after: seconds without a failure after which the delays start anew.
    """

    def __init__(
        self,
        random: Random,
        *,
        initial: float = 0.8,
        cap: float = 30.0,
        jitter: float = 1.0,
        reset_after: float = 120.0,
    ) -> None:
        self._random = random
        self._initial = initial
        self._cap = cap
        self._jitter = jitter
        self._reset_after = reset_after
        self._next = initial
        self._until: float | None = None

    def delay(self, now: float, at_least: float | None = None) -> float:
        """Seconds to wait after a failure at `now`; `at_least` is what the server asked for."""
        if self._until is not None and now - self._until >= self._reset_after:
            self._next = self._initial
        delay = self._next * (1 + self._random.random() * self._jitter)
        self._next = min(self._next * 2, self._cap)
        if at_least is not None:
            wanted = min(at_least, LONGEST_RETRY_AFTER)
            delay = max(delay, wanted * (1 + self._random.random() / 10))
        self._until = now + delay
        return delay

    def reset(self) -> None:
        """Something worked: the next failure is a new one."""
        self._next = self._initial
        self._until = None


def slow_backoff(random: Random) -> Backoff:
    """For what only a person can mend (403, 404, a wrong selector): 5 s to 2 min [I6]."""
    return Backoff(random, initial=5.0, cap=120.0, jitter=0.2, reset_after=600.0)


def retry_after(headers: Mapping[str, str], details: float | None) -> float | None:
    """Seconds that an answer asks to wait, or None; never negative.

    A date is held against the `Date` of the same answer: our clock may differ from the server's [E12].

    Args:
        headers: of the answer, names in lower case.
        details: `details.retryAfterSeconds` of its Status, or None.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        asked: float | None = float(text[:9])
    else:
        until, sent = _date(text), _date(headers.get("date", ""))
        asked = max(0.0, (until - sent).total_seconds()) if until and sent else None
    if asked is None or details is None:
        return asked if details is None else details
    return max(asked, details)


def _date(text: str) -> datetime | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - a start must not pay for what is rare

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else None
