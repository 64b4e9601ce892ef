"""Each missing permission is named with the rule that grants it."""

import json

import httpx
import pytest

from bridge.kubernetes.access import IDENTITY, REVISION, Missing, Wanted, missing_permissions, refused
from bridge.kubernetes.apiserver import ApiError, ApiServer
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.connection import Connection

PODS = Resource("", "v1", "pods", "Pod", True)
NODES = Resource("", "v1", "nodes", "Node", False)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", True)


async def review(
    wanted: Wanted, *allowed: str, answer: str | None = None
) -> tuple[list[Missing], list[dict[str, str]]]:
    """What is missing when the server allows `verb namespace`, and what it was asked."""
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        attributes = json.loads(request.content)["spec"]["resourceAttributes"]
        asked.append(attributes)
        good = f"{attributes['verb']} {attributes['namespace']}" in allowed
        status = {"allowed": good} if good else {"allowed": False, "reason": "RBAC says no"}
        return httpx.Response(201, text=answer or json.dumps({"status": status}))

    async with ApiServer(Connection("http://x"), transport=httpx.MockTransport(handler)) as api:
        return await missing_permissions(api, [wanted]), asked


async def test_nothing_is_missing_when_list_watch_and_get_are_allowed() -> None:
    missing, asked = await review(Wanted("s", DEPLOYMENTS), "list ", "watch ", "get ")
    assert missing == []
    assert [one["verb"] for one in asked] == ["list", "watch", "get"]
    assert (asked[0]["group"], asked[0]["version"], asked[0]["resource"]) == ("apps", "v1", "deployments")


async def test_each_namespace_is_asked_for_and_its_missing_verbs_are_one_sentence() -> None:
    missing, _ = await review(
        Wanted("s", PODS, ["shop", "pay"]), "list shop", "watch shop", "get shop", "get pay"
    )
    (only,) = missing
    assert (only.namespace, only.verbs) == ("pay", ("list", "watch"))
    assert str(only) == (
        "stream s may not list or watch pods in namespace pay (RBAC says no); "
        'add to a Role in pay: - {apiGroups: [""], resources: ["pods"], verbs: [list, watch]}'
    )


async def test_a_whole_cluster_needs_a_cluster_role() -> None:
    missing, asked = await review(Wanted("s", NODES, ["ignored"]))
    assert asked[0]["namespace"] == ""
    assert missing[0].verbs == ("list", "watch", "get")
    missing, _ = await review(Wanted("s", DEPLOYMENTS))
    assert "in the whole cluster" in str(missing[0])
    assert 'add to a ClusterRole: - {apiGroups: ["apps"], resources: ["deployments"]' in str(missing[0])


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("metadata.name=one", "one"),
        ("a=b, metadata.name==one", "one"),
        ("metadata.name!=one", ""),
        ("status.phase=Running", ""),
        ("", ""),
    ],
)
async def test_a_selected_name_is_asked_for_by_name(selector: str, name: str) -> None:
    """[M9]"""
    _, asked = await review(Wanted("s", PODS, (), selector))
    assert asked[0]["name"] == name


async def test_an_answer_that_is_no_review_is_told() -> None:
    with pytest.raises(ApiError, match="answered an access review with something else"):
        await review(Wanted("s", PODS), answer="{}")


async def test_what_would_be_welcome_is_asked_for_and_told_with_its_price_and_rule() -> None:
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["spec"]["resourceAttributes"])
        return httpx.Response(201, json={"status": {"allowed": allowed}})

    async with ApiServer(Connection("http://x"), transport=httpx.MockTransport(handler)) as api:
        allowed = True
        assert await refused(api, [IDENTITY, REVISION]) == []
        allowed = False
        identity, revision = map(str, await refused(api, [IDENTITY, REVISION]))
    assert [(one["verb"], one["resource"], one["namespace"], one["name"]) for one in asked[:2]] == [
        ("get", "namespaces", "", "kube-system"),
        ("list", "events", "default", ""),
    ]
    assert identity.startswith("the bridge may not get namespaces kube-system: a hash of ")
    assert identity.endswith(
        "; add to a ClusterRole: "
        '- {apiGroups: [""], resources: [namespaces], resourceNames: [kube-system], verbs: [get]}'
    )
    assert revision.startswith("the bridge may not list events in namespace default: that the server was ")
    assert revision.endswith(
        '; add to a Role in default: - {apiGroups: [""], resources: [events], verbs: [list]}'
    )
