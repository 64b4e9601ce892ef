"""The simulator answers as real servers of two versions do; what it does otherwise is in its docstring."""

from __future__ import annotations

import itertools
import json
import random
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest
import trio

import bridge.simulator
from bridge.simulator import Simulator
from tests.components.process import PATIENCE
from tests.simulator.cases import CASES, EVENTS, LIMITED_CASES, MAPS, OLD_LIES, WIDGETS
from tests.simulator.differential import GROUP, Side, differences, prepare
from tests.simulator.sequences import SEQUENCES, Sequence, play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from collections.abc import Sequence as Rows

    from tests.components.cluster import Cluster
    from tests.simulator.differential import Case

pytest_plugins = ["tests.components.fixtures"]

AT_ONCE = 10
COLUMN = {"name": "Name", "type": "string", "jsonPath": ".metadata.name"}
T = TypeVar("T")
_numbers = itertools.count(1)


@asynccontextmanager
async def simulated(*, old: bool = False) -> AsyncIterator[Side]:
    """The simulator, set up."""
    simulator = Simulator(watch_list=not old, version="v1.33.13" if old else "v1.36.3")
    simulator.access.add("admin", "admin", admin=True)
    async with httpx.AsyncClient(
        transport=simulator.transport(),
        base_url="http://simulator",
        headers={"Authorization": "Bearer admin"},
        timeout=30,
    ) as client:
        side = Side(client, f"diff-{next(_numbers)}")
        await prepare(side)
        simulator.access.add("limited", f"system:serviceaccount:{side.namespace}:limited")
        simulator.access.allow(
            f"system:serviceaccount:{side.namespace}:limited", {"list"}, {"events"}, namespace=side.namespace
        )
        side.facts["limited"] = "limited"
        yield side


@asynccontextmanager
async def real(cluster: Cluster) -> AsyncIterator[Side]:
    """The real server, set up."""
    async with httpx.AsyncClient(
        base_url=cluster.url,
        verify=cluster.credentials.ssl_context(),
        headers={"Authorization": f"Bearer {cluster.token}"},
        trust_env=False,
        timeout=30,
    ) as client:
        side = Side(client, f"diff-{next(_numbers)}")
        await prepare(side)
        yield side


async def allow_listing_events(side: Side, cluster: Cluster) -> None:
    """A user of the real server with the right that the simulator's limited user has."""
    side.facts["limited"] = await trio.to_thread.run_sync(
        cluster.service_account_token, side.namespace, "limited"
    )
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    rule = {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}
    metadata = {"metadata": {"name": "limited"}}
    await side.write("POST", f"{roles}/roles", metadata | {"rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "limited"}
    subject = {"kind": "ServiceAccount", "name": "limited", "namespace": side.namespace}
    await side.write("POST", f"{roles}/rolebindings", metadata | {"roleRef": role, "subjects": [subject]})
    headers, path = {"Authorization": f"Bearer {side.facts['limited']}"}, side.fill(EVENTS)
    with trio.fail_after(20 * PATIENCE):
        while not (await side.client.get(path, headers=headers)).is_success:
            pass  # it hears of a binding a moment after it has stored it


async def both(simulator: Side, server: Side, do: Callable[[Side], Awaitable[T]]) -> tuple[T, T]:
    """Lets both sides do something at the same time."""
    done: dict[bool, T] = {}

    async def one(side: Side) -> None:
        done[side is server] = await do(side)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, simulator)
        nursery.start_soon(one, server)
    return done[False], done[True]


async def compare(simulator: Side, server: Side, cases: Rows[Case]) -> str:
    """Asks both sides each case and tells where they differ."""
    told: dict[str, list[str]] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(case: Case) -> None:
        async with limit:
            simulated_answer, real_answer = await both(simulator, server, lambda side: side.ask(case))
        found = differences(simulated_answer.body, real_answer.body)
        for name in ("status", "headers"):
            pair = getattr(simulated_answer, name), getattr(real_answer, name)
            found += [] if pair[0] == pair[1] else [f"{name}: simulated {pair[0]}, real {pair[1]}"]
        if found:
            told[case.name] = found

    async with trio.open_nursery() as nursery:
        for case in cases:
            nursery.start_soon(one, case)
    return "\n".join(f"{name}: {line}" for name, lines in sorted(told.items()) for line in lines)


async def test_it_answers_like_the_current_server(cluster: Cluster) -> None:
    async with simulated() as simulator, real(cluster) as server:
        assert await compare(simulator, server, CASES) == ""


async def test_it_answers_like_the_old_server_when_its_gate_is_off(old_cluster: Cluster) -> None:
    cases = [case for case in CASES if case.name not in OLD_LIES]
    async with simulated(old=True) as simulator, real(old_cluster) as server:
        assert await compare(simulator, server, cases) == ""


async def test_it_refuses_like_a_real_server_who_may_not(cluster: Cluster) -> None:
    async with simulated() as simulator, real(cluster) as server:
        await allow_listing_events(server, cluster)
        assert await compare(simulator, server, LIMITED_CASES) == ""


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.name)
async def test_its_watch_tells_the_same_story(sequence: Sequence, cluster: Cluster) -> None:
    async with simulated() as simulator, real(cluster) as server:
        told = await both(simulator, server, lambda side: play(side, sequence))
        assert told[1], "the real server tells something"
        assert differences(told[0], told[1]) == []


async def test_its_bytes_are_those_of_the_real_encoder(cluster: Cluster) -> None:
    """Order of keys, escapes and numbers, built-in and custom, items and events; only identities differ."""
    async with simulated() as simulator, real(cluster) as server:
        for path in (f"{MAPS}/c1", f"{WIDGETS}/w1", MAPS, WIDGETS):
            assert await raw(simulator, path) == await raw(server, path)
        streamed = f"{WIDGETS}?watch=1&timeoutSeconds={PATIENCE}&resourceVersion=0"
        assert await raw(simulator, streamed) == await raw(server, streamed)


async def raw(side: Side, path: str) -> list[bytes]:
    """The body with all uids, revisions, times and the namespace made equal."""
    body = await (await side.client.get(side.fill(path))).aread()
    body = body.replace(side.namespace.encode(), b"NS")
    body = re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"UID", body)
    body = re.sub(rb'"resourceVersion":"[0-9]+"', b'"resourceVersion":"RV"', body)
    body = re.sub(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", b"TIME", body)
    return [line for line in body.split(b"\n") if b'{"type":"BOOKMARK"' not in line]


async def test_a_change_of_a_definition_ends_its_watches_and_makes_all_revisions_too_old(
    cluster: Cluster,
) -> None:
    """6.4, on both sides: a clean end, then ERROR 410 for a resume from before."""
    async with simulated() as simulator, real(cluster) as server:
        told = []
        for side in (simulator, server):
            group = f"{side.namespace}.kube-bridge.dev"
            told.append(await edit_definition(side, group))
        assert told[0] == told[1] == ("clean", "Expired", 410)


async def edit_definition(side: Side, group: str) -> tuple[str, str, int]:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "gadgets", "kind": "Gadget", "singular": "gadget", "listKind": "GadgetList"}
    spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
    await side.write("POST", crds, {"metadata": {"name": f"gadgets.{group}"}, "spec": spec})
    path = f"/apis/{group}/v1/namespaces/{side.namespace}/gadgets"
    before = (await listed(side, path))["metadata"]["resourceVersion"]
    with trio.fail_after(20 * PATIENCE):
        async with side.client.stream("GET", path, params={"watch": "1", "resourceVersion": before}) as watch:
            # Not of its names: the server would accept them a moment later, which is another change.
            changed = version | {"additionalPrinterColumns": [COLUMN]}
            await side.patch(f"{crds}/gadgets.{group}", {"spec": {"versions": [changed]}})
            assert await watch.aread() == b""
    await listed(side, path)
    query = {"watch": "1", "resourceVersion": before, "timeoutSeconds": "5"}
    line = json.loads((await side.client.get(path, params=query)).text.split("\n")[0])
    return "clean", line["object"]["reason"], line["object"]["code"]


async def listed(side: Side, path: str) -> Any:
    """A list, as soon as the server can give one."""
    with trio.fail_after(20 * PATIENCE):
        while True:
            answer = await side.client.get(path)
            if answer.is_success:
                return answer.json()
            assert answer.status_code in {404, 429}, answer.text
            await trio.sleep(0.1)


async def test_a_big_list_is_compressed_where_the_real_server_does(cluster: Cluster) -> None:
    """4.12: from 128 KiB on, in chunks, and only for who asks for exactly gzip."""
    heads = []
    noise = random.Random(0).randbytes(70_000).hex()
    async with simulated() as simulator, real(cluster) as server:
        for side in (simulator, server):
            await side.write("POST", MAPS, {"metadata": {"name": "big"}, "data": {"x": noise}})
            for accepted in ("gzip", "deflate, gzip", "gzip;q=0.5", "GZIP", "identity"):
                headers = {"Accept-Encoding": accepted}
                async with side.client.stream("GET", side.fill(MAPS), headers=headers) as answer:
                    body = json.loads(await answer.aread())
                found = {
                    name: answer.headers.get(name)
                    for name in ("content-encoding", "vary", "transfer-encoding")
                }
                heads.append((side is server, accepted, found, len(body["items"])))
    half = len(heads) // 2
    assert [head[1:] for head in heads[:half]] == [head[1:] for head in heads[half:]]


async def test_discovery_tells_of_its_kinds_what_the_real_server_tells(cluster: Cluster) -> None:
    """6.1, 6.2, both forms: every resource but for its subresources; and a second request is 304."""
    async with simulated() as simulator, real(cluster) as server:
        for root in ("/api", "/apis"):
            ours, theirs = await discovered(simulator, root), await discovered(server, root)
            assert [
                f"{name}: {row} {theirs.get(name)}" for name, row in ours.items() if row != theirs.get(name)
            ] == []
        for path in ("/api/v1", "/apis/apps/v1", "/apis/batch/v1", f"/apis/{GROUP}/v1"):
            plain = [(await side.client.get(path)).json() for side in (simulator, server)]
            rows = [{row["name"]: row for row in answer.pop("resources")} for answer in plain]
            assert list(plain[0].items()) == list(plain[1].items())
            for row in (row for side in rows for row in side.values()):
                row.pop("storageVersionHash", None)
            assert {name: list(rows[1][name].items()) for name in rows[0]} == {
                name: list(row.items()) for name, row in rows[0].items()
            }


async def discovered(side: Side, root: str) -> dict[tuple[str, str, str], Any]:
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    answer = await side.client.get(root, headers=accept)
    assert answer.headers["content-type"] == accept["Accept"]
    again = await side.client.get(root, headers=accept | {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    found = {}
    for group in answer.json()["items"]:
        for version in group["versions"]:
            assert version["freshness"] == "Current"
            for resource in version["resources"]:
                resource.pop("subresources", None)
                key = group["metadata"].get("name", ""), version["version"], resource["resource"]
                found[key] = list(resource.items())
    return found


def test_what_the_simulator_does_otherwise_is_told() -> None:
    """Each exception in this room is a line of the package's docstring."""
    told = bridge.simulator.__doc__ or ""
    for word in ("continue token with revision 0", "defaults", "Table", "events.k8s.io", "managedFields"):
        assert word in told
    assert len(OLD_LIES) == told.count("before 1.34")
