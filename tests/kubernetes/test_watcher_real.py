"""The watcher against real API servers, the current and an old one; etcd's own history is the judge."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from bridge.changes.change import Cause, Cursor
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reach import adhoc_connection
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.scan import Shape
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import Signal
from bridge.kubernetes.watcher import Watcher
from tests.components.cluster import Cluster
from tests.components.fixtures import StartCluster
from tests.components.process import PATIENCE, eventually
from tests.kubernetes.conversation import Pods as Kind
from tests.kubernetes.scripted_api import Recorder

pytest_plugins = ["tests.components.fixtures"]

CONFIG_MAPS = Kind("", "v1", "configmaps")
CONFIG_MAP = Shape("", "v1", "ConfigMap", builtin=True)
GADGETS = Kind("watcher.example.com", "v1", "gadgets")
GADGET = Shape("watcher.example.com", "v1", "Gadget", builtin=False)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GADGET_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.watcher.example.com"},
    "spec": {
        "group": "watcher.example.com",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


@pytest.fixture(params=["cluster", "old_cluster"])
def server(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


def connect(server: Cluster) -> Connection:
    return adhoc_connection(kubeconfig=Path(server.kubeconfig), environ={})


class Account(Recorder):
    """Remembers as a log would: changes only together with the cursor that came with them."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor: Cursor | None = None

    async def listed(self, rv: str) -> None:
        await super().listed(rv)
        self.cursor = Cursor(rv, rv)

    async def changes(self, events: Any, cursor: Cursor) -> None:
        await super().changes(events, cursor)
        self.cursor = cursor

    async def bookmark(self, cursor: Cursor) -> None:
        await super().bookmark(cursor)
        self.cursor = cursor

    @property
    def revisions(self) -> list[tuple[str, int]]:
        return [(name, int(rv)) for events, _ in self.of("changes") for _, name, rv in events]


@asynccontextmanager
async def watching(
    api: ApiServer,
    account: Account,
    scope: Scope,
    kind: Kind = CONFIG_MAPS,
    shape: Shape = CONFIG_MAP,
    **more: Any,
) -> AsyncIterator[Watcher]:
    watcher = Watcher(api, kind, shape, scope, account.cursor, account, lists=trio.CapacityLimiter(2), **more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        yield watcher
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], Any]) -> None:
    with trio.fail_after(60 * PATIENCE):
        while not condition():  # noqa: ASYNC110 - a real server is waited for, and what it sends is looked at
            await trio.sleep(0.02)


def namespace_on(server: Cluster, name: str) -> str:
    server.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def churn(client: httpx.Client, namespace: str, chance: random.Random, count: int) -> None:
    """Creates, patches, deletes and recreates ConfigMaps, some with strange text."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for index in range(count):
        name = f"c{chance.randrange(12):02}"
        if chance.random() < 0.3:
            client.delete(f"{path}/{name}")
            continue
        body = {
            "metadata": {"name": name},
            "data": {"n": str(index), "x": "a\u0085b\u2028" * chance.randrange(50)},
        }
        if client.post(path, json=body).status_code == httpx.codes.CONFLICT:
            headers = {"content-type": "application/merge-patch+json"}
            client.patch(f"{path}/{name}", json={"data": body["data"]}, headers=headers)


def stored(server: Cluster, namespace: str, after: int) -> list[tuple[str, int]]:
    prefix = f"/registry/configmaps/{namespace}/"
    history = server.history(after + 1, prefix)
    return [(event.key.removeprefix(prefix), event.revision) for event in history]


async def test_every_revision_is_told_once_and_in_order_over_restarts(server: Cluster) -> None:
    """[B3] [B18] [C1] [D1] [D12] [D14] [E5] Cancelled at random and resumed from its cursor, it repeats and
    misses nothing."""
    chance = random.Random(5)
    namespace = namespace_on(server, "watcher-restarts")
    account = Account()
    memory = ServerMemory()
    with server.client() as client:
        churn(client, namespace, chance, 30)
        async with ApiServer(connect(server)) as api:
            for _ in range(8):
                async with watching(api, account, Scope(namespace), memory=memory):
                    await until(lambda: account.phases[-1:] == [Phase.LIVE])
                    await trio.to_thread.run_sync(churn, client, namespace, chance, 25)
                    await trio.sleep(chance.random() / 10)
                account.told.append(("phase", Phase.CONNECTING, ""))
                churn(client, namespace, chance, 5)
            begin = int(account.of("listed")[0][0])
            expected = stored(server, namespace, begin)
            async with watching(api, account, Scope(namespace), memory=memory):
                await until(lambda: len(account.revisions) >= len(expected))
    assert len(expected) > 150
    assert account.revisions == expected
    assert len(account.of("listing")) == 1
    assert memory.events_share_revisions


async def test_a_demanded_listing_under_load_passes_over_no_revision(server: Cluster) -> None:
    """[A9] Listed at exactly the revision reached, on servers that answer from a cache and from etcd."""
    chance = random.Random(6)
    namespace = namespace_on(server, "watcher-demand")
    account = Account()
    with server.client() as client:
        churn(client, namespace, chance, 20)
        async with ApiServer(connect(server)) as api, watching(api, account, Scope(namespace)) as watcher:
            await until(lambda: account.phases[-1:] == [Phase.LIVE])
            for _ in range(4):
                count = len(account.of("listed"))
                await trio.to_thread.run_sync(churn, client, namespace, chance, 10)
                watcher.request_listing(Cause.REQUESTED)
                await trio.to_thread.run_sync(churn, client, namespace, chance, 10)
                await until(lambda: len(account.of("listed")) > count)  # noqa: B023 - waited for at once
            begin = int(account.of("listed")[0][0])
            expected = stored(server, namespace, begin)
            await until(lambda: len(account.revisions) >= len(expected))
    assert account.revisions == expected
    assert [cause for cause, _ in account.of("listing")] == [Cause.FIRST_START] + [Cause.REQUESTED] * 4
    assert Signal.INEXACT not in watcher.tally.signals


async def test_the_old_server_refuses_streaming_lists_and_is_paged(old_cluster: Cluster) -> None:
    """[F3] 1.33 has the gate off: 422 (W-9), then pages; the hint is shared by the next watcher."""
    namespace = namespace_on(old_cluster, "watcher-pages")
    memory = ServerMemory()
    refusals = []
    async with ApiServer(connect(old_cluster)) as api:
        for _ in range(2):
            account = Account()
            async with watching(api, account, Scope(namespace), memory=memory) as watcher:
                await until(lambda: account.phases[-1:] == [Phase.LIVE])  # noqa: B023 - waited for at once
                refusals.append(watcher.tally.signals.get(Signal.UNSUPPORTED, 0))
    assert refusals == [1, 0]


async def test_a_custom_resource_through_its_whole_life(cluster: Cluster) -> None:
    """[D18] [G9] [L3] [L4] [L10] [L13] Not yet installed; installed; changed, which makes every old
    revision a 410; removed, its deletions drained from the open stream.
    """
    namespace = namespace_on(cluster, "watcher-gadgets")
    path = f"/apis/watcher.example.com/v1/namespaces/{namespace}/gadgets"
    account = Account()

    def create(name: str) -> None:
        body = {"apiVersion": "watcher.example.com/v1", "kind": "Gadget", "metadata": {"name": name}}
        with cluster.client() as client:
            eventually(lambda: client.post(path, json=body).is_success, f"{name} is taken")

    async with (
        ApiServer(connect(cluster)) as api,
        watching(api, account, Scope(namespace), GADGETS, GADGET),
    ):
        await until(lambda: Phase.ABSENT in account.phases)
        cluster.request("POST", CRDS, GADGET_CRD)
        await trio.to_thread.run_sync(create, "a")
        await until(lambda: account.phases[-1:] == [Phase.LIVE])
        # Not of its names: the server would accept them a moment later, which is another change.
        column = {"name": "Name", "type": "string", "jsonPath": ".metadata.name"}
        path_of_columns = "/spec/versions/0/additionalPrinterColumns"
        patch = json.dumps([{"op": "add", "path": path_of_columns, "value": [column]}])
        cluster.kubectl("patch", "crd", "gadgets.watcher.example.com", "--type=json", "-p", patch)
        await until(lambda: len(account.of("listed")) == 2)
        await trio.to_thread.run_sync(create, "b")
        await until(lambda: "b" in account.names)
        cluster.request("DELETE", f"{CRDS}/gadgets.watcher.example.com")
        await until(lambda: account.phases[-1:] == [Phase.ABSENT])
    assert [cause for cause, _ in account.of("listing")] == [Cause.FIRST_START, Cause.EXPIRED]
    gone = [name for events, _ in account.of("changes") for kind, name, _ in events if kind == "DELETED"]
    assert sorted(gone) == ["a", "b"]


async def test_an_etcd_restored_under_a_running_server_is_noticed_when_the_watch_resumes(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    """[A12] [B8] [N11] The server's lists go on lying (real-apiserver 8.4); Events show the rewind: a new
    epoch."""
    server = start_cluster()
    account = Account()
    memory = ServerMemory()
    scope = Scope("default")
    maps = "/api/v1/namespaces/default/configmaps"
    async with ApiServer(connect(server)) as api:
        async with watching(api, account, scope, memory=memory):
            await until(lambda: account.phases[-1:] == [Phase.LIVE])
        async with watching(api, account, scope, memory=memory):
            await until(lambda: account.phases[-1:] == [Phase.LIVE])
            snapshot = server.etcd.snapshot(tmp_path / "snapshot")
            for index in range(40):
                server.request("POST", maps, {"metadata": {"name": f"lost{index}"}})
            await until(lambda: len(account.revisions) >= 40)
        assert memory.events_share_revisions
        server.etcd.restore(snapshot)
        account.told.clear()
        async with watching(api, account, scope, memory=memory):
            await until(lambda: account.of("listing"))
    assert account.of("listing")[0][0] is Cause.EPOCH
