"""Objects that the tests write, and where they live."""

import uuid
from collections.abc import Iterable
from typing import Any

from tests.components.cluster import Cluster
from tests.components.process import eventually

__all__ = ["CONFIGMAPS", "CRDS", "SECRETS", "actual", "configmap", "crd", "install", "new_namespace", "pod"]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONFIGMAPS = "/api/v1/namespaces/{}/configmaps"
SECRETS = "/api/v1/namespaces/{}/secrets"


def configmap(name: str, value: str = "1", **metadata: Any) -> dict[str, Any]:
    """A ConfigMap."""
    return {"metadata": {"name": name, **metadata}, "data": {"value": value}}


def pod(name: str) -> dict[str, Any]:
    """A Pod that no kubelet will ever run."""
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "none.invalid/x:1"}]},
    }


def crd(plural: str, group: str, *, scope: str = "Namespaced") -> dict[str, Any]:
    """A CustomResourceDefinition that takes any object."""
    kind = plural.removesuffix("s").capitalize()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": plural.removesuffix("s"), "kind": kind},
            "versions": [version],
        },
    }


def install(cluster: Cluster, plural: str, group: str) -> None:
    """Install a custom resource and wait until it is served."""
    cluster.request("POST", CRDS, crd(plural, group))

    def served() -> bool:
        with cluster.client() as client:
            return (
                client.get(f"/apis/{group}/v1/{plural}").is_success
                and plural in client.get(f"/apis/{group}/v1").text
            )

    eventually(served, f"{plural}.{group} to be served")


def new_namespace(cluster: Cluster, prefix: str = "e2e") -> str:
    """Make a namespace with a short name that nobody has; returns the name."""
    name = f"{prefix}-{uuid.uuid4().hex[:6]}"
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def actual(cluster: Cluster, paths: Iterable[str]) -> dict[tuple[str, str, str], tuple[str, str]]:
    """What the server says exists under collection paths, in the shape of `program.fold`."""
    found = {}
    for path in paths:
        for item in cluster.request("GET", path)["items"]:
            metadata = item["metadata"]
            key = (path.rpartition("/")[2], metadata.get("namespace", ""), metadata["name"])
            found[key] = (metadata["uid"], metadata["resourceVersion"])
    return found
