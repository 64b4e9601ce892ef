"""Asks the API server, object by object, whether what a listing passed over is really gone.

A list can be answered by a watch cache that no longer agrees with etcd; a GET without a resourceVersion
reads etcd (real-apiserver 8.4). Only its 404, or another uid under that name, is believed.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec
import trio

from bridge.changes.change import Event, Gone
from bridge.changes.reconcile import Answer, Known
from bridge.errors import BridgeError
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.requests import Resource, Scope, collection_path
from bridge.kubernetes.scan import Failure, Malformed, Shape, read_line, read_page

__all__ = ["Confirmer", "Unanswered"]

_AT_ONCE: Final = 8
"""GETs in flight; the client-side rate limit is what bounds them over time."""


class Unanswered(BridgeError):
    """The server gave no usable answer about an object; it stays as it was and is asked again later."""


class Confirmer:
    """GETs for one watch.

    Args:
        api: the server; its rate limiter is the request budget.
        resource: what the stream watches.
        shape: what its objects look like.
        scope: namespace and selectors of the watch.
    """

    def __init__(self, api: ApiServer, resource: Resource, shape: Shape, scope: Scope) -> None:
        self._api = api
        self._resource = resource
        self._shape = shape
        self._scope = scope

    async def ask(self, suspects: Sequence[tuple[bytes, Known]], *, deadline: float) -> list[Answer]:
        """Answers for as many suspects as the rate limit and `deadline` (trio time) allow.

        Suspects without an answer are simply missing from the result. Cancellation loses the answers.
        """
        answers: list[Answer] = []
        waiting = iter(suspects)

        async def worker() -> None:
            for key, known in waiting:
                try:
                    answers.append(await self._ask_one(key, known))
                except BridgeError:
                    return  # the server does not answer now: what is left stays a suspect

        with trio.CancelScope(deadline=deadline):
            async with trio.open_nursery() as nursery:
                for _ in range(min(_AT_ONCE, len(suspects))):
                    nursery.start_soon(worker)
        return answers

    async def _ask_one(self, key: bytes, known: Known) -> Answer:
        namespace, _, name = key.decode().partition("/")
        found = await self._get(namespace, name)
        if found is None:
            return Answer(key, known, Gone.DELETED, None)
        if not self._scope.parameters():
            return Answer(key, known, None if found.uid == known.uid else Gone.DELETED, found)
        selected = await self._get_selected(namespace, name)
        if selected is not None and selected.uid == known.uid:
            return Answer(key, known, None, selected)
        gone = Gone.UNSELECTED if found.uid == known.uid else Gone.DELETED
        return Answer(key, known, gone, selected)

    async def _get(self, namespace: str, name: str) -> Event | None:
        path = f"{collection_path(self._resource, Scope(namespace))}/{quote(name, safe='')}"
        response = await self._api.get(path)
        if response.status == 404 and _is_not_found(response.body):  # noqa: PLR2004 - HTTP
            return None
        if response.status != 200:  # noqa: PLR2004 - HTTP
            raise Unanswered(f"GET {path} answered {response.status}")
        try:
            event = read_line(b'{"type":"ADDED","object":' + response.body.strip() + b"}", self._shape)
        except Malformed as error:
            raise Unanswered(f"GET {path} did not answer with an object: {error}") from error
        if not isinstance(event, Event):
            raise Unanswered(f"GET {path} did not answer with an object")
        return event

    async def _get_selected(self, namespace: str, name: str) -> Event | None:
        """The object as the stream's selectors see it: a list of at most one."""
        path = collection_path(self._resource, Scope(namespace))
        params = self._scope.parameters()
        terms = (params.get("fieldSelector", ""), f"metadata.name={name}")
        params["fieldSelector"] = ",".join(term for term in terms if term)
        response = (await self._api.get(path, params)).checked()
        try:
            page = read_page(response.body, self._shape)
        except Malformed as error:
            raise Unanswered(f"GET {path} did not answer with a list: {error}") from error
        if isinstance(page, Failure):
            raise Unanswered(f"GET {path} answered {page.code}: {page.message}")
        return page.events[0] if page.events else None


class _Details(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    kind: str = ""
    reason: str = ""
    details: _Details | None = None


def _is_not_found(body: bytes) -> bool:
    """A 404 about this object, not about a path or a resource that is not served (then no name is given)."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except (msgspec.DecodeError, RecursionError):
        return False
    return status.reason == "NotFound" and status.details is not None and status.details.name != ""
