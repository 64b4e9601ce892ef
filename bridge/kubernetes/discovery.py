"""What a cluster offers: its resources, and which cluster it is.

Two requests tell it all on every server since 1.26 (KEP-3352, aggregated discovery); older ones, and some
proxies, are asked group by group ([L1]). A group that did not answer is unknown, not absent ([L2]).
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import trio

from bridge.kubernetes.apiserver import ApiError, ApiServer, Response
from bridge.kubernetes.catalog import Catalog, Resource
from bridge.kubernetes.failures import Interrupted, Unreachable
from bridge.kubernetes.tls import authority_pem

__all__ = ["Catalog", "Identity", "Resource", "discover", "identify_cluster"]

# The order of the parameters is fixed by the server's parser: g, v, as.
_AGGREGATED: Final = ",".join(
    [f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1")]
)
_ACCEPT: Final = f"{_AGGREGATED},application/json"
_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403
_NOT_ACCEPTABLE: Final = 406
_Texts = Sequence[str] | None
_Document = TypeVar("_Document")


class _Named(msgspec.Struct):
    name: str = ""


class _Kind(msgspec.Struct):
    kind: str = ""


class _Served(msgspec.Struct, rename="camel"):
    """A resource in an aggregated document."""

    resource: str
    response_kind: _Kind | None = None
    scope: str = ""
    singular_resource: str = ""
    verbs: _Texts = None
    short_names: _Texts = None
    categories: _Texts = None


class _Version(msgspec.Struct):
    version: str
    resources: Sequence[_Served] | None = None
    freshness: str = ""


class _Group(msgspec.Struct):
    metadata: _Named
    versions: Sequence[_Version] | None = None


class _Groups(msgspec.Struct):
    items: Sequence[_Group] | None = None


class _CoreVersions(msgspec.Struct):
    """/api of an old server."""

    versions: Sequence[str] | None = None


class _LegacyVersion(msgspec.Struct):
    version: str


class _LegacyGroup(msgspec.Struct, rename="camel"):
    name: str
    versions: Sequence[_LegacyVersion] | None = None
    preferred_version: _LegacyVersion | None = None


class _LegacyGroups(msgspec.Struct):
    """/apis of an old server."""

    groups: Sequence[_LegacyGroup] | None = None


class _LegacyResource(msgspec.Struct, rename="camel"):
    name: str
    kind: str
    namespaced: bool = False
    singular_name: str = ""
    verbs: _Texts = None
    short_names: _Texts = None
    categories: _Texts = None


class _LegacyResources(msgspec.Struct):
    """/apis/GROUP/VERSION of an old server."""

    resources: Sequence[_LegacyResource] | None = None


class _NamespaceMetadata(msgspec.Struct):
    uid: str = ""


class _Namespace(msgspec.Struct):
    metadata: _NamespaceMetadata


_Half = tuple[list[Resource], list[str]]
"""The resources of /api or of /apis, and the group/versions that did not answer."""


class Identity(msgspec.Struct, frozen=True):
    """Which cluster it is that answers.

    Attributes:
        uid: part of every record's id: of its kube-system namespace, or `trust` in place of that.
        trust: hash of its certificate authority; without one of its own, of its address.
        assumed: the uid may not be read any more; it was before, from whoever has this authority.
    """

    uid: str
    trust: str
    assumed: bool = False


async def discover(api: ApiServer) -> Catalog:
    """Ask what the server offers.

    Raises:
        ApiError: discovery is not allowed, or what answers is no Kubernetes API server.
        Unreachable: see `ApiServer.get`.
    """
    # At start a person waits for these two, and each costs a round trip.
    (core, core_stale), (groups, groups_stale) = await _gather(
        [lambda: _discover_half(api, "/api"), lambda: _discover_half(api, "/apis")]
    )
    if not core and not groups and not core_stale and not groups_stale:
        raise ApiError(f"{api.connection.server} offers no resources at all", status=_NOT_FOUND)
    return Catalog([*core, *groups], [*core_stale, *groups_stale])


async def identify_cluster(api: ApiServer, known: str | None = None, known_by: str | None = None) -> Identity:
    """Identify the cluster: the uid of its kube-system namespace, which nobody can delete.

    Where that may not be read: a hash of the CA, which a cluster does not share with another
    one; without a CA of its own, a hash of the address. The caller keeps the first answer.

    Args:
        api: the cluster.
        known: `uid` of the first answer. It stays, as long as the CA does, where it is the hash of that (the
            server is not asked: the uid may be readable by now) and where its uid may not be read any more.
            An address says too little for either.
        known_by: `trust` of the last answer with that `uid`.

    Raises:
        ApiError: any other answer.
        CredentialError: the CA cannot be read.
        Unreachable: see `ApiServer.get`.
    """
    authority = authority_pem(api.connection.tls)
    trust = hashlib.sha256((authority or api.connection.server).encode()).hexdigest()[:32]
    if authority and known == trust:
        return Identity(known, trust)
    response = await api.get("/api/v1/namespaces/kube-system")
    if known and authority and known_by == trust and response.status == _FORBIDDEN:
        return Identity(known, trust, assumed=True)
    if response.status not in {_FORBIDDEN, _NOT_FOUND}:
        uid = _decode(response.checked(), _Namespace).metadata.uid
        if uid:
            return Identity(uid, trust)
    return Identity(trust, trust)


async def _discover_half(api: ApiServer, path: str) -> _Half:
    response = await api.get(path, accept=_ACCEPT)
    if response.status == _NOT_ACCEPTABLE:
        response = await api.get(path)
    if response.status == _NOT_FOUND:
        return [], []
    if "as=APIGroupDiscoveryList" in response.checked().headers.get("content-type", ""):
        return _read_groups(_decode(response, _Groups))
    return await _discover_each(api, _group_versions(path, response))


def _read_groups(document: _Groups) -> _Half:
    resources: list[Resource] = []
    stale: list[str] = []
    for group in document.items or ():
        for version in group.versions or ():
            if version.freshness == "Stale":
                stale.append(_group_version(group.metadata.name, version.version))
                continue
            resources += [
                Resource(
                    group=group.metadata.name,
                    version=version.version,
                    resource=served.resource,
                    kind=served.response_kind.kind,
                    namespaced=served.scope == "Namespaced",
                    verbs=frozenset(served.verbs or ()),
                    short_names=tuple(served.short_names or ()),
                    singular=served.singular_resource,
                    categories=tuple(served.categories or ()),
                )
                for served in version.resources or ()
                # Without a kind it is only the parent of a subresource.
                if served.response_kind and served.response_kind.kind
            ]
    return resources, stale


def _group_versions(path: str, response: Response) -> list[tuple[str, str]]:
    """The (group, version) pairs of an old server, preferred versions first."""
    if path == "/api":
        return [("", version) for version in _decode(response, _CoreVersions).versions or ()]
    pairs = []
    for group in _decode(response, _LegacyGroups).groups or ():
        preferred = group.preferred_version.version if group.preferred_version else ""
        versions = [version.version for version in group.versions or ()]
        pairs += [(group.name, version) for version in sorted(versions, key=lambda one: one != preferred)]
    return pairs


async def _discover_each(api: ApiServer, pairs: Sequence[tuple[str, str]]) -> _Half:
    async def ask(group: str, version: str) -> list[Resource] | None:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            document = _decode((await api.get(path)).checked(), _LegacyResources)
        except (ApiError, Interrupted):
            return None
        return [
            Resource(
                group=group,
                version=version,
                resource=one.name,
                kind=one.kind,
                namespaced=one.namespaced,
                verbs=frozenset(one.verbs or ()),
                short_names=tuple(one.short_names or ()),
                singular=one.singular_name,
                categories=tuple(one.categories or ()),
            )
            for one in document.resources or ()
            if "/" not in one.name
        ]

    found = await _gather([lambda pair=pair: ask(*pair) for pair in pairs])  # type: ignore[misc] # its default binds it
    stale = [_group_version(*pair) for pair, answer in zip(pairs, found, strict=True) if answer is None]
    return [resource for answer in found if answer for resource in answer], stale


async def _gather(questions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Ask all at once, and return the answers in order; the first failure ends the others and is raised."""
    answers: list[Any] = [None] * len(questions)
    failures: list[ApiError | Unreachable | Interrupted] = []

    async def ask(index: int, scope: trio.CancelScope) -> None:
        try:
            answers[index] = await questions[index]()
        except (ApiError, Unreachable, Interrupted) as error:
            failures.append(error)
            scope.cancel()

    # The one nursery outside of the watcher: a fork that joins before it returns.
    async with trio.open_nursery() as nursery:
        for index in range(len(questions)):
            nursery.start_soon(ask, index, nursery.cancel_scope)
    if failures:
        raise failures[0]
    return answers


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def _decode(response: Response, kind: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        what = "answered its discovery with something that is none: is it a Kubernetes API server?"
        raise ApiError(f"{response.describe.connection.server} {what}", status=response.status) from None
