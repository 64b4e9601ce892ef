"""POST, PUT, PATCH and DELETE, with the refusals that a real server would give."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from bridge.simulator.encode import list_item, object_bytes
from bridge.simulator.errors import ApiError, not_found
from bridge.simulator.listing import bytes_response
from bridge.simulator.messages import Bytes, Response, json_body, json_response
from bridge.simulator.selectors import Selector

if TYPE_CHECKING:
    from bridge.simulator.backend import Backend
    from bridge.simulator.encode import Obj
    from bridge.simulator.kinds import Kind
    from bridge.simulator.messages import Request

__all__ = ["Target", "write_response"]

_MERGE_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; an empty name is the collection."""

    kind: Kind
    namespace: str
    name: str = ""
    subresource: str = ""


def write_response(backend: Backend, target: Target, request: Request) -> Response:
    """Performs a write.

    Raises:
        ApiError: the server refuses it.
    """
    if request.method == "POST":
        return _create(backend, target, request)
    if request.method == "PUT":
        return _replace(backend, target, request)
    if request.method == "PATCH":
        return _patch(backend, target, request)
    return _delete(backend, target, request) if target.name else _delete_collection(backend, target, request)


def _create(backend: Backend, target: Target, request: Request) -> Response:
    obj = json_body(request)
    kind = target.kind
    metadata = obj.setdefault("metadata", {})
    if metadata.pop("resourceVersion", ""):
        message = "resourceVersion should not be set on objects to be created"
        raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "", message)
    if not metadata.get("name") and not metadata.get("generateName"):
        raise _nameless(kind)
    if kind.namespaced:
        metadata["namespace"] = target.namespace
        _check_namespace(backend, target, metadata.get("name", ""))
    created = backend.cluster.create(kind.resource, obj, manager=_manager(request))
    return _object(created, kind, HTTPStatus.CREATED)


def _check_namespace(backend: Backend, target: Target, name: str) -> None:
    namespace = backend.cluster.get("namespaces", target.namespace)
    if namespace is None:
        raise not_found(backend.cluster.kinds.named("namespaces"), target.namespace)
    if namespace["status"]["phase"] != "Terminating":
        return
    why = f"namespace {target.namespace} is being terminated"
    cause = {"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}
    group = {"group": target.kind.group} if target.kind.group else {}
    raise ApiError(
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        f'{target.kind.resource} "{name}" is forbidden: unable to create new content in namespace '
        f"{target.namespace} because it is being terminated",
        details={"name": name} | group | {"kind": target.kind.plural, "causes": [cause]},
    )


def _nameless(kind: Kind) -> ApiError:
    required = "name or generateName is required"
    group = {"group": kind.group} if kind.group else {}
    cause = {"reason": "FieldValueRequired", "message": f"Required value: {required}"}
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'{kind.kind} "" is invalid: metadata.name: Required value: {required}',
        details=group | {"kind": kind.kind, "causes": [cause | {"field": "metadata.name"}]},
    )


def _replace(backend: Backend, target: Target, request: Request) -> Response:
    obj = json_body(request)
    obj.setdefault("metadata", {})["name"] = target.name
    if target.kind.namespaced:
        obj["metadata"]["namespace"] = target.namespace
    updated = backend.cluster.update(
        target.kind.resource, obj, manager=_manager(request), subresource=target.subresource
    )
    return _object(updated, target.kind)


def _patch(backend: Backend, target: Target, request: Request) -> Response:
    content_type = request.headers.get("content-type", "").partition(";")[0]
    if content_type not in _MERGE_PATCHES:
        message = "the body of the request was in an unknown format - accepted media types include: "
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message + ", ".join(_MERGE_PATCHES)
        )
    patched = backend.cluster.patch(
        target.kind.resource,
        target.name,
        json_body(request),
        target.namespace,
        manager=_manager(request),
        subresource=target.subresource,
    )
    return _object(patched, target.kind)


def _delete(backend: Backend, target: Target, request: Request) -> Response:
    kind = target.kind
    cluster = backend.cluster
    before = cluster.get(kind.resource, target.name, target.namespace)
    if before is None:
        raise not_found(kind, target.name)
    uid = before["metadata"]["uid"]
    options = json_body(request) if request.body else {}
    wanted = options.get("preconditions", {}).get("uid", uid)
    if wanted != uid:
        message = (
            f'Operation cannot be fulfilled on {kind.kind} "{target.name}": the UID in the precondition '
            f"({wanted}) does not match the UID in record ({uid}). The object might have been deleted and "
            "then recreated"
        )
        details = {"name": target.name, "kind": kind.kind}
        raise ApiError(HTTPStatus.CONFLICT, "Conflict", message, details=details)
    grace = _grace_seconds(before, options) if kind.resource == "pods" else None
    deleted = cluster.delete(kind.resource, target.name, target.namespace, grace_seconds=grace)
    if grace == 0 and not deleted["metadata"].get("finalizers"):
        deleted = cluster.delete(kind.resource, target.name, target.namespace)
    gone = cluster.get(kind.resource, target.name, target.namespace) is None
    if gone and not kind.returns_deleted:
        group = {"group": kind.group} if kind.group else {}
        details = {"name": target.name} | group | {"kind": kind.plural, "uid": uid}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return json_response(status | {"details": details})
    return _object(before if gone else deleted, kind)


def _grace_seconds(pod: Obj, options: Obj) -> int | None:
    """How long a kubelet may take to stop a Pod; None is at once, 0 is at once but marked before."""
    wanted = options.get("gracePeriodSeconds")
    if wanted == 0:
        return None
    if not pod.get("spec", {}).get("nodeName") or pod["status"].get("phase") in {"Succeeded", "Failed"}:
        return 0
    return int(wanted or pod["spec"].get("terminationGracePeriodSeconds", 30))


def _delete_collection(backend: Backend, target: Target, request: Request) -> Response:
    kind = target.kind
    query = request.query
    selector = Selector.parse(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    cluster = backend.cluster
    found = [obj for obj in cluster.objects(kind.resource, target.namespace) if selector.matches(obj)]
    for obj in found:
        cluster.delete(kind.resource, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
    items = b",".join(list_item(obj, kind) for obj in found)
    names = kind.kind.encode(), kind.api_version.encode(), cluster.revision, items
    body = b'{"kind":"%sList","apiVersion":"%s","metadata":{"resourceVersion":"%d"},"items":[%s]}\n' % names
    return bytes_response(iter([body]), gzip=False)


def _object(obj: Obj, kind: Kind, status: int = HTTPStatus.OK) -> Response:
    return Response(status, Bytes(object_bytes(obj, kind) + b"\n"))


def _manager(request: Request) -> str:
    return request.query.get("fieldManager") or request.headers.get("user-agent", "unknown").partition("/")[0]
