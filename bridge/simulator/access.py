"""Who may do what: bearer tokens, and rules in the manner of RBAC; without users everybody is an admin."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from bridge.simulator.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Access", "Attempt"]

_PUBLIC_PATHS = ("/version", "/healthz", "/livez", "/readyz")
ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody wants to do with a resource; an empty name is the whole collection."""

    verb: str
    group: str
    plural: str
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    verbs: frozenset[str]
    resources: frozenset[str]
    namespace: str
    names: frozenset[str]

    def allows(self, attempt: Attempt) -> bool:
        resource = f"{attempt.plural}.{attempt.group}" if attempt.group else attempt.plural
        return (
            ("*" in self.verbs or attempt.verb in self.verbs)
            and ("*" in self.resources or resource in self.resources)
            and (not self.namespace or self.namespace == attempt.namespace)
            and (not self.names or attempt.name in self.names)
        )


@dataclass(slots=True)
class _User:
    name: str
    admin: bool
    rules: list[_Rule] = field(default_factory=list)


class Access:
    """The users of one server. As on a real one, a watch that runs outlives the rights of its user."""

    def __init__(self) -> None:
        self._users: dict[str, _User] = {}

    def add(self, token: str, user: str, *, admin: bool = False) -> None:
        """Lets a bearer token in; from the first one on, everybody needs one."""
        self._users[token] = _User(user, admin)

    def remove(self, token: str) -> None:
        """Makes a token invalid: 401 from now on."""
        del self._users[token]
        self._users.setdefault("", _User(ANONYMOUS, admin=False))

    def allow(
        self,
        user: str,
        verbs: Collection[str],
        resources: Collection[str],
        *,
        namespace: str = "",
        names: Collection[str] = (),
    ) -> None:
        """Grants rights on resources named as `pods` or `deployments.apps`; "*" is all of them."""
        rule = _Rule(frozenset(verbs), frozenset(resources), namespace, frozenset(names))
        for known in self._users.values():
            if known.name == user:
                known.rules.append(rule)

    def revoke(self, user: str) -> None:
        """Withdraws all rights of a user, whose token stays valid."""
        for known in self._users.values():
            if known.name == user:
                known.rules.clear()

    def user(self, headers: Mapping[str, str]) -> str:
        """The name of who asks.

        Raises:
            ApiError: 401, the token is not known.
        """
        return self._who(headers).name

    def check(self, headers: Mapping[str, str], attempt: Attempt) -> None:
        """Lets an attempt pass.

        Raises:
            ApiError: 401 for an unknown token, 403 for a missing right or no token at all.
        """
        user = self._who(headers)
        if user.admin or any(rule.allows(attempt) for rule in user.rules):
            return
        where = f'in the namespace "{attempt.namespace}"' if attempt.namespace else "at the cluster scope"
        resource = f"{attempt.plural}.{attempt.group}" if attempt.group else attempt.plural
        which = f'{resource} "{attempt.name}"' if attempt.name else resource
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "Forbidden",
            f'{which} is forbidden: User "{user.name}" cannot {attempt.verb} resource "{attempt.plural}" '
            f'in API group "{attempt.group}" {where}',
            details=({"name": attempt.name} if attempt.name else {})
            | ({"group": attempt.group} if attempt.group else {})
            | {"kind": attempt.plural},
        )

    def check_path(self, headers: Mapping[str, str], path: str) -> None:
        """Lets a request pass that is not about a resource: discovery needs a valid token, health does not.

        Raises:
            ApiError: 401 or 403.
        """
        user = self._who(headers)
        if user.name == ANONYMOUS and not path.startswith(_PUBLIC_PATHS):
            message = f'forbidden: User "{ANONYMOUS}" cannot get path "{path}"'
            raise ApiError(HTTPStatus.FORBIDDEN, "Forbidden", message, details={})

    def may(self, headers: Mapping[str, str], attempt: Attempt) -> bool:
        """What a SelfSubjectAccessReview answers."""
        user = self._who(headers)
        return user.admin or any(rule.allows(attempt) for rule in user.rules)

    def _who(self, headers: Mapping[str, str]) -> _User:
        if not self._users:
            return _User("admin", admin=True)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _User(ANONYMOUS, admin=False)
        user = self._users.get(token.strip())
        if user is None or user.name == ANONYMOUS:
            raise ApiError(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")
        return user
