"""Which permissions a stream lacks, which others help the bridge, and the RBAC rules that grant them.

The server itself is asked: SelfSubjectAccessReview needs no rights of its own (real-apiserver.md 7.8).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bridge.kubernetes.apiserver import ApiError, ApiServer
from bridge.kubernetes.catalog import Resource

__all__ = ["IDENTITY", "REVISION", "VERBS", "Advised", "Missing", "Wanted", "missing_permissions", "refused"]

VERBS: Final = ("list", "watch", "get")
"""get, because a deletion that a list implies is believed only when a GET of the object agrees."""
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NAME_SELECTOR: Final = "metadata.name="


class Wanted(msgspec.Struct, frozen=True):
    """What one stream will ask for.

    Attributes:
        stream: its name, for the sentence.
        resource: what it watches.
        namespaces: where; empty for the whole cluster.
        field_selector: of the stream. With `metadata.name=NAME` rights limited by `resourceNames` are enough
            ([M9]); a review has to carry the name to see them (real-apiserver.md 7.7).
    """

    stream: str
    resource: Resource
    namespaces: Sequence[str] = ()
    field_selector: str = ""


class Missing(msgspec.Struct, frozen=True):
    """One stream's missing verbs in one place.

    Attributes:
        namespace: where, "" for the whole cluster.
        verbs: which of `VERBS`.
        reason: what the server's authorizer said, or "".
    """

    stream: str
    resource: Resource
    namespace: str
    verbs: tuple[str, ...]
    reason: str = ""

    @property
    def rule(self) -> str:
        """The rule to add, as YAML, for a Role in the namespace or a ClusterRole."""
        verbs = ", ".join(self.verbs)
        group, resource = self.resource.group, self.resource.resource
        return f'- {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{verbs}]}}'

    def __str__(self) -> str:
        place, role = "in the whole cluster", "a ClusterRole"
        if self.namespace:
            place, role = f"in namespace {self.namespace}", f"a Role in {self.namespace}"
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"stream {self.stream} may not {' or '.join(self.verbs)} {self.resource.name} {place}{why}; "
            f"add to {role}: {self.rule}"
        )


class Advised(msgspec.Struct, frozen=True):
    """A permission of core resources that the bridge can do without, at a price.

    Attributes:
        verb: as `get`.
        resource: plural.
        namespace: where, "" for the whole cluster.
        name: of the one object that is meant, "" for all.
        without: what happens without it, for the sentence.
    """

    verb: str
    resource: str
    namespace: str
    name: str
    without: str

    def __str__(self) -> str:
        names = f", resourceNames: [{self.name}]" if self.name else ""
        what = f"{self.resource} {self.name}".rstrip()
        place = f" in namespace {self.namespace}" if self.namespace else ""
        role = f"a Role in {self.namespace}" if self.namespace else "a ClusterRole"
        return (
            f"the bridge may not {self.verb} {what}{place}: {self.without}; add to {role}: "
            f'- {{apiGroups: [""], resources: [{self.resource}]{names}, verbs: [{self.verb}]}}'
        )


IDENTITY: Final = Advised(
    "get",
    "namespaces",
    "",
    "kube-system",
    "a hash of the certificate authority identifies the cluster where its uid was never read, and once that "
    "authority is replaced, `run` takes it for another cluster",
)
"""See `bridge.kubernetes.discovery.identify_cluster`."""
REVISION: Final = Advised(
    "list",
    "events",
    "default",
    "",
    "that the server was restored from a backup may be noticed late or not at all, for lists of other kinds "
    "can come from its cache",
)
"""See `bridge.kubernetes.probe`."""


class _Status(msgspec.Struct, rename="camel"):
    allowed: bool = False
    reason: str = ""
    evaluation_error: str = ""


class _Review(msgspec.Struct):
    status: _Status


async def missing_permissions(api: ApiServer, wanted: Sequence[Wanted]) -> list[Missing]:
    """Ask for every verb of every stream in every place, and return what is refused.

    Raises:
        ApiError: the server does not answer such questions.
        Unreachable: see `ApiServer.get`.
    """
    missing = []
    for want in wanted:
        for namespace in want.namespaces or ("",):
            answers = {verb: await _review(api, _attributes(want, namespace, verb)) for verb in VERBS}
            verbs = tuple(verb for verb, status in answers.items() if not status.allowed)
            if verbs:
                status = answers[verbs[0]]
                reason = status.reason or status.evaluation_error
                missing.append(Missing(want.stream, want.resource, namespace, verbs, reason))
    return missing


async def refused(api: ApiServer, advised: Sequence[Advised]) -> list[Advised]:
    """Those of these permissions that the server would not grant; raises what `missing_permissions` does."""
    found = []
    for each in advised:
        attributes = {
            "verb": each.verb,
            "version": "v1",
            "resource": each.resource,
            "namespace": each.namespace,
            "name": each.name,
        }
        if not (await _review(api, attributes)).allowed:
            found.append(each)
    return found


def _attributes(want: Wanted, namespace: str, verb: str) -> dict[str, str]:
    return {
        "group": want.resource.group,
        "version": want.resource.version,
        "resource": want.resource.resource,
        "verb": verb,
        "namespace": namespace if want.resource.namespaced else "",
        "name": _selected_name(want.field_selector),
    }


async def _review(api: ApiServer, attributes: Mapping[str, str]) -> _Status:
    document = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    response = (await api.post(_REVIEWS, document)).checked()
    try:
        return msgspec.json.decode(response.body, type=_Review).status
    except (msgspec.DecodeError, UnicodeDecodeError):
        sentence = f"{api.connection.server} answered an access review with something else"
        raise ApiError(sentence, status=response.status) from None


def _selected_name(field_selector: str) -> str:
    for part in field_selector.split(","):
        selector = part.strip().replace("==", "=")
        if selector.startswith(_NAME_SELECTOR):
            return selector.removeprefix(_NAME_SELECTOR)
    return ""
