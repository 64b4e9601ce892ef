"""`watch` and `demo`: the same path as the service, with nothing on disk and one reader, standard output.

What cannot work from the start (no such resource, forbidden, unreachable) ends the command with one
sentence; once a stream has been live, it is retried for ever, and standard error says so.
"""

import os
import select
import shutil
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Final, Protocol

import msgspec
import trio

from bridge.changes.change import StreamInfo
from bridge.changes.envelope import Bridge, Format
from bridge.changes.redact import Redactor
from bridge.delivery.sink import ClosedPipe, Resume
from bridge.delivery.worker import Plan, Worker
from bridge.errors import BridgeError, UsageError
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.catalog import Catalog, Resource
from bridge.kubernetes.discovery import discover, identify_cluster
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.server_memory import ServerMemory
from bridge.logs import Incidents, configure, log, wants_color
from bridge.operations.stats import StreamStats
from bridge.runtime.health import TROUBLE
from bridge.runtime.stream import Cluster, StreamPlan, run_stream
from bridge.store.memory import MemoryLog

__all__ = ["Target", "WatchOptions", "demo", "watch"]

_MEMORY_BYTES: Final = 16 << 20
_DRAIN_SECONDS: Final = 2.0
STDOUT: Final = "sinks.jsonlines.lines:Stdout"
"""What the entry point `jsonlines` writes there with; looking it up costs a tenth of the start."""
_READER: Final = "stdout"
_FORMATS: Final = {"json": "native", "kubernetes": "kubernetes"}
_NO_TERMINAL: Final = (200, 24)
"""Columns and lines of a view that goes into a pipe, unless $COLUMNS says otherwise: names stay whole."""
_QUIET_SECONDS: Final = 1.0
"""How long nothing may be shown before standard error says what is going on."""


class Target(msgspec.Struct, frozen=True):
    """Which cluster: `server` alone means a plain address such as a `kubectl proxy`."""

    kubeconfig: Path | None = None
    context: str | None = None
    server: str | None = None
    insecure: bool = False


class WatchOptions(msgspec.Struct, frozen=True):
    """What to watch, as the command line says it; `output` is json, kubernetes or pretty."""

    resources: str
    output: str
    namespace: str | None = None
    all_namespaces: bool = False
    label_selector: str = ""
    field_selector: str = ""
    watch_only: bool = False
    show_secrets: bool = False


async def watch(options: WatchOptions, target: Target) -> int:
    """Stream to standard output until interrupted; returns the exit code.

    Raises:
        BridgeError: the first contact failed; nothing was watched.
        ClosedPipe: nobody reads standard output any more.
    """
    configure()
    from bridge.kubernetes.reach import adhoc_connection  # noqa: PLC0415 - reads YAML; the demo needs none

    connection = adhoc_connection(
        kubeconfig=target.kubeconfig, context=target.context, server=target.server, insecure=target.insecure
    )
    for warning in connection.warnings:
        log("warning", warning)
    async with ApiServer(connection) as api:
        namespace = "" if options.all_namespaces else options.namespace or connection.namespace
        return await _stream(api, options, namespace, cluster_name="adhoc")


async def demo(output: str, seconds: float, seed: int) -> int:
    """Stream a simulated cluster under load for some seconds; ends by itself with exit code 0."""
    configure()
    from bridge.kubernetes.connection import Connection  # noqa: PLC0415 - only the demo needs a simulator
    from bridge.simulator import Simulator  # noqa: PLC0415
    from bridge.simulator.churn import churn  # noqa: PLC0415

    simulator = Simulator()
    options = WatchOptions("pods,deployments.apps,jobs.batch,configmaps", output, all_namespaces=True)
    log("info", f"a simulated cluster for {seconds:g} s; on a real one: kube-bridge watch pods -A")
    connection = Connection("http://simulated.invalid")
    async with ApiServer(connection, transport=simulator.transport()) as api, trio.open_nursery() as nursery:
        finished = trio.Event()

        async def live() -> None:
            await churn(simulator.cluster, seconds=seconds, seed=seed)
            finished.set()

        nursery.start_soon(live)
        code = await _stream(api, options, "", cluster_name="demo", until=finished)
        nursery.cancel_scope.cancel()
    return code


async def _stream(
    api: ApiServer,
    options: WatchOptions,
    namespace: str,
    *,
    cluster_name: str,
    until: trio.Event | None = None,
) -> int:
    catalog, uid = await _meet(api)
    resources = catalog.resolve(options.resources)
    records = MemoryLog(_MEMORY_BYTES)
    output = await _open_output(options.output, records, Bridge(cluster_name, uid), many=len(resources) > 1)
    ending = _Ending(trio.Event() if until is None else until)
    lists = trio.CapacityLimiter(len(resources))
    cluster = Cluster(api, uid, records, lists, ServerMemory(), ending.notice)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.run)
        nursery.start_soon(ending.listen)
        nursery.start_soon(_tell_when_quiet, resources, namespace, records)
        nursery.start_soon(_notice_leaving)
        async with trio.open_nursery() as streams:
            for resource in resources:
                plan = _plan(resource, options, namespace, uid)
                streams.start_soon(run_stream, plan, cluster, StreamStats(plan.info.name))
            await ending.event.wait()
            streams.cancel_scope.cancel()
        undelivered = await output.drain(trio.current_time() + _DRAIN_SECONDS)
        nursery.cancel_scope.cancel()
    if ending.failure is not None:
        raise ending.failure
    if undelivered:
        raise BridgeError(
            f"ended with {undelivered} record{'s' * (undelivered > 1)} undelivered: "
            "nobody took them from standard output"
        )
    return ending.code


async def _meet(api: ApiServer) -> tuple[Catalog, str]:
    """What the server offers and who it is, asked at once: a person waits for the answers."""
    uids: list[str] = []

    async def identify() -> None:
        uids.append((await identify_cluster(api)).uid)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(identify)
        catalog = await discover(api)
    return catalog, uids[0]


class _Ending:
    """Why the command ends: a signal, the end of the demo, or a stream that cannot work at all.

    Attributes:
        event: set when it is time.
        code: the exit code then.
        failure: what cannot work, or None.
    """

    def __init__(self, event: trio.Event) -> None:
        self.event = event
        self.code = 0
        self.failure: BridgeError | None = None
        self._live: set[str] = set()
        self._incidents = Incidents(log)

    async def listen(self) -> None:
        """Ctrl-C is 130, SIGTERM 0; ends only by cancellation."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                self.code = 130 if number == signal.SIGINT else 0
                self.event.set()

    def notice(self, stream: StreamInfo, scope: str, phase: Phase, reason: str) -> None:
        """What cannot be listed at first contact ends the command; later it is only told."""
        del scope  # an ad hoc watch has one
        if phase is Phase.LIVE:
            self._live.add(stream.name)
            self._incidents.end(stream.name, "live again", stream=stream.name)
        elif phase in (Phase.FORBIDDEN, Phase.ABSENT, Phase.REFUSED) and stream.name not in self._live:
            self.failure = UsageError(reason) if phase is Phase.REFUSED else BridgeError(reason)
            self.event.set()
        elif reason:
            self._incidents.report(stream.name, TROUBLE.get(phase, "warning"), reason, stream=stream.name)


def _plan(resource: Resource, options: WatchOptions, namespace: str, uid: str) -> StreamPlan:
    info = StreamInfo(
        resource.name,
        resource.group,
        resource.version,
        resource.resource,
        resource.kind,
        selected=bool(options.label_selector or options.field_selector),
        redacted=resource.secret and not options.show_secrets,
    )
    scope = Scope(namespace if resource.namespaced else "", options.label_selector, options.field_selector)
    redact = None
    if info.redacted:
        redact = Redactor(os.urandom(32), uid, secret_values=True, redact=(), drop=())
    return StreamPlan(
        info, resource, (scope,), report_initial=not options.watch_only, redact=redact, announce=False
    )


class _Output(Protocol):
    """Standard output as the one reader of the log."""

    async def run(self) -> None:
        """Write until cancelled."""

    async def drain(self, deadline: float) -> int:
        """Wait until everything is written or `deadline` passed; returns how many records are not."""


async def _open_output(form: str, records: MemoryLog, bridge: Bridge, *, many: bool) -> _Output:
    start = (await records.open_sink(_READER, "")).position
    if form == "pretty":
        return _Pretty(records, start, many=many)
    return _Lines(records, start, bridge, Format(_FORMATS[form]))


class _Lines:
    """JSON lines, through the same worker and sink as the service."""

    def __init__(self, records: MemoryLog, start: int, bridge: Bridge, form: Format) -> None:
        resume = Resume(records.identity.log_id, records.identity.incarnation, start)
        self._log = records
        self._worker = Worker(Plan(_READER, bridge, form=form), resolve_name(STDOUT)(), records, resume)

    async def run(self) -> None:
        await self._worker.run()

    async def drain(self, deadline: float) -> int:
        await self._worker.drain(deadline)
        return self._log.end() - self._worker.stats.position


class _Pretty:
    """The view for a person."""

    def __init__(self, records: MemoryLog, start: int, *, many: bool) -> None:
        self._log = records
        self._position = start
        self._moved = trio.lowlevel.ParkingLot()
        from bridge.terminal import View  # noqa: PLC0415 - a pipe does not pay for the view of a person

        self._view = View(
            lambda: shutil.get_terminal_size(_NO_TERMINAL).columns,
            color=wants_color(sys.stdout),
            resources=many,
        )

    async def run(self) -> None:
        while True:
            for batch in await self._log.read(self._position, _MEMORY_BYTES):
                text = self._view.show(batch.stream, batch.changes)
                await trio.to_thread.run_sync(_write_out, text, abandon_on_cancel=True)
                self._position = batch.last_position
                self._log.acknowledge(_READER, self._position)
                self._moved.unpark_all()

    async def drain(self, deadline: float) -> int:
        with trio.move_on_at(deadline):
            while self._position < self._log.end():
                await self._moved.park()
        return self._log.end() - self._position


def _write_out(text: str) -> None:
    """Past sys.stdout: a thread that is left behind in its buffer would abort the interpreter's end."""
    rest = memoryview(text.encode(errors="replace"))
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:
            select.select([], [1], [])
        except BrokenPipeError:
            raise ClosedPipe("nobody reads standard output any more") from None


async def _tell_when_quiet(resources: Sequence[Resource], namespace: str, records: MemoryLog) -> None:
    """A person who waits is told what for."""
    nothing_yet = records.end()
    await trio.sleep(_QUIET_SECONDS)
    if records.end() == nothing_yet:
        wide = ", ".join(resource.resource for resource in resources if not resource.namespaced)
        inside = ", ".join(resource.resource for resource in resources if resource.namespaced)
        if inside:
            inside += f" in namespace {namespace}" if namespace else " in all namespaces"
        what = " and ".join(part for part in (wide, inside) if part)
        log("info", f"watching {what}; nothing to show yet")


async def _notice_leaving() -> None:
    """Raise ClosedPipe when the reader of a pipe leaves, also while there is nothing to write."""
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        # The end that is written never becomes readable; it wakes when nobody holds the other end (EPOLLERR).
        await trio.lowlevel.wait_readable(1)
        raise ClosedPipe("nobody reads standard output any more")
