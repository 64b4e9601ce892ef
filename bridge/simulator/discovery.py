"""Which resources are served: aggregated and group by group."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from bridge.simulator.encode import dumps
from bridge.simulator.messages import Bytes, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.simulator.encode import Obj
    from bridge.simulator.kinds import Kind, Registry
    from bridge.simulator.messages import Request

__all__ = ["discovery_response", "wants_aggregated"]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_CUSTOM_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
_STATUS_VERBS = ["get", "patch", "update"]
_CLIENT_CIDRS = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}]


def wants_aggregated(accept: str) -> bool:
    """Whether an Accept header asks for aggregated discovery first, its parameters in any order."""
    parameters = {part.strip() for part in accept.partition(",")[0].split(";")}
    return {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parameters


def discovery_response(kinds: Registry, request: Request, *, aggregated: bool = True) -> Response | None:
    """Answers below /api and /apis; None for a path that does not exist."""
    path = request.path.strip("/").split("/")
    if len(path) == 1:
        core = path == ["api"]
        chosen = [kind for kind in kinds if (not kind.group) is core]
        if aggregated and wants_aggregated(request.headers.get("accept", "")):
            return _aggregated(chosen, request)
        return json_response(_versions() if core else _groups(chosen))
    if path[0] == "apis" and len(path) == 2:  # noqa: PLR2004 - /apis/GROUP
        chosen = [kind for kind in kinds if kind.group == path[1]]
        return json_response(_with_type("APIGroup", _group(chosen))) if chosen else None
    group, version = ("", path[1]) if path[0] == "api" else (path[1], path[2])
    chosen = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    return json_response(_resources(chosen)) if chosen else None


def _versions() -> Obj:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": _CLIENT_CIDRS}


def _with_type(kind: str, obj: Obj) -> Obj:
    return {"kind": kind, "apiVersion": "v1"} | obj


def _groups(kinds: list[Kind]) -> Obj:
    names = dict.fromkeys(kind.group for kind in kinds)
    groups = [_group([kind for kind in kinds if kind.group == name]) for name in names]
    return _with_type("APIGroupList", {"groups": groups})


def _group(kinds: list[Kind]) -> Obj:
    versions = [
        {"groupVersion": f"{kinds[0].group}/{version}", "version": version}
        for version in _version_names(kinds)
    ]
    return {"name": kinds[0].group, "versions": versions, "preferredVersion": versions[0]}


def _version_names(kinds: Iterable[Kind]) -> list[str]:
    return list(dict.fromkeys(kind.version for kind in kinds))


def _resources(kinds: list[Kind]) -> Obj:
    resources: list[Obj] = []
    for kind in sorted(kinds, key=lambda kind: kind.plural):
        resources.append(_resource(kind, kind.plural, _verbs(kind)))
        if kind.status:
            resources.append(_resource(kind, f"{kind.plural}/status", _STATUS_VERBS))
    head: Obj = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if kinds[0].group else {})
    return head | {"groupVersion": kinds[0].api_version, "resources": resources}


def _resource(kind: Kind, name: str, verbs: list[str]) -> Obj:
    whole = "/" not in name
    return {
        "name": name,
        "singularName": kind.singular if whole else "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs,
        **({"shortNames": list(kind.short_names)} if whole and kind.short_names else {}),
        **({"categories": list(kind.categories)} if whole and kind.categories else {}),
        **({"storageVersionHash": _hash(kind)} if whole else {}),
    }


def _verbs(kind: Kind) -> list[str]:
    if kind.resource == "namespaces":
        return [verb for verb in _VERBS if verb != "deletecollection"]
    return _CUSTOM_VERBS if kind.custom else _VERBS


def _hash(kind: Kind) -> str:
    digest = hashlib.sha256(f"{kind.api_version}/{kind.kind}".encode()).digest()[:8]
    return base64.b64encode(digest).decode()


def _aggregated(kinds: list[Kind], request: Request) -> Response:
    groups = dict.fromkeys(kind.group for kind in kinds)
    items = [_discovered_group([kind for kind in kinds if kind.group == group]) for group in groups]
    document: Obj = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}
    body = dumps(document | {"metadata": {}, "items": items}) + b"\n"
    tag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("if-none-match") == tag:
        return Response(304, Bytes(b""), "", headers)
    return Response(200, Bytes(body), AGGREGATED, headers)


def _discovered_group(kinds: list[Kind]) -> Obj:
    metadata: dict[str, Any] = {"name": kinds[0].group} if kinds[0].group else {}
    versions = []
    for version in _version_names(kinds):
        served = sorted((kind for kind in kinds if kind.version == version), key=lambda kind: kind.plural)
        resources = [_discovered_resource(kind) for kind in served]
        versions.append({"version": version, "resources": resources, "freshness": "Current"})
    return {"metadata": metadata, "versions": versions}


def _discovered_resource(kind: Kind) -> Obj:
    # The real server leaves group and version empty where they are those of the list itself.
    group, version = (kind.group, kind.version) if kind.custom else ("", "")
    response = {"group": group, "version": version, "kind": kind.kind}
    status = {"subresource": "status", "responseKind": response, "verbs": _STATUS_VERBS}
    return {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
        **({"subresources": [status]} if kind.status else {}),
    }
