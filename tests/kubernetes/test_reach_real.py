"""Reaching and discovering a real kube-apiserver, the current and an old one, judged by kubectl."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from bridge.kubernetes.access import Wanted, missing_permissions
from bridge.kubernetes.apiserver import ApiError, ApiServer, Idle, Unreachable
from bridge.kubernetes.catalog import Catalog, NotWatchable, UnknownResource
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.discovery import discover, identify_cluster
from bridge.kubernetes.reach import adhoc_connection
from tests.components.cluster import Cluster
from tests.components.process import eventually

pytest_plugins = ["tests.components.fixtures"]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

NAMES = {
    "plural": "widgets",
    "singular": "wdg",
    "kind": "Widget",
    "shortNames": ["wd", "po"],
    "categories": ["toys"],
}
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.reach.example.com"},
    "spec": {
        "group": "reach.example.com",
        "scope": "Namespaced",
        "names": NAMES,
        "versions": [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
            for name in ("v1", "v1alpha1")
        ],
    },
}


@pytest.fixture(scope="module", params=["cluster", "old_cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Each of the real servers, with a custom resource whose names are traps."""
    found: Cluster = request.getfixturevalue(request.param)
    found.request("POST", CRDS, WIDGETS)
    found.kubectl("wait", "--for=condition=Established", "crd/widgets.reach.example.com")
    with found.client() as client:
        # Discovery follows a moment after the condition.
        eventually(lambda: "Widget" in client.get("/apis/reach.example.com/v1").text, "Widgets")
    yield found
    found.request("DELETE", f"{CRDS}/widgets.reach.example.com")


def connect(server: Cluster, folder: Path, user: Any = None, cluster: Any = None) -> Connection:
    """A connection over a kubeconfig whose user or cluster was changed."""
    config = server.credentials.kubeconfig(server.url, server.token)
    if user is not None:
        config["users"][0]["user"] = user
    config["clusters"][0]["cluster"] |= cluster or {}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return adhoc_connection(kubeconfig=path, environ={})


async def until_allowed(server: Cluster, account: str, resource: str, name: str = "") -> None:
    """Until the server's own answer knows of a binding, of which it hears a moment after it has stored it."""
    asked = {"verb": "watch", "namespace": "default", "resource": resource, "name": name}
    user = f"system:serviceaccount:default:{account}"
    review = {"spec": {"user": user, "resourceAttributes": asked}}

    def allowed() -> bool:
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(server.request("POST", path, review)["status"]["allowed"])

    await trio.to_thread.run_sync(eventually, allowed, f"{account} may watch {resource}")


async def catalog_of(server: Cluster, folder: Path) -> Catalog:
    async with ApiServer(connect(server, folder)) as api:
        return await discover(api)


def rows(table: str) -> set[tuple[str, str, str, str, str]]:
    """NAME, APIVERSION, KIND, NAMESPACED and VERBS of `kubectl api-resources -o wide --no-headers`."""
    found = set()
    for line in table.splitlines():
        fields = line.split()
        at = next(index for index, field in enumerate(fields) if field in {"true", "false"})
        verbs = ",".join(sorted(fields[at + 2].split(",")))
        found.add((fields[0], fields[at - 1], fields[at + 1], fields[at], verbs))
    return found


async def test_discovery_finds_what_kubectl_finds(server: Cluster, tmp_path: Path) -> None:
    """[L1]"""
    catalog = await catalog_of(server, tmp_path)
    preferred = {one.name: one for one in reversed(catalog.resources)}
    ours = {
        (one.resource, one.api_version, one.kind, str(one.namespaced).lower(), ",".join(sorted(one.verbs)))
        for one in preferred.values()
    }
    assert ours == rows(server.kubectl("api-resources", "-o", "wide", "--no-headers"))
    assert catalog.stale == ()


async def test_the_old_way_of_discovery_finds_the_same(
    server: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[L1]"""
    modern = await catalog_of(server, tmp_path)
    monkeypatch.setattr("bridge.kubernetes.discovery._ACCEPT", "application/json")
    legacy = await catalog_of(server, tmp_path)
    assert set(legacy.resources) == set(modern.resources)
    watchable = [one.name for one in modern.resources if one.watchable]
    assert [legacy.resolve(name) for name in watchable] == [modern.resolve(name) for name in watchable]


SAME_AS_KUBECTL = [
    *("pods", "pod", "po", "Pod", "PODS", "PO", "pods.v1.", "pods.v1", "poddd"),
    *(
        "deploy",
        "deployments.apps",
        "deployments.v1.apps",
        "Deployment.apps",
        "deployment.app",
        "deploy.apps",
    ),
    *("events", "ev", "events.events.k8s.io", "events.v1.events.k8s.io", "events.events", "ev.events.k8s.io"),
    *("widgets", "wdg", "wd", "widgets.reach.example.com", "widgets.v1alpha1.reach.example.com"),
    *("Widget.reach.example.com", "widgets.reach", "po.reach.example.com", "wd.reach", "WIDGETS", "WD"),
    *("hpa", "horizontalpodautoscalers.v1.autoscaling", "sts", "ds", "rs", "rc", "svc", "cm", "secret", "ns"),
    *("no", "node", "pv", "pvc", "sa", "sc", "ing", "netpol", "cj", "job", "crd", "crds", "lease", "roles"),
    *("storageclass.storage", "priorityclass", "pc", "quota", "limits", "ep", "endpointslices", "csr"),
    *("pods,svc,po", "all", "toys", "pods,all", "toys,po,wd", "nosuch", "nosuch.apps", "deployments.v9.apps"),
]


def asked_by_kubectl(server: Cluster, text: str) -> list[str]:
    """The collections that `kubectl get` asks for, from its own log of requests."""
    command = [str(server.kubectl_program), f"--cache-dir={server.directory / 'kubectl-cache'}", "get", text]
    done = subprocess.run(
        [*command, "-A", "-o", "name", "-v", "6"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"KUBECONFIG": str(server.kubeconfig)},
        timeout=60,
    )
    paths = re.findall(rf'url="{server.url}/apis?/([^"?]+)\?limit=500"', done.stderr)
    assert paths or "the server doesn't have a resource type" in done.stderr, done.stderr
    return paths


async def test_names_mean_what_they_mean_to_kubectl(server: Cluster, tmp_path: Path) -> None:
    catalog = await catalog_of(server, tmp_path)
    ours, kubectls = {}, {}
    for text in SAME_AS_KUBECTL:
        try:
            ours[text] = [f"{one.api_version}/{one.resource}" for one in catalog.resolve(text)]
        except UnknownResource:
            ours[text] = []
        kubectls[text] = asked_by_kubectl(server, text)
    assert ours == kubectls


async def test_where_we_differ_from_kubectl_we_do_so_on_purpose(server: Cluster, tmp_path: Path) -> None:
    catalog = await catalog_of(server, tmp_path)
    assert catalog.resolve("wd.v1alpha1.reach.example.com")[0].version == "v1alpha1"
    assert asked_by_kubectl(server, "wd.v1alpha1.reach.example.com") == ["reach.example.com/v1/widgets"]
    assert catalog.resolve("Widget")[0].name == "widgets.reach.example.com"
    assert asked_by_kubectl(server, "Widget") == []
    assert asked_by_kubectl(server, "cs") == ["v1/componentstatuses"]
    with pytest.raises(NotWatchable, match="componentstatuses cannot be watched"):
        catalog.resolve("cs")


async def test_a_token_and_a_client_certificate_both_reach_it(server: Cluster, tmp_path: Path) -> None:
    pair = server.credentials.client_certificate("reacher", "system:masters")
    by_certificate = {"client-certificate": str(pair.certificate_file), "client-key": str(pair.key_file)}
    (tmp_path / "token").write_text(server.token + "\n")
    plugin = tmp_path / "plugin"
    status = {"token": server.token}
    credential = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status}
    plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(credential)}\nEND\n")
    plugin.chmod(0o755)
    by_plugin = {
        "exec": {"apiVersion": credential["apiVersion"], "command": "./plugin", "interactiveMode": "Never"}
    }
    for user in ({"token": server.token}, {"tokenFile": "token"}, by_certificate, by_plugin):
        async with ApiServer(connect(server, tmp_path, user)) as api:
            (await api.get("/api/v1/namespaces/kube-system")).checked()


async def test_the_cluster_is_known_by_its_kube_system(server: Cluster, tmp_path: Path) -> None:
    async with ApiServer(connect(server, tmp_path)) as api:
        namespace = server.request("GET", "/api/v1/namespaces/kube-system")
        assert (await identify_cluster(api)).uid == namespace["metadata"]["uid"]
    account = {"token": server.service_account_token("default", "nobody")}
    async with ApiServer(connect(server, tmp_path, account)) as api:
        # Forbidden, so another one; the same again, though.
        assert (
            (await identify_cluster(api)).uid
            == (await identify_cluster(api)).uid
            != namespace["metadata"]["uid"]
        )


async def test_a_wrong_token_is_told_as_such(server: Cluster, tmp_path: Path) -> None:
    """[K7]"""
    async with ApiServer(connect(server, tmp_path, {"token": "wrong"})) as api:
        words = r'does not accept the token of user "test" of .* \(401 Unauthorized\): it is wrong, expired'
        with pytest.raises(ApiError, match=words):
            await discover(api)


async def test_a_strange_client_certificate_is_told_as_such(server: Cluster, tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("stranger.invalid")
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "crt"))
    pair.private_key_pem.write_to_path(str(tmp_path / "key"))
    user = {"client-certificate": "crt", "client-key": "key"}
    async with ApiServer(connect(server, tmp_path, user)) as api:
        with pytest.raises(ApiError, match=r'does not accept the client certificate of context "test" .*401'):
            await discover(api)


async def test_an_expired_token_is_told_with_its_time(server: Cluster, tmp_path: Path) -> None:
    header, claims = "eyJhbGciOiJub25lIn0", "eyJleHAiOjE2MDAwMDAwMDB9"
    async with ApiServer(connect(server, tmp_path, {"token": f"{header}.{claims}.c2ln"})) as api:
        with pytest.raises(ApiError, match=r"it expired at 2020-09-13 12:26:40Z; get a new one"):
            await api.get("/api/v1/pods")


async def test_no_credential_is_told_as_such(server: Cluster, tmp_path: Path) -> None:
    async with ApiServer(connect(server, tmp_path, {})) as api:
        response = await api.get("/api/v1/pods")
        assert response.status == 403
        with pytest.raises(
            ApiError, match=r'no credential was sent to .* context "test" of .* holds none .*anonymous'
        ):
            response.checked()
        async with api.stream("/api/v1/pods", {"watch": "1"}) as stream:
            assert "no credential was sent" in str(await stream.error())


async def test_a_right_that_is_missing_is_told_and_so_is_the_rule(server: Cluster, tmp_path: Path) -> None:
    account = {"token": server.service_account_token("default", "reach")}
    catalog = await catalog_of(server, tmp_path)
    pods, deployments = catalog.resolve("pods,deployments")
    async with ApiServer(connect(server, tmp_path, account)) as api:
        refused = (await api.get("/api/v1/pods")).error()
        assert (refused.status, refused.reason) == (403, "Forbidden")
        assert 'User "system:serviceaccount:default:reach" cannot list resource "pods"' in str(refused)
        wanted = [Wanted("p", pods, ["default"]), Wanted("d", deployments)]
        missing = await missing_permissions(api, wanted)
        assert [(one.stream, one.namespace, one.verbs) for one in missing] == [
            ("p", "default", ("list", "watch", "get")),
            ("d", "", ("list", "watch", "get")),
        ]
        # The rule that is named is the rule that helps.
        rule = missing[0].rule.replace("- ", "  - ")
        role = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reach, namespace: default}}
rules:
{rule}
"""
        server.kubectl("apply", "-f", "-", input=role)
        binding = ["create", "rolebinding", "reach", "-n", "default", "--role=reach"]
        server.kubectl(*binding, "--serviceaccount=default:reach")
        await until_allowed(server, "reach", "pods")
        assert [one.stream for one in await missing_permissions(api, wanted)] == ["d"]


async def test_rights_for_one_name_are_seen_when_the_name_is_selected(
    server: Cluster, tmp_path: Path
) -> None:
    """[M9]"""
    role = ["create", "role", "one", "-n", "default", "--verb=list,watch,get", "--resource=configmaps"]
    server.kubectl(*role, "--resource-name=one")
    binding = [
        "create",
        "rolebinding",
        "one",
        "-n",
        "default",
        "--role=one",
        "--serviceaccount=default:named",
    ]
    server.kubectl(*binding)
    await until_allowed(server, "named", "configmaps", "one")
    (configmaps,) = (await catalog_of(server, tmp_path)).resolve("configmaps")
    account = {"token": server.service_account_token("default", "named")}
    async with ApiServer(connect(server, tmp_path, account)) as api:
        every, only = (
            Wanted("s", configmaps, ["default"]),
            Wanted("s", configmaps, ["default"], "metadata.name=one"),
        )
        assert await missing_permissions(api, [only]) == []
        assert [one.verbs for one in await missing_permissions(api, [every])] == [("list", "watch", "get")]


async def test_another_name_needs_tls_server_name(server: Cluster, tmp_path: Path) -> None:
    """[J6]"""
    cluster = {"tls-server-name": "kubernetes.example"}
    async with ApiServer(connect(server, tmp_path, None, cluster)) as api:
        with pytest.raises(Unreachable, match=r"for another name .*127\.0\.0\.1"):
            await api.get("/api")
    async with ApiServer(connect(server, tmp_path, None, {"tls-server-name": "localhost"})) as api:
        assert (await api.get("/version")).status == 200


async def test_a_watch_gives_the_server_s_bytes_and_can_be_idle(server: Cluster, tmp_path: Path) -> None:
    async with ApiServer(connect(server, tmp_path)) as api:
        parameters = {"watch": "1", "fieldSelector": "metadata.name=default"}
        async with api.stream("/api/v1/namespaces", parameters) as stream:
            assert (stream.status, stream.headers["content-type"]) == (200, "application/json")
            line = await stream.read(20)
            assert json.loads(line)["object"]["metadata"]["name"] == "default"
            with pytest.raises(Idle):
                await stream.read(0.2)


async def test_a_large_list_comes_gzipped_and_whole(server: Cluster, tmp_path: Path) -> None:
    """[A18]"""
    async with ApiServer(connect(server, tmp_path)) as api:
        response = (await api.get("/openapi/v2")).checked()
        assert response.headers.get("content-encoding") == "gzip"
        assert len(json.loads(response.body)["definitions"]) > 100
