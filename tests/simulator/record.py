"""Records watch lines and list pages of a real server for tests: python -m tests.simulator.record.

Lines go to tests/kubernetes/recorded/KIND.jsonl, whole lists to recorded/pages/KIND.json, byte for byte as
they came. They hold no secret: the Secret's values are made up here, the cluster lives for this run only.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.components.cluster import Cluster
from tests.simulator.differential import CRD, DECOYS, GROUP

FOLDER = Path(__file__).parent.parent / "kubernetes" / "recorded"
NAMESPACE = "shop"
GROUPS = {
    "configmaps": "/api/v1",
    "secrets": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "deployments": "/apis/apps/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "widgets": f"/apis/{GROUP}/v1",
}
MARKED = ("configmaps", "pods", "events", "deployments", "leases", "widgets")
STREAMED = {
    "watch": "1",
    "timeoutSeconds": "1",
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
    "fieldSelector": "metadata.name=nothing",
}


class Recorder:
    """A namespace of a real cluster in which things happen."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def path(self, plural: str, name: str = "") -> str:
        """Where a collection, or one of its objects, is."""
        return f"{GROUPS[plural]}/namespaces/{NAMESPACE}/{plural}" + (f"/{name}" if name else "")

    def create(self, plural: str, body: dict[str, Any]) -> None:
        """Adds an object."""
        self.cluster.request("POST", self.path(plural), body)

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> None:
        """Merges into an object."""
        with self.cluster.client() as client:
            headers = {"Content-Type": "application/merge-patch+json"}
            client.patch(self.path(plural, name), json=body, headers=headers).raise_for_status()

    def delete(self, plural: str, name: str) -> None:
        """Deletes an object at once."""
        with self.cluster.client() as client:
            body = {"gracePeriodSeconds": 0}
            client.request("DELETE", self.path(plural, name), json=body).raise_for_status()

    def read(self, plural: str, **query: str) -> bytes:
        """The bytes of a list or of a short watch."""
        with self.cluster.client() as client:
            answer = client.get(self.path(plural), params=query)
        return answer.raise_for_status().content

    def revision(self, plural: str) -> str:
        """Where a watch would begin now."""
        listed = self.cluster.request("GET", self.path(plural))
        return str(listed["metadata"]["resourceVersion"])


def _metadata(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": "web"}, "annotations": DECOYS}}


def _simple_kinds(recorder: Recorder) -> None:
    recorder.create("configmaps", _metadata("settings") | {"data": DECOYS})
    recorder.create("secrets", _metadata("made-up") | {"data": {"password": "eHh4"}, "type": "Opaque"})
    about = {"kind": "ConfigMap", "namespace": NAMESPACE, "name": "settings"}
    event = {"involvedObject": about, "reason": "Probe", "message": DECOYS["before"], "type": "Warning"}
    recorder.create("events", _metadata("settings.1") | event)
    recorder.create(
        "leases", _metadata("holder") | {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    )
    odd = {"resourceVersion": "1", "uid": "decoy", "numbers": [1.0, 1.5, 1e21, 1e-7, 2**63 - 1, 2**64 - 1]}
    widget = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "spec": {"color": "red"}}
    recorder.create("widgets", _metadata("w0") | widget | {'"q': odd, "Zed": odd, "aaa": {"metadata": odd}})
    names = ("configmaps", "settings"), ("secrets", "made-up"), ("events", "settings.1")
    for plural, name in (*names, ("leases", "holder"), ("widgets", "w0")):
        recorder.patch(plural, name, {"metadata": {"annotations": {"changed": "yes"}}})
        recorder.delete(plural, name)


def _rollout(recorder: Recorder) -> None:
    """A Deployment whose Pod the real controllers make; the kubelet's part is ours."""
    container = {
        "name": "web",
        "image": "registry.example/web:1",
        "env": [{"name": "DECOY", "value": DECOYS["before"]}],
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    recorder.create("deployments", _metadata("web") | {"spec": spec})
    while not (pods := recorder.cluster.request("GET", recorder.path("pods"))["items"]):
        time.sleep(0.1)
    name = pods[0]["metadata"]["name"]
    running = {
        "name": "web",
        "ready": True,
        "restartCount": 0,
        "image": "registry.example/web:1",
        "imageID": "x",
    }
    state = running | {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    status = {"phase": "Running", "podIP": "10.244.0.7", "containerStatuses": [state]}
    recorder.patch("pods", f"{name}/status", {"status": status})
    time.sleep(1)  # the controllers answer
    recorder.delete("deployments", "web")
    while recorder.cluster.request("GET", recorder.path("pods"))["items"]:  # the garbage collector takes it
        time.sleep(0.1)


def record(cluster: Cluster, folder: Path) -> None:
    """Lets things happen and writes down what the server tells of them."""
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    cluster.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    recorder = Recorder(cluster)
    with cluster.client() as client:
        while not client.get(recorder.path("widgets")).is_success:
            time.sleep(0.1)
    before = {plural: recorder.revision(plural) for plural in GROUPS}
    _simple_kinds(recorder)
    _rollout(recorder)
    for plural, revision in before.items():
        lines = recorder.read(plural, watch="1", timeoutSeconds="1", resourceVersion=revision)
        (folder / f"{plural}.jsonl").write_bytes(lines)
    (folder / "bookmarks.jsonl").write_bytes(b"".join(recorder.read(plural, **STREAMED) for plural in MARKED))
    _pages(recorder, folder / "pages")


def _pages(recorder: Recorder, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(3):
        recorder.create("configmaps", _metadata(f"c{number}") | {"data": DECOYS})
        widget = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Widget",
            "spec": {"items": [], "metadata": {"uid": "decoy"}},
        }
        recorder.create("widgets", _metadata(f"w{number}") | widget)
    for plural in ("configmaps", "widgets"):
        (folder / f"{plural}.json").write_bytes(recorder.read(plural))
        (folder / f"{plural}-first.json").write_bytes(recorder.read(plural, limit="2"))
    (folder / "secrets-empty.json").write_bytes(recorder.read("secrets"))


if __name__ == "__main__":
    with Cluster(controllers=True) as real_cluster:
        record(real_cluster, FOLDER)
    print(
        *sorted(f"{path.relative_to(FOLDER)} {path.stat().st_size}" for path in FOLDER.rglob("*.json*")),
        sep="\n",
    )
