"""What a cluster offers is read from every form of discovery; what did not answer is unknown, not absent."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
import trustme

from bridge.kubernetes.apiserver import ApiError, ApiServer
from bridge.kubernetes.catalog import Catalog, UnknownResource
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.discovery import Identity, discover, identify_cluster

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERBS = ["get", "list", "watch"]
Answer = tuple[int, Any] | tuple[int, Any, str]


def served(resource: str, kind: str, **more: Any) -> dict[str, Any]:
    kind_of = {"group": "", "version": "", "kind": kind}
    return {"resource": resource, "responseKind": kind_of, "scope": "Namespaced", "verbs": VERBS, **more}


def group(name: str, **versions: Any) -> dict[str, Any]:
    listed = [
        {"version": version, "freshness": "Current", "resources": resources}
        if resources is not None
        else {"version": version, "freshness": "Stale"}
        for version, resources in versions.items()
    ]
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": listed}


def groups(*items: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": list(items)}


def legacy(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "namespaced": True, "verbs": VERBS, "singularName": "", **more}


CORE = group(
    "",
    v1=[
        served("pods", "Pod", shortNames=["po"], singularResource="pod", categories=["all"]),
        {"resource": "orphans", "scope": "Namespaced", "subresources": [], "verbs": None},
    ],
)
APPS = group("apps", v1=[served("deployments", "Deployment")], v1beta1=[served("deployments", "Deployment")])
STALE = group("metrics.k8s.io", v1beta1=None)

LEGACY: dict[str, Answer] = {
    "/api": (200, {"kind": "APIVersions", "versions": ["v1"]}),
    "/apis": (
        200,
        {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": "apps",
                    "versions": [{"version": "v1beta1"}, {"version": "v1"}],
                    "preferredVersion": {"version": "v1"},
                },
                {"name": "metrics.k8s.io", "versions": [{"version": "v1beta1"}]},
            ],
        },
    ),
    "/api/v1": (200, {"resources": [legacy("pods", "Pod", shortNames=["po"]), legacy("pods/log", "Pod")]}),
    "/apis/apps/v1": (200, {"resources": [legacy("deployments", "Deployment")]}),
    "/apis/apps/v1beta1": (200, {"resources": [legacy("deployments", "Deployment")]}),
    "/apis/metrics.k8s.io/v1beta1": (503, "service unavailable"),
}


class Server:
    """Answers by path, and keeps what it was asked."""

    def __init__(self, answers: dict[str, Answer], gate: Callable[[], Any] | None = None) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []
        self.gate = gate

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.gate:
            await self.gate()
        status, document, *kind = self.answers.get(request.url.path, (404, "404 page not found"))
        headers = {"content-type": kind[0] if kind else "application/json"}
        text = document if isinstance(document, str) else json.dumps(document)
        return httpx.Response(status, text=text, headers=headers)

    def api(self, connection: Connection | None = None) -> ApiServer:
        return ApiServer(connection or Connection("http://x"), transport=httpx.MockTransport(self))

    async def discover(self) -> Catalog:
        async with self.api() as api:
            return await discover(api)


def names(catalog: Catalog) -> list[str]:
    return [f"{one.resource}.{one.version}.{one.group}" for one in catalog.resources]


async def test_aggregated_discovery_takes_two_requests_at_once() -> None:
    """[L1]"""
    together = trio.Event()

    async def gate() -> None:
        if len(server.asked) == 2:
            together.set()
        await together.wait()

    answers: dict[str, Answer] = {
        "/api": (200, groups(CORE), AGGREGATED),
        "/apis": (200, groups(APPS), AGGREGATED),
    }
    server = Server(answers, gate)
    catalog = await server.discover()
    assert names(catalog) == ["pods.v1.", "deployments.v1.apps", "deployments.v1beta1.apps"]
    pods = catalog.resources[0]
    assert (pods.kind, pods.short_names, pods.singular, pods.categories) == ("Pod", ("po",), "pod", ("all",))
    assert pods.watchable
    assert pods.namespaced
    assert len(server.asked) == 2
    accepted = server.asked[0].headers["accept"].split(",")
    assert accepted[0] == AGGREGATED
    assert accepted[-1] == "application/json"


async def test_a_server_without_aggregated_discovery_is_asked_group_by_group() -> None:
    """[L1]"""
    catalog = await Server(LEGACY).discover()
    assert names(catalog) == ["pods.v1.", "deployments.v1.apps", "deployments.v1beta1.apps"]
    assert catalog.stale == ("metrics.k8s.io/v1beta1",)


async def test_a_server_that_refuses_the_accept_header_is_asked_plainly() -> None:
    class Old(Server):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            if "apidiscovery" in request.headers["accept"]:
                return httpx.Response(406, text="only json")
            return await super().__call__(request)

    assert len((await Old(LEGACY).discover()).resources) == 3


async def test_halves_may_come_in_different_forms() -> None:
    answers = {**LEGACY, "/api": (200, groups(CORE), AGGREGATED)}
    assert len((await Server(answers).discover()).resources) == 3


async def test_a_stale_group_is_unknown_and_not_absent() -> None:
    """[L2]"""
    answers: dict[str, Answer] = {
        "/api": (200, groups(CORE), AGGREGATED),
        "/apis": (200, groups(APPS, STALE), AGGREGATED),
    }
    catalog = await Server(answers).discover()
    assert catalog.stale == ("metrics.k8s.io/v1beta1",)
    with pytest.raises(
        UnknownResource, match=r"did not answer and may have it: metrics.k8s.io/v1beta1"
    ) as caught:
        catalog.resolve("nodemetrics")
    assert caught.value.stale
    with pytest.raises(UnknownResource) as caught:
        catalog.resolve_kind("metrics.k8s.io/v1beta1", "NodeMetrics")
    assert caught.value.stale
    with pytest.raises(UnknownResource) as caught:
        catalog.resolve_kind("apps/v1", "Nope")
    assert not caught.value.stale


@pytest.mark.parametrize(
    "document",
    ["", "{", "null", "[]", '{"items":7}', '{"items":[{"metadata":{}}]}x', '{"items":[7]}', "\xff"],
)
async def test_what_is_no_discovery_is_told(document: str) -> None:
    answers: dict[str, Answer] = {"/api": (200, document, AGGREGATED), "/apis": (200, document, AGGREGATED)}
    with pytest.raises(ApiError, match="is it a Kubernetes API server"):
        await Server(answers).discover()


async def test_a_server_that_offers_nothing_is_told() -> None:
    with pytest.raises(ApiError, match="offers no resources at all"):
        await Server({}).discover()


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_a_failing_half_is_a_failure_and_not_half_a_catalog(status: int) -> None:
    refusal = {"kind": "Status", "message": "no", "reason": "X"}
    with pytest.raises(ApiError) as caught:
        await Server({**LEGACY, "/api": (status, refusal)}).discover()
    assert caught.value.status == status


KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
READABLE: Answer = (200, {"metadata": {"uid": "u-1"}})
REFUSED: Answer = (403, {"kind": "Status"})
CA, OTHER_CA = (trustme.CA().cert_pem.bytes().decode() for _ in range(2))


async def identified(
    answer: Answer, authority: str | None, known: Identity | None = None, server: str = "https://a"
) -> Identity:
    """What a bridge that knows of a cluster takes this server for."""
    async with Server({KUBE_SYSTEM: answer}).api(Connection(server, tls=Tls(authority))) as api:
        return await identify_cluster(api, *(known.uid, known.trust) if known else ())


async def test_the_cluster_is_identified_by_its_kube_system_namespace() -> None:
    assert (await identified(READABLE, None)).uid == "u-1"


async def test_where_kube_system_may_not_be_read_the_ca_identifies_the_cluster() -> None:
    """[N10]"""
    first = await identified(REFUSED, CA)
    assert first == await identified(REFUSED, f"# comment\n{CA}", server="https://b")
    assert first.uid != (await identified(REFUSED, OTHER_CA)).uid


async def test_where_there_is_no_ca_either_the_address_identifies_the_cluster() -> None:
    """[N10]"""
    first = await identified(REFUSED, None)
    assert first == await identified(REFUSED, None, first), "the same at each start"
    assert first.uid != (await identified(REFUSED, None, first, server="https://b")).uid
    assert (await identified(READABLE, None, first)).uid == "u-1", (
        "an address says too little to go on with it"
    )


async def test_what_identifies_a_cluster_by_its_ca_stays_when_kube_system_may_be_read_later() -> None:
    """Chosen once: a right that is given later makes no other cluster of it, another CA does."""
    chosen = await identified(REFUSED, CA)
    assert await identified(READABLE, CA, chosen) == chosen
    assert (await identified(READABLE, OTHER_CA, chosen)).uid == "u-1"
    assert (await identified(READABLE, CA, Identity("u-2", chosen.trust))).uid == "u-1"


async def test_a_uid_that_may_not_be_read_any_more_stays_as_long_as_the_ca_does() -> None:
    known = await identified(READABLE, CA)
    assumed = Identity("u-1", known.trust, assumed=True)
    assert await identified(REFUSED, CA, known, server="https://b") == assumed
    assert (await identified(REFUSED, OTHER_CA, known)).uid != "u-1"
    assert (await identified((404, {"kind": "Status"}), CA, known)).uid != "u-1", "it was made anew"
    assert not (await identified(READABLE, CA, assumed)).assumed


async def test_a_uid_that_may_not_be_read_any_more_is_not_assumed_of_an_address() -> None:
    """Behind the same address may be another cluster, and to that everything would seem to be gone."""
    known = await identified(READABLE, None)
    assert (await identified(REFUSED, None, known)).uid != "u-1"


async def test_the_cluster_is_not_identified_by_an_error() -> None:
    with pytest.raises(ApiError, match="answered 500: oops"):
        await identified((500, "oops"), CA, Identity("u-1", "t"))
