"""What is told of a sink in trouble: its state, counters, and a line when it begins, goes on and ends."""

import traceback
from collections.abc import Mapping

import trio

from bridge.delivery.stats import SinkState, SinkStats
from bridge.errors import BridgeError
from bridge.logs import Incidents, Logger

__all__ = ["REASONS_LOGGED", "Trouble"]

REASONS_LOGGED = 3
_FRAMES_LOGGED = 4
_WHOLE_SINK = -1


class Trouble:
    """The trouble of one sink, over all its sessions."""

    def __init__(self, stats: SinkStats, logger: Logger) -> None:
        self._stats = stats
        self._lanes: set[int] = set()
        self._parked = False
        self._incidents = Incidents(logger, clock=trio.current_time)

    def opened(self) -> None:
        """A session begins; what failed before is over with the first delivery that succeeds."""
        self._lanes = {_WHOLE_SINK} if self._lanes else set()
        self._parked = False
        self._stats.state, self._stats.reason = SinkState.DELIVERING, ""

    def failed(self, error: Exception, reason: str, lane: int = _WHOLE_SINK) -> None:
        """A try was in vain."""
        self._lanes.add(lane)
        self._stats.retries[reason] += 1
        if isinstance(error, BridgeError):
            sentence = str(error)
            event = "sink takes no records and is tried again"
            self._incidents.report(
                "trouble", "warning", event, reason, sink=self._stats.name, reason=sentence
            )
        else:
            sentence = f"unexpected {type(error).__name__}, see the log"
            self._incidents.report(
                "trouble",
                "error",
                "sink failed and restarts from its cursor",
                reason,
                sink=self._stats.name,
                error=repr(error),
                at=_place(error),
            )
        if not self._parked:
            self._stats.state, self._stats.reason = SinkState.RETRYING, sentence

    def recovered(self, lane: int) -> None:
        """A try succeeded."""
        if not self._lanes:
            return
        self._lanes -= {lane, _WHOLE_SINK}
        if not self._lanes:
            self._incidents.end("trouble", "sink takes records again", sink=self._stats.name)
            if not self._parked:
                self._stats.state, self._stats.reason = SinkState.DELIVERING, ""

    def refused(self, reasons: Mapping[int, str]) -> None:
        """Records were refused for good and are kept as dead letters."""
        self._stats.rejected += len(reasons)
        self._incidents.report(
            "refused",
            "warning",
            "records were refused for good and are kept as dead letters",
            sink=self._stats.name,
            records=len(reasons),
            reason="; ".join(sorted(set(reasons.values()))[:REASONS_LOGGED]),
        )

    def park(self, reason: str) -> None:
        """There is no room for dead letters."""
        self._parked = True
        self._stats.state, self._stats.reason = SinkState.PARKED, reason
        self._incidents.report(
            "parked",
            "error",
            "sink is parked: no room for another dead letter; purge or redrive some",
            sink=self._stats.name,
            reason=reason,
        )

    def unpark(self) -> None:
        """There is room again."""
        if self._parked:
            self._parked = False
            self._stats.state = SinkState.RETRYING if self._lanes else SinkState.DELIVERING
            self._stats.reason = ""
        self._incidents.end("parked", "sink goes on: there is room for dead letters", sink=self._stats.name)


def _place(error: Exception) -> str:
    """Where an unexpected error came from, the innermost place last."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_LOGGED:]
    return " > ".join(
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in frames
    )
