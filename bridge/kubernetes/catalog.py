"""The resources of a cluster and their names, resolved as kubectl resolves them. No I/O here.

kubectl's rules (client-go `restmapper`, apimachinery `meta`): categories first; then plural, singular and
short names, without regard to case but for short names, in the server's order of groups (core
first) and versions (preferred first); a group may be given by a prefix; then the Kind as it is written.
Two things differ: a version that is named together with a short name is obeyed (kubectl forgets it), and a
bare Kind whose singular is another word is found (kubectl wants its group).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bridge.errors import UsageError
from bridge.kubernetes.explain import nearest

__all__ = ["AmbiguousResource", "Catalog", "NotWatchable", "Resource", "UnknownResource"]

_NEEDED: Final = frozenset({"list", "watch"})
_KUBERNETES_GROUPS: Final = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)
"""Served by kube-apiserver itself; CRDs in other *.k8s.io groups are not."""


class UnknownResource(UsageError):
    """No such resource now; a CRD may still be installed, and a stale group may still answer.

    Attributes:
        stale: group/versions that did not answer; when there are any, the resource may well exist.
    """

    def __init__(self, sentence: str, stale: Sequence[str] = ()) -> None:
        unknown = f" (these did not answer and may have it: {', '.join(stale)})" if stale else ""
        super().__init__(f"{sentence}{unknown}")
        self.stale = tuple(stale)


class AmbiguousResource(UsageError):
    """One name stands for several resources of the same group and version."""


class NotWatchable(UsageError):
    """The resource exists, but the server cannot list and watch it."""


class Resource(msgspec.Struct, frozen=True):
    """One resource that the server offers.

    Attributes:
        group: "" for core.
        resource: plural, as in paths.
        verbs: what the server can do with it, whoever asks.
        singular: may be "".
    """

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()
    short_names: tuple[str, ...] = ()
    singular: str = ""
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As objects carry it: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """What people and kubectl call it: `pods`, `deployments.apps`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def builtin(self) -> bool:
        """Whether kube-apiserver itself serves it, so that its JSON has the shape of Go structs."""
        return self.group in _KUBERNETES_GROUPS

    @property
    def secret(self) -> bool:
        """Whether its objects are Secrets, which are redacted unless somebody opts out."""
        return self.group == "" and self.resource == "secrets"

    @property
    def watchable(self) -> bool:
        """Whether it can be listed and watched."""
        return self.verbs >= _NEEDED


class Catalog:
    """Everything a server offers, in its own order of preference.

    Attributes:
        resources: core first, then groups in the server's order, the preferred version of each first.
        stale: group/versions that did not answer: unknown, not absent ([L2]).
    """

    def __init__(self, resources: Iterable[Resource], stale: Iterable[str] = ()) -> None:
        self.resources: Final = tuple(resources)
        self.stale: Final = tuple(stale)

    def resolve(self, text: str) -> list[Resource]:
        """Find what a person named, each resource once, in the order of naming.

        Args:
            text: `pods`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps`, `all`; several with commas.

        Raises:
            UnknownResource: no resource has this name.
            AmbiguousResource: several have it.
            NotWatchable: it cannot be listed and watched.
            UsageError: a name is empty.
        """
        found: dict[Resource, None] = {}
        names = text.split(",")
        if not all(name.strip() for name in names):
            raise UsageError(
                f'"{text}" has an empty name in it: write names of resources, like pods,services'
            )
        for name in names:
            members = self._category(name)
            if members:
                found |= dict.fromkeys(resource for resource in members if resource.watchable)
                continue
            resource = self._find(name.strip())
            _require_watchable(resource)
            found[resource] = None
        if not found:
            raise NotWatchable(f'nothing in the category "{text}" can be listed and watched')
        return list(found)

    def resolve_kind(self, api_version: str, kind: str) -> Resource:
        """Find the resource of an exact apiVersion and kind, as objects carry them.

        Raises:
            UnknownResource: the server does not offer it.
            NotWatchable: it cannot be listed and watched.
        """
        matches = [one for one in self.resources if one.api_version == api_version and one.kind == kind]
        if not matches:
            raise self._unknown_kind(api_version, kind)
        # Should two share a kind, the one that can be watched is meant.
        best = max(matches, key=lambda one: one.watchable)
        _require_watchable(best)
        return best

    def _category(self, name: str) -> list[Resource]:
        members = dict.fromkeys((one.group, one.resource) for one in self.resources if name in one.categories)
        return [self._preferred(group, resource) for group, resource in members]

    def _preferred(self, group: str, resource: str) -> Resource:
        return next(one for one in self.resources if (one.group, one.resource) == (group, resource))

    def _find(self, text: str) -> Resource:
        if "/" in text:
            kind, _, name = text.partition("/")
            raise UnknownResource(
                f'"{text}" names one object: write {kind} --field-selector metadata.name={name}'
            )
        name, _, rest = text.partition(".")
        version, dot, group = rest.partition(".")
        found: list[Resource] = []
        # Three parts or more may be name.version.group as well as name.group with dots in it.
        if dot:
            found = self._named(name, version, group)
        found = found or self._named(name, "", rest)
        if not found and dot:
            found = self._of_kind(name, version, group)
        found = found or self._of_kind(name, "", rest)
        if not found:
            raise self._unknown(text)
        return _only(text, found)

    def _named(self, name: str, version: str, group: str) -> list[Resource]:
        """Those of this plural, singular or short name, in the order of preference."""
        candidates = self._in_group(self.resources, group)
        lowered = name.lower()
        matches = [one for one in candidates if lowered in {one.resource, one.singular or one.kind.lower()}]
        if not matches:
            matches = [one for one in candidates if name in one.short_names]
        if group:
            exact = [one for one in matches if one.group == group]
            matches = exact or matches
        return [one for one in matches if version in {"", one.version}]

    @staticmethod
    def _in_group(resources: Sequence[Resource], group: str) -> Sequence[Resource]:
        return [one for one in resources if one.group.startswith(group)] if group else resources

    def _of_kind(self, name: str, version: str, group: str) -> list[Resource]:
        """Those of this Kind; without a group in any one, where kubectl looks only into core."""
        return [
            one
            for one in self.resources
            if name in {one.kind, one.kind.lower()}
            and group in {"", one.group}
            and version in {"", one.version}
        ]

    def _unknown(self, text: str) -> UnknownResource:
        name = text.partition(".")[0]
        elsewhere = sorted({one.name for one in self._named(name, "", "")})
        if elsewhere and name != text:
            hint = f"; there is {', '.join(elsewhere)}"
        else:
            hint = nearest(text, self._all_names(), limit=0)
        return UnknownResource(f'the server has no resource type "{text}"{hint}', self.stale)

    def _all_names(self) -> set[str]:
        names: set[str] = set()
        for one in self.resources:
            names |= {one.resource, one.name, one.kind, *one.short_names}
        return names

    def _unknown_kind(self, api_version: str, kind: str) -> UnknownResource:
        elsewhere = sorted({one.api_version for one in self.resources if one.kind == kind})
        if elsewhere:
            hint = f"; there is a {kind} in {', '.join(elsewhere)}"
        else:
            siblings = {one.kind for one in self.resources if one.api_version == api_version}
            hint = nearest(kind, siblings or {one.kind for one in self.resources}, limit=0)
        stale = [one for one in self.stale if one == api_version]
        return UnknownResource(f"the server has no {kind} in {api_version}{hint}", stale)


def _only(text: str, found: Sequence[Resource]) -> Resource:
    """The most preferred; several of one group and version are too many."""
    best = [one for one in found if one.api_version == found[0].api_version]
    if len(best) > 1:
        names = ", ".join(f"{one.name} ({one.kind})" for one in best)
        raise AmbiguousResource(f'"{text}" may mean {names}: name one of them')
    return best[0]


def _require_watchable(resource: Resource) -> None:
    if not resource.watchable:
        missing = " and ".join(sorted(_NEEDED - resource.verbs))
        offered = ", ".join(sorted(resource.verbs)) or "nothing"
        raise NotWatchable(
            f"{resource.name} cannot be watched: the server does not offer {missing} for it, only {offered}"
        )
