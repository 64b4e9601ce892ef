"""The configured sinks and their workers."""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

import trio

from bridge.changes.change import Cause, StreamInfo
from bridge.changes.envelope import Bridge
from bridge.config import Config, SinkConfig
from bridge.delivery.plan import Hooks, Plan, place_of
from bridge.delivery.sink import Reopened, Resume
from bridge.delivery.stats import SinkState, SinkStats
from bridge.delivery.worker import Worker
from bridge.errors import Refused, UsageError
from bridge.logs import log
from bridge.runtime.plans import watches_of
from bridge.runtime.sinkplans import SinkPlans
from bridge.store.contract import Log, OpenedSink

__all__ = ["DRAIN_SECONDS", "Outlets", "Owe"]

DRAIN_SECONDS: Final = 25.0
"""How long sinks have to end what they are at: below the 30 s that Kubernetes grants a pod by default."""
_AGAIN_SECONDS: Final = 5.0

Owe: TypeAlias = Callable[[SinkConfig, Cause, Collection[str] | None], Awaitable[None]]
"""Has a sink owed a snapshot of all that it wants, or of some streams only, durably."""


class Outlets:
    """All sinks of one bridge, each with its own cursor and pace.

    Args:
        config: which sinks, and what streams let out.
        records: the log that they read.
        owe: called for a sink that has missed something for good.

    Attributes:
        bridge: whose records they are handed; None before `open`.
    """

    def __init__(self, config: Config, records: Log, owe: Owe) -> None:
        self.bridge: Bridge | None = None
        self._config = config
        self._sinks = {sink.name: sink for sink in config.sinks}
        self._log = records
        self._owe = owe
        self._workers: dict[str, Worker] = {}
        self._released: set[str] = set()
        self._returning = trio.Lock()
        self._streams: dict[str, StreamInfo] = {}

    @property
    def stats(self) -> list[SinkStats]:
        """One for each sink that is open."""
        return [worker.stats for worker in self._workers.values()]

    @property
    def workers(self) -> Mapping[str, Worker]:
        """Those of the sinks that hold back the log, by name."""
        return {name: worker for name, worker in self._workers.items() if name not in self._released}

    def learn(self, stream: StreamInfo) -> None:
        """The API server has told what a configured stream is; sinks that are opened later know it."""
        self._streams[stream.name] = stream

    async def open(self, bridge: Bridge, nursery: trio.Nursery) -> None:
        """Attach each sink to the log and start its worker; from then on it holds back trimming.

        Raises:
            StateError: a cursor is not from this log.
        """
        plans = SinkPlans(self._config)
        later: list[SinkConfig] = []
        for sink in self._config.sinks:
            try:
                self._employ(sink, plans.plan(sink, bridge), await self._attach(sink))
            except Refused as error:
                log("error", "sink cannot be opened yet; the others go on", sink=sink.name, reason=str(error))
                later.append(sink)
        await self._log.detach_sinks(list(self._sinks))
        self.bridge = bridge
        for worker in self._workers.values():
            nursery.start_soon(worker.run)
        for sink in later:
            nursery.start_soon(self._open_later, sink, plans.plan(sink, bridge))

    async def _open_later(self, sink: SinkConfig, plan: Plan) -> None:
        """A backlog that was being dropped finds no room yet: the other sinks may make some."""
        opened: OpenedSink | None = None
        while opened is None:
            await trio.sleep(_AGAIN_SECONDS)
            with suppress(Refused):
                opened = await self._attach(sink)
        log("info", "sink is opened", sink=sink.name)
        await self._employ(sink, plan, opened).run()

    def _employ(self, sink: SinkConfig, plan: Plan, opened: OpenedSink) -> Worker:
        identity = self._log.identity
        hooks = Hooks(
            letters=self._log if sink.on_reject == "deadLetter" else None,
            streams=lambda: list(self._streams.values()),
            on_state_loss=self._lost_state,
        )
        resume = Resume(identity.log_id, identity.incarnation, opened.position)
        worker = self._workers[sink.name] = Worker(
            plan, sink.options, self._log, resume, hooks=hooks, fresh=opened.fresh
        )
        return worker

    async def pause(self, name: str) -> SinkStats:
        """Hand a sink nothing until `resume`; what is in flight has as long as in a drain to end.

        Raises:
            UsageError: it is not open yet.
        """
        worker = self._worker(name)
        await worker.pause(trio.current_time() + DRAIN_SECONDS)
        return worker.stats

    async def resume(self, name: str) -> SinkState:
        """Have a sink go on that is paused, parked or halted. One that was released begins as a new one.

        Returns:
            What it did until now: it may have had no reason to be resumed.

        Raises:
            UsageError: it is not open yet.
        """
        worker = self._worker(name)
        async with self._returning:  # two persons who resume it must not have it begin twice
            if name in self._released:
                await worker.skip_to((await self._attach(self._sinks[name])).position)
                self._released.discard(name)
        return worker.resume()

    async def release(self, name: str, reason: str) -> None:
        """Park a sink, loudly, and let the log go on without it."""
        worker = self._workers[name]

        async def leave() -> int:
            # What is still in flight moves no cursor, so nobody acknowledges what nobody keeps any more.
            worker.park(reason)
            self._released.add(name)
            await self._log.release_sink(name)
            return worker.stats.position

        await worker.drop(leave)

    async def reopen(self) -> None:
        """Have sinks take up anew what was put aside under their feet, as log files are; all at once."""
        async with trio.open_nursery() as nursery:
            for sink in self._config.sinks:
                if isinstance(sink.options, Reopened):
                    nursery.start_soon(_reopen, sink.name, sink.options)

    def hurry(self) -> None:
        """The end is near: no sink waits for anything but its destination any more."""
        for worker in self._workers.values():
            worker.hurry()

    async def drain(self, deadline: float) -> None:
        """Deliver everything that is in the log, all sinks at once, until `deadline` (trio time)."""
        async with trio.open_nursery() as nursery:
            for worker in self._workers.values():
                nursery.start_soon(worker.drain, deadline)

    def tell_rest(self) -> None:
        """Say which sinks were left behind; their records are in the log and come after the next start."""
        for stats in self.stats:
            behind = self._log.lag(stats.position).records
            if behind > 0:
                log("warning", "not drained; delivered after the next start", sink=stats.name, records=behind)

    async def _attach(self, sink: SinkConfig) -> OpenedSink:
        """Where it goes on; what it missed for good is owed to it before anything is handed over."""
        takes = list(watches_of(self._config, sink))
        leaves_out = [stream.name for stream in self._config.streams if stream.name not in takes]
        skips = [stream.name for stream in self._config.streams if stream.initial == "skip"]
        opened = await self._log.open_sink(sink.name, _fingerprint(sink), takes, leaves_out, skips)
        if opened.fresh:
            await self._owe(sink, Cause.STATE_LOST if opened.lost else Cause.FIRST_START, None)
        elif opened.missed:
            await self._owe(sink, Cause.FIRST_START, opened.missed)
        if opened.lost:
            event = "the log went on without this sink: it gets a snapshot, not the deletions that it missed"
            log("warning", event, sink=sink.name)
        return opened

    async def _lost_state(self, name: str, streams: Collection[str] | None) -> None:
        await self._owe(self._sinks[name], Cause.STATE_LOST, streams)

    def _worker(self, name: str) -> Worker:
        try:
            return self._workers[name]
        except KeyError:
            raise UsageError(f"the sink {name} is not open yet: the cluster was not reached") from None


async def _reopen(name: str, sink: Reopened) -> None:
    try:
        await sink.reopen()
    except Exception as error:  # noqa: BLE001 - whatever a sink throws is its own failure domain
        log("error", "a sink failed to open its files anew", sink=name, error=repr(error))


def _fingerprint(sink: SinkConfig) -> str:
    """Which destination a cursor belongs to: another one is a new sink."""
    return hashlib.sha256(f"{sink.type}\0{place_of(sink.options)}".encode()).hexdigest()[:32]
