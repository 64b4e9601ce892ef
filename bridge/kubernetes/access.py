"""Which permissions a stream lacks, asked of the server itself, and the RBAC rule that would help.

SelfSubjectAccessReview needs no rights of its own (real-apiserver.md 7.8).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from bridge.kubernetes.apiserver import ApiError, ApiServer
from bridge.kubernetes.catalog import Resource

__all__ = ["VERBS", "Missing", "Wanted", "missing_permissions"]

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
            refused = {verb: await _review(api, want, namespace, verb) for verb in VERBS}
            verbs = tuple(verb for verb, status in refused.items() if not status.allowed)
            if verbs:
                status = refused[verbs[0]]
                reason = status.reason or status.evaluation_error
                missing.append(Missing(want.stream, want.resource, namespace, verbs, reason))
    return missing


async def _review(api: ApiServer, want: Wanted, namespace: str, verb: str) -> _Status:
    attributes = {
        "group": want.resource.group,
        "version": want.resource.version,
        "resource": want.resource.resource,
        "verb": verb,
        "namespace": namespace if want.resource.namespaced else "",
        "name": _selected_name(want.field_selector),
    }
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
