"""The small documents that clients ask for before they watch: versions, discovery, a namespace."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["AGGREGATED", "answer"]

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_VERBS: Final = ["get", "list", "watch"]
_PODS: Final = {
    "resource": "pods",
    "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
    "scope": "Namespaced",
    "singularResource": "pod",
    "verbs": _VERBS,
    "shortNames": ["po"],
    "categories": ["all"],
}
_NAMESPACES: Final = {
    "resource": "namespaces",
    "responseKind": {"group": "", "version": "v1", "kind": "Namespace"},
    "scope": "Cluster",
    "singularResource": "namespace",
    "verbs": _VERBS,
    "shortNames": ["ns"],
}


def answer(path: str, *, aggregated: bool) -> dict[str, Any] | None:
    """The document at a path, None where this server has nothing.

    Args:
        path: without parameters.
        aggregated: the client asked for discovery in one document.
    """
    if path in {"/api", "/apis"} and aggregated:
        return _discovery([_NAMESPACES, _PODS] if path == "/api" else [])
    return _DOCUMENTS.get(path)


def _discovery(resources: list[dict[str, Any]]) -> dict[str, Any]:
    version = {"version": "v1", "freshness": "Current", "resources": resources}
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [{"metadata": {"name": ""}, "versions": [version]}] if resources else [],
    }


def _legacy(described: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": described["resource"],
        "singularName": described["singularResource"],
        "namespaced": described["scope"] == "Namespaced",
        "kind": described["responseKind"]["kind"],
        "verbs": described["verbs"],
        "shortNames": described["shortNames"],
    }


_DOCUMENTS: Final[dict[str, dict[str, Any]]] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.3", "platform": "linux/amd64"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [_legacy(_NAMESPACES), _legacy(_PODS)],
    },
    "/api/v1/namespaces/kube-system": {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {
            "name": "kube-system",
            "uid": "6f1d5a3e-8c0b-4f7e-9d2a-3b5c7e9f1a2b",
            "resourceVersion": "4",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    },
}
