"""Whether this bridge is alive and ready, for the probes: neither looks at a sink.

Live: the event loop turns and the log's writer answers. Ready: the state is open, has room, and each watch
has been in step with the server once or is in a *declared* wait (the resource is absent, or forbidden).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from bridge.changes.change import StreamInfo
from bridge.kubernetes.observer import Phase
from bridge.logs import Incidents, Level, log
from bridge.operations.stats import StreamStats
from bridge.store.contract import Log

__all__ = ["TROUBLE", "Health"]

_LATE_SECONDS: Final = 30.0
_WAITING: Final = frozenset({Phase.ABSENT.value, Phase.FORBIDDEN.value})
TROUBLE: Final[Mapping[Phase, Level]] = {
    Phase.BACKOFF: "warning",
    Phase.FORBIDDEN: "error",
    Phase.ABSENT: "error",
    Phase.REFUSED: "error",
}
"""What is told of a watch. What only a person can mend is worse than what passes by itself, so it is told
at once also where a lost connection has opened the incident."""


class Health:
    """What each stream does, held for probes and metrics; tells the log about trouble, a line an incident.

    Args:
        records: the log.
        streams: configured names; each must be ready.
    """

    def __init__(self, records: Log, streams: Sequence[str]) -> None:
        self.streams = {name: StreamStats(name) for name in streams}
        self._log = records
        self._beat = time.monotonic()
        self._unreached = ""
        self._incidents = Incidents(log)

    def stats(self, stream: str) -> StreamStats:
        """Counters of a stream."""
        return self.streams[stream]

    def beat(self) -> None:
        """The event loop turns; call it each second."""
        self._beat = time.monotonic()
        self._incidents.tick()

    def unreached(self, reason: str) -> None:
        """The API server does not answer yet."""
        self._unreached = reason

    def absent(self, stream: str, reason: str) -> None:
        """The stream's resource is not there (yet): a declared wait."""
        self._unreached = ""
        self.streams[stream].enter("", Phase.ABSENT.value, reason)

    def notice(self, stream: StreamInfo, scope: str, phase: Phase, reason: str) -> None:
        """A watch does something else (`bridge.runtime.stream.Notice`)."""
        self._unreached = ""
        stats = self.streams[stream.name]
        was_synced = scope in stats.watches and stats.watches[scope].synced
        stats.enter(scope, phase.value, reason)
        key = (stream.name, scope)
        where = {"stream": stream.name, "namespace": scope or None}
        if phase in TROUBLE:
            self._incidents.report(key, TROUBLE[phase], reason or phase.value, phase=phase.value, **where)
        elif phase is Phase.LIVE:
            self._incidents.end(key, "live again", **where)
            if not was_synced:
                log("info", "live", **where)

    def livez(self) -> dict[str, str]:
        """Each check with what is wrong with it, "" for nothing."""
        now = time.monotonic()
        loop = now - self._beat
        writer = self._log.stats().heartbeat_age
        return {
            "loop": f"no turn for {loop:.0f} s" if loop > _LATE_SECONDS else "",
            "log": f"the writer has not answered for {writer:.0f} s" if writer > _LATE_SECONDS else "",
        }

    def readyz(self) -> dict[str, str]:
        """Each check with what is wrong with it, "" for nothing."""
        checks = {"log": self._log.stats().full, "cluster": self._unreached}
        for name, stats in self.streams.items():
            checks[f"stream/{name}"] = _not_ready(stats)
        return checks


def _not_ready(stats: StreamStats) -> str:
    if not stats.watches:
        return "not started"
    for scope, watch in stats.watches.items():
        if not watch.synced and watch.phase not in _WAITING:
            where = f" in namespace {scope}" if scope else ""
            why = f": {watch.reason}" if watch.reason else ""
            return f"{watch.phase}{where}{why}"
    return ""
