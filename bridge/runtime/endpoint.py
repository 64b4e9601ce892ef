"""The read-only HTTP endpoint of a running bridge: what it shows, and from where."""

import trio

from bridge import __version__
from bridge.config import Listen
from bridge.errors import UsageError
from bridge.logs import log
from bridge.operations.http import serve
from bridge.operations.metrics import Metrics
from bridge.operations.probes import pages
from bridge.runtime.health import Health
from bridge.runtime.outlets import Outlets
from bridge.store.contract import Log

__all__ = ["Endpoint"]


class Endpoint:
    """/metrics, /livez and /readyz.

    Args:
        records: the log.
        health: the streams.
        outlets: the sinks.
    """

    def __init__(self, records: Log, health: Health, outlets: Outlets) -> None:
        metrics = Metrics(
            __version__,
            streams=health.streams.values,
            sinks=lambda: outlets.stats,
            log=records.stats,
            lag=records.lag,
            letters=records.letter_counts,
        )
        self._pages = pages(livez=health.livez, readyz=health.readyz, metrics=metrics.render)

    async def serve(
        self, listen: Listen, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled.

        Raises:
            UsageError: the address cannot be listened on.
        """
        try:
            async with trio.open_nursery() as nursery:
                port = await nursery.start(serve, listen.host, listen.port, self._pages)
                log("info", "serving /metrics, /livez and /readyz", host=listen.host or None, port=port)
                task_status.started()
        except* OSError as errors:
            why = errors.exceptions[0]
            raise UsageError(f"cannot listen on {listen}: {why}; change http.listen") from None
