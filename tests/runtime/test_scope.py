"""A stream whose namespaces and selector change together gets a new baseline; nothing is called deleted."""

from typing import Any

import trio
from trio.testing import MockClock

from bridge.changes.change import StreamInfo
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.server_memory import ServerMemory
from bridge.operations.stats import StreamStats
from bridge.runtime.stream import Cluster, StreamPlan, run_stream
from bridge.simulator import Simulator
from bridge.store.memory import MemoryLog

CONFIGMAPS = Resource(
    "", "v1", "configmaps", "ConfigMap", namespaced=True, verbs=frozenset({"list", "watch", "get"})
)


def configmap(namespace: str, name: str, app: str) -> dict[str, Any]:
    labels = {"app": app}
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {},
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }  # fmt: skip


async def told(simulator: Simulator, log: MemoryLog, *scopes: Scope) -> list[tuple[str, str, str]]:
    """What a stream with these scopes adds to the log in five (virtual) minutes."""
    before = log.end()
    info = StreamInfo("cm", "", "v1", "configmaps", "ConfigMap", selected=True)
    plan = StreamPlan(info, CONFIGMAPS, scopes, report_initial=True, redact=None)
    async with ApiServer(Connection("http://simulated.invalid"), transport=simulator.transport()) as api:
        cluster = Cluster(api, "u", log, trio.CapacityLimiter(2), ServerMemory(), lambda *_: None)
        with trio.move_on_after(300):
            await run_stream(plan, cluster, StreamStats("cm"))
    batches = await log.read(before, 1 << 30) if log.end() > before else ()
    changes = [change for batch in batches for change in batch.changes]
    return [
        (change.type, change.name, (change.extra or {}).get("cause", ""))
        for change in changes
        if change.type != "RESYNC" or (change.extra or {})["phase"] == "begin"
    ]


async def test_namespaces_and_selector_that_change_together_delete_nothing(autojump_clock: MockClock) -> None:
    """[N9] Promise 8: the objects that the new selector passes over still exist."""
    del autojump_clock
    simulator, log = Simulator(), MemoryLog()
    for namespace, name, app in (("a", "x", "old"), ("b", "y", "old"), ("b", "z", "new")):
        simulator.cluster.create("configmaps", configmap(namespace, name, app))
    first = await told(simulator, log, Scope("a", "app=old"), Scope("b", "app=old"))
    assert sorted(first) == [
        ("ADDED", "x", ""), ("ADDED", "y", ""), ("RESYNC", "", "firstStart"), ("RESYNC", "", "firstStart"),
    ]  # fmt: skip
    assert await told(simulator, log, Scope("", "app=new")) == [
        ("RESYNC", "", "scopeChanged"), ("ADDED", "z", ""),
    ]  # fmt: skip


async def test_a_namespace_that_joins_an_unchanged_selector_is_a_first_start(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    simulator, log = Simulator(), MemoryLog()
    for namespace, name in (("a", "x"), ("b", "y")):
        simulator.cluster.create("configmaps", configmap(namespace, name, "old"))
    await told(simulator, log, Scope("a", "app=old"))
    assert await told(simulator, log, Scope("a", "app=old"), Scope("b", "app=old")) == [
        ("RESYNC", "", "firstStart"), ("ADDED", "y", ""),
    ]  # fmt: skip


async def test_a_namespace_that_leaves_is_forgotten_without_a_deletion_and_is_new_when_it_comes_back(
    autojump_clock: MockClock,
) -> None:
    """What happened there meanwhile was not asked for."""
    del autojump_clock
    simulator, log = Simulator(), MemoryLog()
    for namespace, name in (("a", "x"), ("b", "y"), ("b", "z"), ("ba", "w")):
        simulator.cluster.create("configmaps", configmap(namespace, name, "old"))
    scopes = [Scope(namespace, "app=old") for namespace in ("a", "b", "ba")]
    await told(simulator, log, *scopes)
    assert await told(simulator, log, scopes[0], scopes[2]) == []
    inventory = log._inventories["cm"]
    assert [key for key, _ in inventory.scan(b"", None)] == [b"a/x", b"ba/w"]
    simulator.cluster.delete("configmaps", "y", "b")
    assert await told(simulator, log, *scopes) == [("RESYNC", "", "firstStart"), ("ADDED", "z", "")]
