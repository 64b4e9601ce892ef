"""`run`: the tree of nurseries. What starts, in which order, what ends what, and how it drains.

```
serve
|-- log        first: without the lock on the state nothing else may start
|-- http       /livez and /readyz tell the truth from the first second on
|-- control    the socket that commands use
|-- sinks      one worker each; they deliver the backlog also while the API server is away, but for a start
|              after which a stream may have another name: first the API server tells what it is
|-- backlog    looks at who lags, and deals with it
|-- orphans    forgets what is known of streams that are not configured any more, after a week
`-- streams    one task each: resolve (waits for the API server and the resource), then watch
```

SIGTERM or SIGINT: streams end, the log commits what was read, sinks drain until a deadline, exit 0. A
second signal skips the drain; nothing is lost by that, it is delivered after the next start. SIGHUP has
sinks open their files anew.
"""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from bridge.changes.change import Cause
from bridge.changes.envelope import Bridge
from bridge.config import Config, SinkConfig, StreamConfig
from bridge.errors import BridgeError, Refused, StateError, UsageError
from bridge.kubernetes.apiserver import ApiServer, RateLimiter
from bridge.kubernetes.catalog import Catalog
from bridge.kubernetes.discovery import discover, identify_cluster
from bridge.kubernetes.reach import service_connection
from bridge.kubernetes.server_memory import ServerMemory
from bridge.logs import Incidents, configure, log
from bridge.operations.address import SOCKET
from bridge.runtime.backlog import BacklogKeeper, policies
from bridge.runtime.commands import Commands
from bridge.runtime.health import Health
from bridge.runtime.orphans import adopt, forget_orphans, may_adopt, tell_orphans
from bridge.runtime.outlets import DRAIN_SECONDS, Outlets
from bridge.runtime.overlap import Resolved
from bridge.runtime.plans import plan_stream, redaction_key, watches_of
from bridge.runtime.snapshots import SnapshotDesk, snapshot_requests
from bridge.runtime.stream import Cluster, StreamPlan, run_stream
from bridge.store.log import SqliteLog

__all__ = ["serve"]

_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between tries to reach the API server or to find a resource; the last one repeats."""

_T = TypeVar("_T")


async def serve(config: Config) -> int:
    """Run until a signal; returns the exit code 0.

    Raises:
        UsageError: the configuration cannot work (exit 2).
        StateError: the state needs a person, or belongs to another cluster (exit 3).
        BridgeError: a broken promise or a failing disk ended it (exit 1).
    """
    configure()
    if config.state is None:
        raise UsageError(
            "`run` needs `state: {path: ...}` in the configuration: where cursors and the log live"
        )
    connection = service_connection(kubeconfig=config.cluster.kubeconfig, context=config.cluster.context)
    for warning in connection.warnings:
        log("warning", warning)
    limiter = RateLimiter(config.cluster.qps, config.cluster.burst)
    async with (
        SqliteLog.open(
            config.state.path, max_bytes=config.state.max_bytes, memory_bytes=config.memory.max_bytes
        ) as records,
        ApiServer(connection, limiter=limiter) as api,
    ):
        await _Service(config, records, api).run()
    return 0


class _Service:
    """The parts of one running bridge."""

    def __init__(self, config: Config, records: SqliteLog, api: ApiServer) -> None:
        self._config = config
        self._names = frozenset(stream.name for stream in config.streams)
        self._log = records
        self._api = api
        self._health = Health(records, [stream.name for stream in config.streams])
        self._incidents = Incidents(log)
        self._desk = SnapshotDesk(records)
        self._outlets = Outlets(config, records, self._owe)
        self._resolved = Resolved(config)
        self._keeper = BacklogKeeper(policies(config), records, self._desk, self._outlets)

    async def run(self) -> None:
        """Everything, until the first signal; then the drain, until done, its deadline or the second one."""
        async with trio.open_nursery() as nursery, _signals() as signals:
            if self._config.http is not None:
                from bridge.runtime.endpoint import Endpoint  # noqa: PLC0415 - prometheus-client is slow to import

                endpoint = Endpoint(self._log, self._health, self._outlets)
                await nursery.start(endpoint.serve, self._config.http.listen)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._control)
            nursery.start_soon(_reopen_on_hangup, self._outlets)
            async with trio.open_nursery() as work:
                work.start_soon(self._work, nursery)
                await signals.receive()
                log("info", "draining: watches end, what was read is delivered")
                work.cancel_scope.cancel()
            with trio.move_on_after(DRAIN_SECONDS) as drain:
                async with trio.open_nursery() as second:
                    second.start_soon(_cancel_on, signals, drain)
                    self._outlets.hurry()  # a full log takes what was read only once sinks have made room
                    await self._log.flush()
                    await self._outlets.drain(drain.deadline)
                    second.cancel_scope.cancel()
            self._outlets.tell_rest()
            nursery.cancel_scope.cancel()

    async def _work(self, sinks: trio.Nursery) -> None:
        """Deliver what an earlier life left behind, find out which cluster this is, and watch it."""
        known = self._config.cluster.uid or self._log.cluster
        async with trio.open_nursery() as nursery:
            if known is not None:
                await self._log.claim(known)
            early = known is not None and not await may_adopt(self._log, self._names)
            if known is not None and early:
                await self._open_sinks(known, sinks)
            uid = await self._identify()
            key = b"" if self._config.state is None else redaction_key(self._config, self._config.state.path)
            if not early:
                await self._adopt(uid, key)
                await self._open_sinks(uid, sinks)
            nursery.start_soon(self._keeper.run)
            nursery.start_soon(forget_orphans, self._log, self._names)
            cluster = Cluster(
                self._api,
                uid,
                self._log,
                trio.CapacityLimiter(self._config.cluster.max_concurrent_lists),
                ServerMemory(),
                self._health.notice,
                self._desk,
            )
            for stream in self._config.streams:
                nursery.start_soon(self._stream, stream, cluster, key)

    async def _adopt(self, uid: str, key: bytes) -> None:
        """Before sinks are handed anything: what stands in the log under an old name is theirs too."""
        if not await may_adopt(self._log, self._names):
            return
        catalog = await self._until_reached("cluster", lambda: discover(self._api))
        for stream in self._config.streams:
            with suppress(UsageError):  # one that is not served now is told, and tried again, where it starts
                await self._take_up(plan_stream(stream, catalog, key=key, cluster_uid=uid), uid)

    async def _take_up(self, plan: StreamPlan, uid: str) -> None:
        """A stream that was renamed goes on where it was, or waits until there is room to note that down."""
        name = plan.info.name
        while True:
            try:
                if await adopt(self._log, plan, uid, self._names):
                    await self._desk.load(sink.name for sink in self._config.sinks)
            except Refused as error:
                self._incidents.report(f"adopt {name}", "error", str(error), stream=name)
            else:
                self._incidents.end(f"adopt {name}", "there is room again", stream=name)
                return
            await trio.sleep(_WAITS[-1])

    async def _open_sinks(self, uid: str, nursery: trio.Nursery) -> None:
        """Open the sinks; what one of them has missed for good is owed to it from now on."""
        await self._desk.load(sink.name for sink in self._config.sinks)
        await tell_orphans(self._log, self._names)
        await self._outlets.open(Bridge(self._config.cluster.name, uid), nursery)
        self._keeper.resume()

    async def _owe(self, sink: SinkConfig, cause: Cause, streams: Collection[str] | None) -> None:
        """A sink needs everything (of some streams): `initial: skip` holds for one that is only new."""
        skipped = {stream.name for stream in self._config.streams if stream.initial == "skip"}
        requests = [
            request
            for stream, scopes in watches_of(self._config, sink).items()
            if streams is None or stream in streams
            if cause is not Cause.FIRST_START or stream not in skipped
            for request in snapshot_requests(sink.name, stream, scopes, cause)
        ]
        try:
            await self._desk.request(requests)
        except Refused as error:
            # A restart before the snapshot finds out again that it is needed.
            self._desk.remember(requests)
            log("warning", "a snapshot is owed that cannot be noted down", sink=sink.name, reason=str(error))

    async def _control(self) -> None:
        """Answer commands; a bridge without its socket still does its work."""
        from bridge.operations.control import serve_control  # noqa: PLC0415 - beside what `watch` loads

        path = (self._config.state.path if self._config.state is not None else Path()) / SOCKET
        commands = Commands(self._config, self._log, self._health, self._outlets, self._desk)
        try:
            await serve_control(path, commands)
        except* OSError as errors:
            why = errors.exceptions[0]
            log(
                "error",
                "no control socket: commands cannot reach this bridge",
                path=str(path),
                error=str(why),
            )

    async def _identify(self) -> str:
        """The cluster's uid; a state of another cluster ends the bridge (promise 8)."""
        uid = self._config.cluster.uid
        if uid is None:
            uid = await self._ask_identity()
        else:
            await self._claim(uid)
        log(
            "info", "watching", cluster=self._config.cluster.name, uid=uid, server=self._api.connection.server
        )
        return uid

    async def _ask_identity(self) -> str:
        known, known_by = self._log.cluster, self._log.trusted_by
        found = await self._until_reached("cluster", lambda: identify_cluster(self._api, known, known_by))
        if found.assumed:
            event = (
                "the namespace kube-system may not be read any more: this is believed to be the same cluster "
                "because its authority is; before that changes, allow it again or write cluster.uid"
            )
            log("warning", event, uid=found.uid)
        unsure = known is not None and found.trust in {found.uid, known}
        advice = f"; if it is that cluster, write cluster.uid: {known}" if unsure else ""
        await self._claim(found.uid, found.trust, advice)
        return found.uid

    async def _claim(self, uid: str, trust: str | None = None, advice: str = "") -> None:
        try:
            await self._log.claim(uid, trust)
        except StateError as error:
            source = self._api.connection.source
            raise StateError(f"{error}{advice} (it was reached through {source})") from error

    async def _stream(self, stream: StreamConfig, cluster: Cluster, key: bytes) -> None:
        tries = 0
        plan: StreamPlan | None = None
        while plan is None:
            catalog: Catalog = await self._until_reached(stream.name, lambda: discover(self._api))
            try:
                plan = plan_stream(stream, catalog, key=key, cluster_uid=cluster.uid)
            except UsageError as error:
                # It may be installed later: a configured resource that is absent is a declared wait.
                self._health.absent(stream.name, str(error))
                self._incidents.report(stream.name, "warning", str(error), stream=stream.name)
                await trio.sleep(_WAITS[min(tries, len(_WAITS) - 1)])
                tries += 1
        self._incidents.end(stream.name, "found", stream=stream.name)
        self._resolved.learn(stream, plan.resource)
        self._outlets.learn(plan.info)
        await self._take_up(plan, cluster.uid)
        await run_stream(plan, cluster, self._health.stats(stream.name))

    async def _until_reached(self, what: str, call: Callable[[], Awaitable[_T]]) -> _T:
        """Call until it answers: an API server that is away is no reason to end."""
        tries = 0
        while True:
            try:
                answer = await call()
            except BridgeError as error:
                if isinstance(error, UsageError | StateError):
                    raise
                self._health.unreached(str(error))
                self._incidents.report(what, "warning", str(error))
            else:
                self._incidents.end(what, "reached the API server")
                return answer
            await trio.sleep(_WAITS[min(tries, len(_WAITS) - 1)])
            tries += 1

    async def _tick(self) -> None:
        while True:
            await trio.sleep(1)
            self._health.beat()
            self._incidents.tick()


@asynccontextmanager
async def _signals() -> AsyncIterator[trio.MemoryReceiveChannel[int]]:
    """SIGTERM and SIGINT as values, while the block runs."""
    sender, receiver = trio.open_memory_channel[int](8)

    async def forward() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as incoming:
            async for number in incoming:
                sender.send_nowait(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        yield receiver
        nursery.cancel_scope.cancel()


async def _reopen_on_hangup(outlets: Outlets) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        async for _ in hangups:
            log("info", "SIGHUP: sinks open their files anew")
            await outlets.reopen()


async def _cancel_on(signals: trio.MemoryReceiveChannel[int], scope: trio.CancelScope) -> None:
    await signals.receive()
    log("info", "second signal: what is not delivered yet is delivered after the next start")
    scope.cancel()
