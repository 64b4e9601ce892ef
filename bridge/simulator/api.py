"""From a request to a response: routing, authentication, content negotiation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from bridge.simulator.access import Attempt
from bridge.simulator.discovery import discovery_response
from bridge.simulator.encode import object_bytes
from bridge.simulator.errors import ApiError, not_found
from bridge.simulator.listing import bytes_response, list_response
from bridge.simulator.messages import PLAIN_TEXT, Bytes, Response, json_body, json_response, refusal
from bridge.simulator.options import ListOptions
from bridge.simulator.watching import watch_response
from bridge.simulator.writing import Target, write_response

if TYPE_CHECKING:
    from bridge.simulator.backend import Backend
    from bridge.simulator.messages import Request

__all__ = ["Api"]

_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NOT_ACCEPTABLE = (
    "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
    "application/vnd.kubernetes.protobuf;stream=watch"
)


@dataclass(frozen=True, slots=True)
class _ResourcePath:
    group: str
    version: str
    namespace: str
    plural: str
    name: str
    subresource: str


def _resource_path(path: str) -> _ResourcePath | None:
    """Takes apart /api/v1/… and /apis/GROUP/VERSION/…, perhaps in a namespace; None for any other path."""
    root, *parts = path.strip("/").split("/")
    if root not in {"api", "apis"}:
        return None
    group = parts.pop(0) if root == "apis" and parts else ""
    if len(parts) < 2:  # noqa: PLR2004 - a version and a resource
        return None
    version, *rest = parts
    namespace = ""
    # /namespaces/NAME/status is the namespace's own, /namespaces/NAME/pods is in it.
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":  # noqa: PLR2004 - as above
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = [*rest, "", ""][:3]
    return _ResourcePath(group, version, namespace, plural, name, subresource)


class Api:
    """The application that both transports drive."""

    def __init__(self, backend: Backend, *, version: str = "v1.36.3", aggregated: bool = True) -> None:
        self._backend = backend
        self._version = version
        self._aggregated = aggregated

    async def handle(self, request: Request) -> Response:
        """Answers one request; a refusal is a response too."""
        await trio.lowlevel.checkpoint()
        try:
            response = await self._route(request)
        except ApiError as error:
            response = refusal(error)
        audit = str(uuid.UUID(int=self._backend.random.getrandbits(128), version=4))
        response.headers = {"Audit-Id": audit, "Cache-Control": "no-cache, private"} | response.headers
        return response

    async def _route(self, request: Request) -> Response:
        if request.path == _REVIEW and request.method == "POST":
            return self._review(request)
        asked = _resource_path(request.path)
        if asked is not None:
            target = self._target(asked)
            if target is not None:
                return await self._resource(request, target)
            # Who has no right on it does not learn whether it exists.
            verb = _verb(request, asked.name)
            attempt = Attempt(verb, asked.group, asked.plural, asked.namespace, asked.name)
            self._backend.access.check(request.headers, attempt)
        faulty = await self._backend.faults.before("discovery", "")
        if faulty is not None:
            return faulty
        self._backend.access.check_path(request.headers, request.path)
        found = None if asked is not None else self._plain(request)
        if found is None and self._is_built_in(request.path):
            message = "the server could not find the requested resource"
            raise ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, details={})
        return found or Response(HTTPStatus.NOT_FOUND, Bytes(b"404 page not found\n"), PLAIN_TEXT)

    def _is_built_in(self, path: str) -> bool:
        """Whether a missing path lies below a group that the server itself has."""
        parts = [*path.strip("/").split("/"), ""]
        groups = {kind.group for kind in self._backend.cluster.kinds if not kind.custom}
        return parts[0] == "api" or (parts[0] == "apis" and bool(parts[1]) and parts[1] in groups)

    def _plain(self, request: Request) -> Response | None:
        """Health, version and discovery: what is not about a resource."""
        if request.path in {"/healthz", "/livez", "/readyz"}:
            return Response(HTTPStatus.OK, Bytes(b"ok"), PLAIN_TEXT)
        if request.path == "/version":
            return self._version_response()
        if request.path.startswith("/api") and request.path.strip("/").count("/") < 3:  # noqa: PLR2004 - /apis/G/V
            return discovery_response(self._backend.cluster.kinds, request, aggregated=self._aggregated)
        return None

    async def _resource(self, request: Request, target: Target) -> Response:
        verb = _verb(request, target.name)
        kind = target.kind
        faults = self._backend.faults
        faulty = await faults.before(verb, kind.resource)
        if faulty is not None:
            return faulty
        attempt = Attempt(verb, kind.group, kind.plural, target.namespace, _attempted_name(request, target))
        self._backend.access.check(request.headers, attempt)
        if verb in _WRITES.values() or verb == "deletecollection":
            return write_response(self._backend, target, request)
        _check_accept(request.headers.get("accept", "*/*"))
        gzip = "gzip" in {part.strip() for part in request.headers.get("accept-encoding", "").split(",")}
        if verb == "get":
            return self._get(target, gzip=gzip)
        options = ListOptions.parse(request.query, watch_list=self._backend.watch_list)
        if verb == "watch":
            response = await watch_response(self._backend, kind, target.namespace, options)
        else:
            response = await list_response(self._backend, kind, target.namespace, options, gzip=gzip)
        response.body = faults.spoiled(response.body, verb, kind.resource)
        return response

    def _get(self, target: Target, *, gzip: bool) -> Response:
        obj = self._backend.cluster.get(target.kind.resource, target.name, target.namespace)
        if obj is None:
            raise not_found(target.kind, target.name)
        return bytes_response(iter([object_bytes(obj, target.kind), b"\n"]), gzip=gzip)

    def _target(self, asked: _ResourcePath) -> Target | None:
        """What a path names, if it exists."""
        kind = self._backend.cluster.kinds.find(asked.group, asked.version, asked.plural)
        if kind is None or (asked.namespace and not kind.namespaced):
            return None
        if kind.namespaced and asked.name and not asked.namespace:
            return None
        if asked.subresource not in {"", "status" * kind.status}:
            return None
        return Target(kind, asked.namespace, asked.name, asked.subresource)

    def _review(self, request: Request) -> Response:
        """A SelfSubjectAccessReview."""
        review = json_body(request)
        wanted = review.get("spec", {}).get("resourceAttributes", {})
        attempt = Attempt(
            wanted.get("verb", ""),
            wanted.get("group", ""),
            wanted.get("resource", ""),
            wanted.get("namespace", ""),
            wanted.get("name", ""),
        )
        allowed = self._backend.access.may(request.headers, attempt)
        reason = {"reason": "RBAC: allowed by a rule of the simulator"} if allowed else {}
        head = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        body = {"metadata": {}, "spec": review.get("spec", {}), "status": {"allowed": allowed} | reason}
        return json_response(head | body, HTTPStatus.CREATED)

    def _version_response(self) -> Response:
        major, minor, _ = self._version.removeprefix("v").split(".")
        return json_response(
            {
                "major": major,
                "minor": minor,
                "gitVersion": self._version,
                "gitCommit": "",
                "gitTreeState": "",
                "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "simulator",
                "compiler": "none",
                "platform": "simulator",
            }
        )


def _verb(request: Request, name: str) -> str:
    if request.method in _WRITES:
        verb = _WRITES[request.method]
        return "deletecollection" if verb == "delete" and not name else verb
    if request.method != "GET":
        message = "the server does not allow this method on the requested resource"
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    if name:
        return "get"
    return "watch" if request.query.get("watch", "").lower() not in {"", "0", "false"} else "list"


def _attempted_name(request: Request, target: Target) -> str:
    """A list of one name, by field selector, counts as a request for that object."""
    if target.name:
        return target.name
    key, _, name = request.query.get("fieldSelector", "").partition("=")
    return name if key == "metadata.name" and "," not in name else ""


def _check_accept(accept: str) -> None:
    """Takes plain JSON only, wherever in the list it stands."""
    for choice in accept.split(","):
        media_type, *parameters = [part.strip() for part in choice.split(";")]
        transformed = any(parameter.startswith("as=") for parameter in parameters)
        if media_type in {"application/json", "application/*", "*/*"} and not transformed:
            return
    raise ApiError(HTTPStatus.NOT_ACCEPTABLE, "NotAcceptable", _NOT_ACCEPTABLE, details={})
