"""Moves a watch through its table, sets the pace and tells the phases. No I/O here."""

from typing import Final

from bridge.changes.change import Cause
from bridge.errors import InvariantError
from bridge.kubernetes.backoff import Backoff, Random, slow_backoff
from bridge.kubernetes.diagnosis import Diagnosis
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Doing, Report, Tally
from bridge.kubernetes.transitions import TABLE, Pace, Signal, State

__all__ = ["Control"]

_SOON: Final = 0.2
_LONG_BUSY: Final = 180.0
_SUCCESSES: Final = {Signal.OPENED, Signal.PAGED, Signal.LISTED}
_DECLARED: Final = {
    Signal.FORBIDDEN: Phase.FORBIDDEN,
    Signal.ABSENT: Phase.ABSENT,
    Signal.UNSUPPORTED: Phase.REFUSED,
}


class Control:
    """Where a watch is, when it may go on, and what was not yet told.

    Args:
        random: source of jitter.
        cause: why the first listing is made, if one is.

    Attributes:
        state: where it is.
        due: not before this moment may the next request be made.
        cause: why the listing that is due, or under way, is made.
        tally: what happened so far.
    """

    def __init__(self, random: Random, cause: Cause) -> None:
        self.state = State.START
        self.due = float("-inf")
        self.cause = cause
        self.tally = Tally()
        self._random = random
        self._backoff = Backoff(random)
        self._slow = slow_backoff(random)
        self._failed = False
        self._busy_since: float | None = None
        self._doing: Doing | None = None
        self._reports: list[Report] = []

    def allows(self, signal: Signal) -> bool:
        """Whether this signal can happen now."""
        return signal in TABLE[self.state]

    def signal(self, signal: Signal, now: float, why: Diagnosis | None = None) -> None:
        """Move on.

        Raises:
            InvariantError: the table knows no such move; the engine is wrong and must not guess.
        """
        move = TABLE[self.state].get(signal)
        if move is None:
            raise InvariantError(f"a watch that is {self.state} was told {signal}, which cannot happen there")
        self.tally.signals[signal] = self.tally.signals.get(signal, 0) + 1
        self.state = move.state
        if move.cause is not None:
            self.cause = move.cause
        self.due = now + self._pause(move.pace, now, why.retry_after if why else None)
        if signal in _SUCCESSES:
            self._busy_since = None
        if move.pace in {Pace.BACKOFF, Pace.SLOWLY}:
            self._failed = True
            self.say(*self._explain(signal, now, why))

    def progressed(self) -> None:
        """Something worked: the next failure is a new one."""
        if self._failed:
            self._failed = False
            self._backoff.reset()
            self._slow.reset()

    def tell(self, report: Report) -> None:
        """Have something handed on."""
        self._reports.append(report)

    def say(self, phase: Phase, reason: str = "") -> None:
        """Tell the phase, unless it is told already."""
        doing = Doing(phase, reason)
        if doing != self._doing:
            self._doing = doing
            self._reports.append(doing)

    @property
    def troubled(self) -> bool:
        """Whether what was told last is a failure; a mere attempt to mend it is no news."""
        phase = self._doing.phase if self._doing else Phase.CONNECTING
        return phase in {Phase.BACKOFF, Phase.FORBIDDEN, Phase.ABSENT, Phase.REFUSED}

    def reports(self) -> list[Report]:
        """What there is to tell since the last call, in order."""
        reports, self._reports = self._reports, []
        return reports

    def _pause(self, pace: Pace, now: float, at_least: float | None) -> float:
        match pace:
            case Pace.NOW:
                return 0.0
            case Pace.SOON:
                return self._random.random() * _SOON
            case Pace.BACKOFF:
                return self._backoff.delay(now, at_least)
            case Pace.SLOWLY:
                return self._slow.delay(now, at_least)

    def _explain(self, signal: Signal, now: float, why: Diagnosis | None) -> tuple[Phase, str]:
        reason = why.reason if why else f"the watch met {signal}"
        if signal is Signal.BUSY:
            # A dead conversion webhook answers 429 for ever (real-apiserver 6.6): its message must come out.
            since = self._busy_since = now if self._busy_since is None else self._busy_since
            if now - since >= _LONG_BUSY:
                reason = f"for more than {_LONG_BUSY / 60:.0f} minutes: {reason}"
        return _DECLARED.get(signal, Phase.BACKOFF), reason
