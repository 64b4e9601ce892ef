"""What is asked of an API server: paths, parameters, scope. No I/O here.

Selectors are the same bytes in every request of one watch [M2]: a page, a watch or a probe with
another selector answers another question, and a continue token with one is accepted silently
(real-apiserver 4.4). The deprecated `/watch/` paths are never built [B22].
"""

from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote, urlencode

import msgspec

from bridge.errors import InvariantError

__all__ = [
    "LATEST_EVENT_PATH",
    "Request",
    "Resource",
    "Scope",
    "collection_path",
    "describe",
    "page_request",
    "probe_request",
    "streaming_list_request",
    "watch_request",
]

_NOT_SHOWN: Final = {"continue", "timeoutSeconds", "allowWatchBookmarks", "resourceVersionMatch"}
_STREAM_HEAD_SECONDS: Final = 60.0
_WATCH_HEAD_SECONDS: Final = 120.0
"""Some proxies hold back the head until the first event [B20]."""
_PAGE_SECONDS: Final = 90.0
"""More than the server's own 60 s, so that its 504 is heard."""
_PROBE_SECONDS: Final = 10.0

LATEST_EVENT_PATH: Final = "/api/v1/namespaces/default/events"
"""A list of an uncached kind: the one cheap read whose revision is etcd's own (real-apiserver 8.4)."""


class Resource(Protocol):
    """What discovery knows of a resource, as far as it is needed to ask for it."""

    @property
    def group(self) -> str:
        """API group, "" for core."""
        ...

    @property
    def version(self) -> str:
        """As `v1`."""
        ...

    @property
    def resource(self) -> str:
        """Plural, as `pods`."""
        ...

    @property
    def namespaced(self) -> bool:
        """Whether its objects live in namespaces."""
        ...


class Scope(msgspec.Struct, frozen=True):
    """Which objects of a resource are watched.

    Attributes:
        namespace: one namespace, "" for all (and for cluster-scoped resources).
        label_selector: exactly as configured, "" for none.
        field_selector: exactly as configured, "" for none.
    """

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    def parameters(self) -> dict[str, str]:
        """The query parameters that every request of this scope carries."""
        both = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in both.items() if value}


class Request(msgspec.Struct, frozen=True):
    """One request that the protocol wants made.

    Attributes:
        path: absolute path, encoded.
        params: query parameters, not encoded.
        streaming: read the answer's body piece by piece as it comes; otherwise as a whole.
        patience: seconds to wait for the head of the answer (streaming) or for all of it.
        listing: part of a complete listing, of which only some may run at once [A24].
    """

    path: str
    params: Mapping[str, str]
    streaming: bool
    patience: float
    listing: bool


def collection_path(resource: Resource, scope: Scope) -> str:
    """Path of the collection; a namespace is ignored for a cluster-scoped resource [M8]."""
    root = f"/apis/{quote(resource.group, safe='')}" if resource.group else "/api"
    parts = [root, quote(resource.version, safe="")]
    if scope.namespace and resource.namespaced:
        parts += ["namespaces", quote(scope.namespace, safe="")]
    return "/".join([*parts, quote(resource.resource, safe="")])


def describe(request: Request) -> str:
    """The request for a person, the same for every attempt; no credential is in a path or parameter."""
    shown = {name: value for name, value in request.params.items() if name not in _NOT_SHOWN}
    return f"GET {request.path}{'?' if shown else ''}{urlencode(shown)}"


def watch_request(path: str, scope: Scope, rv: str, seconds: int) -> Request:
    """A watch from a revision [B1]; never from none or "0", which would silently skip deletions [B2]."""
    if rv in {"", "0"}:
        raise InvariantError("a watch was about to start without a revision")
    params = _watch_parameters(scope, seconds) | {"resourceVersion": rv}
    return Request(path, params, streaming=True, patience=_WATCH_HEAD_SECONDS, listing=False)


def streaming_list_request(path: str, scope: Scope, seconds: int) -> Request:
    """A streaming list (KEP-3157) of a consistent snapshot, for it names no revision [F1]."""
    params = _watch_parameters(scope, seconds)
    params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    return Request(path, params, streaming=True, patience=_STREAM_HEAD_SECONDS, listing=True)


def page_request(path: str, params: Mapping[str, str]) -> Request:
    """One page of a list."""
    return Request(path, params, streaming=False, patience=_PAGE_SECONDS, listing=True)


def probe_request(path: str, params: Mapping[str, str]) -> Request:
    """A small consistent read."""
    return Request(path, params, streaming=False, patience=_PROBE_SECONDS, listing=False)


def _watch_parameters(scope: Scope, seconds: int) -> dict[str, str]:
    fixed = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
    return fixed | scope.parameters()
