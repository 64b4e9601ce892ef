"""Bodies as a real API server sends them, word for word, and builders for the ordinary ones."""
# ruff: noqa: E501 - a body is one line

import json
from typing import Any

from bridge.kubernetes.scan import Shape

POD = Shape("", "v1", "Pod", builtin=True)
WIDGET = Shape("example.io", "v1", "Widget", builtin=False)

W1 = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 657887 (680402)","reason":"Expired","code":410}}'
W1_OLDER = W1.replace(b'"Expired"', b'"Gone"')
W1_UNCACHED = W1.replace(
    b"too old resource version: 657887 (680402)", b"The resourceVersion for the provided watch is too old."
)
W2 = b'{"kind":"Status","apiVersion":"v1","metadata":{"continue":"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiL3AwMDlcdTAwMDAifQ"},"status":"Failure","message":"The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.","reason":"Expired","code":410}'
W3 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"The resourceVersion for the provided list is too old.","reason":"Expired","code":410}'
W4 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: Too large resource version: 12313646, current: 12313645","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}'
W4_17 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: waiting","reason":"Timeout","details":{"causes":[{"message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}'
W4_16 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Too large resource version: 5, current: 4","reason":"Timeout","code":504}'
W5 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps is forbidden: User \\"system:serviceaccount:kube-system:machine-controller\\" cannot watch configmaps at the cluster scope","reason":"Forbidden","details":{"kind":"configmaps"},"code":403}'
W6 = b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"656063322","annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},"status":{}}}'
W7 = b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"12746","creationTimestamp":null},"spec":{"containers":null},"status":{}}}'
W8 = b'{"type":"MODIFIED","object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"web-0","namespace":"default","uid":"u","resourceVersion":"11020","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"web"}}}}'
W9 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"ListOptions.meta.k8s.io \\"\\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled","reason":"Invalid","details":{"group":"meta.k8s.io","kind":"ListOptions","causes":[{"reason":"FieldValueForbidden","message":"Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled","field":"sendInitialEvents"}]},"code":422}'
W10 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"storage is (re)initializing","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}'
W11 = b"Too many requests, please try again later.\n"
W11_HEADERS = {
    "content-type": "text/plain; charset=utf-8",
    "retry-after": "1",
    "x-content-type-options": "nosniff",
    "x-kubernetes-pf-flowschema-uid": "f",
    "x-kubernetes-pf-prioritylevel-uid": "p",
}
W12 = b"The apiserver is shutting down, please try again later."
W12_HEADERS = {"content-type": "text/plain; charset=utf-8", "retry-after": "5", "connection": "close"}
W12_503 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"apiserver is shutting down","reason":"ServiceUnavailable","code":503}'
W13 = b'{"type":"ERROR","object":{"metadata":{},"status":"Failure","message":"failed to prepare current and previous objects: corrupt object has been deleted","reason":"StorageReadError","code":500}}'
W14 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the request has been made before all known HTTP paths have been installed, please try again","reason":"ServiceUnavailable","details":{"retryAfterSeconds":5},"code":503}'
W15 = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}'
W15_TEXT = b"404 page not found\n"
W16 = b"This request caused apiserver to panic. Look in the logs for details."
W18_HEADERS = {
    "content-type": "application/json",
    "transfer-encoding": "chunked",
    "audit-id": "a",
    "cache-control": "no-cache, private",
    "warning": '299 - "tool.io/v1 Tool is deprecated"',
}
JSON_HEADERS = {"content-type": "application/json"}
UNREADABLE_ON_WATCH = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"resourceVersion: Invalid value: \\"abc\\": strconv.ParseUint: parsing \\"abc\\": invalid syntax","code":500}'
UNREADABLE_ON_LIST = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"invalid resource version: strconv.ParseUint","reason":"BadRequest","code":400}'
DEAD_WEBHOOK = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"storage is (re)initializing: failed to list hook.io/v2, Kind=Hook: conversion webhook for hook.io/v1, Kind=Hook failed: Post connect: connection refused","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}'
NO_PROGRESS_REQUESTS = b'{"kind":"Status","status":"Failure","message":"a watch stream was requested by the client but the required storage feature RequestWatchProgress is disabled","code":500}'
PARSE_ERROR = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"unable to decode","reason":"InternalError","code":500}}'


def error_line(status: bytes) -> bytes:
    """An ERROR event that carries this Status, as a line."""
    return b'{"type":"ERROR","object":' + status + b"}\n"


def pod(name: str, rv: int | str, *, uid: str | None = None, **extra: Any) -> dict[str, Any]:
    """A small Pod."""
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": uid or f"u-{name}",
        "resourceVersion": str(rv),
        **extra,
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {}}


def line(kind: str, document: dict[str, Any]) -> bytes:
    """A watch event with its line end."""
    return (
        json.dumps({"type": kind, "object": document}, separators=(",", ":"), ensure_ascii=False).encode()
        + b"\n"
    )


def added(name: str, rv: int | str, **extra: Any) -> bytes:
    return line("ADDED", pod(name, rv, **extra))


def modified(name: str, rv: int | str, **extra: Any) -> bytes:
    return line("MODIFIED", pod(name, rv, **extra))


def deleted(name: str, rv: int | str, **extra: Any) -> bytes:
    return line("DELETED", pod(name, rv, **extra))


def bookmark(rv: int | str) -> bytes:
    """A periodic bookmark as 1.36 sends it."""
    return (
        b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"%s"},"spec":{"containers":null},"status":{}}}\n'
        % str(rv).encode()
    )


def marker(rv: int | str) -> bytes:
    """The end of the initial events (W-6 with another revision)."""
    return W6.replace(b"656063322", str(rv).encode()) + b"\n"


def page(rv: int | str, *pods: dict[str, Any], follow: str = "") -> bytes:
    """A page of a list as a built-in kind has it: items without kind and apiVersion (W-17)."""
    metadata = {"resourceVersion": str(rv)} | ({"continue": follow} if follow else {})
    items = [
        {key: value for key, value in item.items() if key not in {"kind", "apiVersion"}} for item in pods
    ]
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}
    return json.dumps(document, separators=(",", ":")).encode()


def events_page(rv: int | str) -> bytes:
    """What a probe of Events is answered with."""
    return (
        b'{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"%s"},"items":[]}'
        % str(rv).encode()
    )
