"""A suspected deletion is believed only when a consistent GET of that very object says so (promise 8)."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from bridge.changes.change import Gone
from bridge.changes.reconcile import Answer, Known
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.scan import Shape
from bridge.runtime.confirm import Confirmer

PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
KEY, KNOWN = b"shop/web-0", Known("uid-1", "7")
ALL = Scope()
LABELLED = Scope(label_selector="app=web")


def status(code: int, reason: str, **details: Any) -> bytes:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return json.dumps(body | {"details": details}).encode()


def pod(uid: str, rv: str = "9", **changed: Any) -> bytes:
    metadata = {"namespace": "shop", "name": "web-0", "uid": uid, "resourceVersion": rv}
    return json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": metadata} | changed).encode()


def listed(*items: bytes) -> bytes:
    head = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}}
    return json.dumps(head | {"items": [json.loads(item) for item in items]}).encode()


async def ask(
    scope: Scope, *answers: tuple[int, bytes], content_type: str = "application/json"
) -> list[Answer]:
    """What is believed when the GET, and the list behind it if there is one, are answered so."""
    waiting = list(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        assert "resourceVersion" not in request.url.params, "that might be answered from the cache"
        code, body = waiting.pop(0)
        return httpx.Response(code, content=body, headers={"content-type": content_type})

    async with ApiServer(Connection("http://x"), transport=httpx.MockTransport(handler)) as api:
        confirmer = Confirmer(api, PODS, Shape("", "v1", "Pod", builtin=True), scope)
        return await confirmer.ask([(KEY, KNOWN)], deadline=trio.current_time() + 30)


DOUBTS: Mapping[str, tuple[int, bytes]] = {
    "forbidden": (403, status(403, "Forbidden", name="web-0", kind="pods")),
    "not authenticated": (401, status(401, "Unauthorized")),
    "a path that is not served": (404, status(404, "NotFound")),
    "a plain 404 of the server": (404, b"404 page not found\n"),
    "a failing etcd": (500, status(500, "InternalError", name="web-0")),
    "an overloaded server": (503, status(503, "ServiceUnavailable")),
    "gone, but not this object": (410, status(410, "Expired")),
    "another kind": (200, pod("uid-2", kind="PodMetadata")),
    "a torn object": (200, pod("uid-2")[:-9]),
    "a list": (200, listed()),
    "nothing": (200, b""),
}


@pytest.mark.parametrize("doubt", DOUBTS)
async def test_whatever_is_not_an_answer_about_this_object_confirms_nothing(
    doubt: str,
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    """[L3] The suspect keeps its place in the inventory and is asked about again later."""
    assert await ask(ALL, DOUBTS[doubt], DOUBTS[doubt]) == []


async def test_a_login_page_confirms_nothing(
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    page = (404, b"<html>please log in</html>")
    assert await ask(ALL, page, page, content_type="text/html") == []


async def test_the_servers_not_found_of_this_object_is_a_deletion() -> None:
    answer = (404, status(404, "NotFound", name="web-0", kind="pods"))
    assert await ask(ALL, answer) == [Answer(KEY, KNOWN, Gone.DELETED, None)]


async def test_another_uid_under_the_name_is_a_deletion_and_the_object_that_is_there_now() -> None:
    (answer,) = await ask(ALL, (200, pod("uid-2")))
    assert (answer.gone, answer.found and answer.found.uid) == (Gone.DELETED, "uid-2")


async def test_an_object_that_is_still_there_proves_that_the_list_lied() -> None:
    """It comes with the answer: a snapshot that the list was made for has to show it."""
    (answer,) = await ask(ALL, (200, pod("uid-1")))
    assert (answer.gone, answer.found and answer.found.uid) == (None, "uid-1")


async def test_an_object_that_left_the_selector_is_unselected_not_deleted() -> None:
    assert await ask(LABELLED, (200, pod("uid-1")), (200, listed())) == [
        Answer(KEY, KNOWN, Gone.UNSELECTED, None)
    ]
    (answer,) = await ask(LABELLED, (200, pod("uid-1")), (200, listed(pod("uid-1"))))
    assert (answer.gone, answer.found and answer.found.uid) == (None, "uid-1")


@pytest.mark.parametrize("doubt", ["forbidden", "a path that is not served", "a failing etcd"])
async def test_a_list_that_is_refused_does_not_say_that_an_object_left_the_selector(
    doubt: str,
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    assert await ask(LABELLED, (200, pod("uid-1")), DOUBTS[doubt], DOUBTS[doubt]) == []
