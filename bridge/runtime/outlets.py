"""The configured sinks and their workers."""

import hashlib

import trio

from bridge.changes.envelope import Bridge, Format
from bridge.config import Config, SinkConfig
from bridge.delivery.handout import Selection
from bridge.delivery.pacing import Retry
from bridge.delivery.sink import Resume
from bridge.delivery.stats import SinkStats
from bridge.delivery.worker import Plan, Worker
from bridge.logs import log
from bridge.store.contract import Log

__all__ = ["Outlets"]


class Outlets:
    """All sinks of one bridge, each with its own cursor and pace.

    Args:
        config: which sinks, and what streams let out.
        records: the log that they read.
    """

    def __init__(self, config: Config, records: Log) -> None:
        self._config = config
        self._log = records
        self._workers: list[Worker] = []

    @property
    def stats(self) -> list[SinkStats]:
        """One for each sink that is open."""
        return [worker.stats for worker in self._workers]

    async def open(self, bridge: Bridge, nursery: trio.Nursery) -> None:
        """Attach each sink to the log and start its worker; from then on it holds back trimming.

        Raises:
            StateError: a cursor is not from this log.
        """
        types = {stream.name: stream.types for stream in self._config.streams}
        identity = self._log.identity
        for sink in self._config.sinks:
            position = (await self._log.open_sink(sink.name, _fingerprint(sink))).position
            plan = Plan(
                sink.name,
                bridge,
                Selection(sink.streams, sink.types, types),
                Format(sink.format),
                Retry(sink.retry.initial, sink.retry.max),
            )
            resume = Resume(identity.log_id, identity.incarnation, position)
            self._workers.append(Worker(plan, sink.options, self._log, resume))
        await self._log.detach_sinks([sink.name for sink in self._config.sinks])
        for worker in self._workers:
            nursery.start_soon(worker.run)

    async def drain(self, deadline: float) -> None:
        """Deliver everything that is in the log, all sinks at once, until `deadline` (trio time)."""
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(worker.drain, deadline)

    def tell_rest(self) -> None:
        """Say which sinks were left behind; their records are in the log and come after the next start."""
        for stats in self.stats:
            behind = self._log.end() - stats.position
            if behind > 0:
                log("warning", "not drained; delivered after the next start", sink=stats.name, records=behind)


def _fingerprint(sink: SinkConfig) -> str:
    """Which destination a cursor belongs to: another one is a new sink (its options' repr hides secrets)."""
    return hashlib.sha256(f"{sink.type}\0{sink.options!r}".encode()).hexdigest()[:32]
