"""One stream: a watch per namespace (or one of all), each resumed from its own cursor, restarted alone.

A failure that is not a broken promise restarts that watch from what is durable, with backoff and counted;
it never touches a sibling. Broken invariants and a log that cannot commit end the process.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Final, Protocol

import msgspec
import trio

from bridge.changes.change import Cause, Event, StreamInfo
from bridge.changes.reconcile import Reconciler
from bridge.errors import InvariantError, StateError
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.scan import Shape
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.watcher import Watcher
from bridge.logs import Incidents, log
from bridge.operations.stats import StreamStats
from bridge.runtime.confirm import Confirmer
from bridge.runtime.forget import forget
from bridge.runtime.intake import WatchObserver
from bridge.runtime.snapshots import SnapshotDesk
from bridge.store.contract import Log, WatchState
from bridge.store.failures import LogError

__all__ = ["Cluster", "Notice", "StreamPlan", "fingerprints", "restartable", "run_stream"]

_FATAL: Final = (InvariantError, StateError, LogError)
_RESTART_FIRST: Final = 1.0
_RESTART_MAX: Final = 60.0
_HEALTHY_SECONDS: Final = 120.0
"""A watch that ran this long starts again with the first delay."""


class Notice(Protocol):
    """Called when a watch does something else; never waits."""

    def __call__(self, stream: StreamInfo, scope: str, phase: Phase, reason: str) -> None:
        """`reason` is one sentence, "" when all is well."""


class Cluster(msgspec.Struct, frozen=True):
    """What all streams of one bridge share.

    Attributes:
        api: the one way to the API server.
        uid: identity of the cluster, part of every id.
        log: where changes go.
        lists: how many complete listings may run at once.
        memory: what the watches know of the server.
        notice: told what each watch does.
        desk: knows which sinks are owed a snapshot, or None where nobody can be.
    """

    api: ApiServer
    uid: str
    log: Log
    lists: trio.CapacityLimiter
    memory: ServerMemory
    notice: Notice
    desk: SnapshotDesk | None = None


class StreamPlan(msgspec.Struct, frozen=True):
    """A configured stream, resolved against what the server offers.

    Attributes:
        info: what its records tell of it.
        resource: what is watched.
        scopes: one watch each.
        report_initial: False with `initial: skip`.
        redact: applied to every event before anything else sees it, or None.
        announce: False leaves out the RESYNC pair of the very first listing.
    """

    info: StreamInfo
    resource: Resource
    scopes: tuple[Scope, ...]
    report_initial: bool
    redact: Callable[[Event], Event] | None
    announce: bool = True

    @property
    def shape(self) -> Shape:
        """What its objects look like on the wire."""
        resource = self.resource
        return Shape(resource.group, resource.version, resource.kind, builtin=resource.builtin)


async def run_stream(plan: StreamPlan, cluster: Cluster, stats: StreamStats) -> None:
    """Run all watches of one stream until cancelled; raises only what must end the process."""
    known = await cluster.log.watch_states(plan.info.name)
    current = fingerprints(cluster.uid, plan)
    # What the inventory holds was gathered under another scope: nothing may be called deleted for that.
    moved = any(state.fingerprint not in ("", current.get(scope)) for scope, state in known.items())
    async with trio.open_nursery() as nursery:
        for left in _left(known, current):
            nursery.start_soon(forget, plan.info, left, cluster.log)
        for scope in plan.scopes:
            nursery.start_soon(partial(_keep_running, plan, scope, cluster, stats, moved=moved))


def _left(known: Mapping[str, WatchState], current: Collection[str]) -> list[str]:
    """Namespaces that had a watch of their own, whose objects no watch looks at any more."""
    if "" in current:
        return []
    return [scope for scope, state in known.items() if scope and scope not in current and state.fingerprint]


async def _keep_running(
    plan: StreamPlan, scope: Scope, cluster: Cluster, stats: StreamStats, *, moved: bool
) -> None:
    incidents = Incidents(log)
    delay = _RESTART_FIRST
    while True:
        started = trio.current_time()
        try:
            await _run_watch(plan, scope, cluster, stats, moved=moved)
        except (Exception, BaseExceptionGroup) as error:  # the failure domain, see the module
            if not restartable(error):
                raise
            if trio.current_time() - started > _HEALTHY_SECONDS:
                delay = _RESTART_FIRST
            stats.restarts += 1
            cluster.notice(plan.info, scope.namespace, Phase.BACKOFF, f"starts again after {error!r}")
            incidents.report(
                "restart",
                "error",
                "stream failed and starts again",
                stream=plan.info.name,
                scope=scope.namespace,
                error=repr(error),
                wait=delay,
            )
        await trio.sleep(delay)
        delay = min(delay * 2, _RESTART_MAX)


def restartable(error: BaseException) -> bool:
    """Whether a failure may be survived by starting that stream or sink again."""
    return all(isinstance(leaf, Exception) and not isinstance(leaf, _FATAL) for leaf in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def _run_watch(
    plan: StreamPlan, scope: Scope, cluster: Cluster, stats: StreamStats, *, moved: bool
) -> None:
    namespace = scope.namespace
    fingerprint = _fingerprint(cluster.uid, plan, scope)
    state = await cluster.log.watch_state(plan.info.name, namespace)
    changed = moved if state is None else state.fingerprint not in ("", fingerprint)
    resume = state is not None and not changed
    rules = Reconciler(selected=plan.info.selected, epoch=state.epoch if state else 0)
    stats.tallies[namespace] = rules.tally
    observer = WatchObserver(
        plan.info,
        namespace,
        cluster.log,
        rules,
        redact=plan.redact,
        confirm=Confirmer(cluster.api, plan.resource, plan.shape, scope).ask,
        stats=stats,
        fingerprint=fingerprint,
        notice=lambda phase, reason: cluster.notice(plan.info, namespace, phase, reason),
        desk=cluster.desk,
        report_initial=plan.report_initial,
        announce=plan.announce,
    )
    cursor = state.cursor if state is not None and resume else None
    watcher = Watcher(
        cluster.api,
        plan.resource,
        plan.shape,
        scope,
        cursor,
        observer,
        lists=cluster.lists,
        memory=cluster.memory,
        first_cause=Cause.SCOPE_CHANGED if changed else Cause.FIRST_START,
    )
    if changed:
        log("info", "scope changed: a new baseline, nothing is called deleted", stream=plan.info.name)
    with (
        cluster.desk.watching(plan.info.name, namespace, watcher.request_listing, lists=cursor is None)
        if cluster.desk is not None
        else nullcontext()
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(observer.confirm_pending)
            await watcher.run()


def fingerprints(cluster_uid: str, plan: StreamPlan) -> dict[str, str]:
    """Identity of what each watch of a stream watches, whatever the stream's name is, by scope."""
    return {scope.namespace: _fingerprint(cluster_uid, plan, scope) for scope in plan.scopes}


def _fingerprint(cluster_uid: str, plan: StreamPlan, scope: Scope) -> str:
    """Identity of the collection a cursor belongs to: the same text must mean the same objects."""
    parts = (
        cluster_uid,
        plan.resource.group,
        plan.resource.resource,
        scope.namespace,
        scope.label_selector,
        scope.field_selector,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
