"""Asks a simulator and a real server the same, and reduces what they answer to what must be equal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import trio

from tests.components.process import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "differential.kube-bridge.dev"
READ_SECONDS = 20 * PATIENCE

CRD = {
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                        "properties": {
                            "spec": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                                "properties": {"color": {"type": "string"}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
# Text that a byte scanner could take for an identity, and every character that Go escapes or does not.
DECOYS = {
    "before": '"},"resourceVersion":"1","uid":"decoy","name":"decoy"',
    "html": "<a href='x'>&amp;</a>",
    "separators": "a\u2028b\u2029c\u0085d\x7fe\ufeff",
    "controls": "\x01\x08\x0b\x0c\t\r\n",
    "emoji": "\U0001f600 ü",
    "slash": "a/b\\c",
}


@dataclass(frozen=True)
class Case:
    """One request; `{ns}`, `{rv}` and `{token}` are filled in from the set-up of each side.

    `only` narrows the comparison of the answer to one of its members.
    """

    name: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    only: str = ""


@dataclass(frozen=True)
class Answer:
    """What both sides must agree on."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Side:
    """A server with a namespace of our own and what the set-up left there."""

    def __init__(self, client: httpx.AsyncClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.facts: dict[str, str] = {"ns": namespace}

    async def write(self, method: str, path: str, body: Any = None, kind: str = "") -> Any:
        """A write that must succeed."""
        content_type = kind or "application/json"
        content = None if body is None else json.dumps(body).encode()
        answer = await self.client.request(
            method, self.fill(path), content=content, headers={"Content-Type": content_type}
        )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def patch(self, path: str, body: Any) -> Any:
        """A merge patch."""
        return await self.write("PATCH", path, body, "application/merge-patch+json")

    def fill(self, text: str) -> str:
        """A template of a case, filled in."""
        for name, value in self.facts.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    async def ask(self, case: Case) -> Answer:
        """One request, its answer reduced to its shape."""
        query = {name: self.fill(value) for name, value in case.query.items()}
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        headers |= {name: self.fill(value) for name, value in case.headers.items()}
        content = None if case.body is None else self.fill(json.dumps(case.body)).encode()
        async with self.client.stream(
            case.method, self.fill(case.path), params=query, headers=headers, content=content
        ) as response:
            body = await response.aread()
        if case.only and response.is_success:
            body = json.dumps(json.loads(body)[case.only]).encode()
        return Answer(response.status_code, _kept_headers(response.headers), self.reduce(body))

    def reduce(self, body: bytes) -> Any:
        """JSON documents, one or one a line, as shapes; other text as it is."""
        text = body.decode()
        if text and not text.lstrip().startswith("{"):
            return self.normal(text)
        if text.startswith("{\n"):  # pretty-printed for a client that does not ask for plain JSON
            return [shape(json.loads(text, object_pairs_hook=Pairs), self)]
        lines = [line for line in text.split("\n") if line and not _is_periodic_bookmark(line)]
        return [shape(json.loads(line, object_pairs_hook=Pairs), self) for line in lines]

    def normal(self, text: str) -> str:
        """Text without what differs by nature: numbers, uids, tokens, the namespace's name, who we are."""
        text = text.replace(self.namespace, "NS").replace("system:serviceaccount:", "")
        text = re.sub(r'User "[^"]*"', 'User "U"', text)
        text = re.sub(r"RBAC: allowed by .*", "RBAC: allowed", text)
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UID", text)
        return re.sub(r"\d+", "#", text)


def _is_periodic_bookmark(line: str) -> bool:
    """Whether other clients of a shared server have made it tell progress."""
    return line.startswith('{"type":"BOOKMARK"') and "k8s.io/initial-events-end" not in line


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys in order."""


_LITERAL = frozenset(
    ("kind", "apiVersion", "type", "reason", "code", "status", "name", "field", "group", "phase")
)
_TEXT = frozenset(("message",))
_FREE = frozenset(("time", "creationTimestamp", "deletionTimestamp", "continue"))


def shape(value: Any, side: Side, key: str = "") -> Any:
    """Keys in their order, identifying values as they are, the type of all others."""
    if isinstance(value, Pairs):
        return [(name, shape(inner, side, name)) for name, inner in value]
    if isinstance(value, list):
        return [shape(item, side, key) for item in value]
    if key in _LITERAL and not isinstance(value, dict):
        return side.normal(value) if isinstance(value, str) else value
    if key in _TEXT:
        return side.normal(value)
    if key in _FREE and value:
        return "some"
    return type(value).__name__


def _kept_headers(headers: httpx.Headers) -> dict[str, str]:
    kept = ("content-type", "retry-after", "content-encoding", "vary", "cache-control", "transfer-encoding")
    found = {name: headers[name] for name in kept if name in headers}
    return found | {name: "set" for name in ("content-length", "audit-id", "etag") if name in headers}


def differences(simulated: Any, real: Any, path: str = "") -> list[str]:
    """Where two reduced answers differ, for a person to read."""
    if type(simulated) is type(real) and isinstance(real, list) and len(simulated) == len(real):
        return [
            line
            for index, (one, other) in enumerate(zip(simulated, real, strict=True))
            for line in differences(one, other, f"{path}/{_label(other, index)}")
        ]
    if isinstance(real, tuple) and isinstance(simulated, tuple) and simulated[0] == real[0]:
        return differences(simulated[1], real[1], path)
    return [] if simulated == real else [f"{path}: simulated {simulated!r}, real {real!r}"]


def _label(item: Any, index: int) -> str:
    return item[0] if isinstance(item, tuple) else str(index)


async def prepare(side: Side) -> None:
    """The same writes on each side: ConfigMaps, Secrets, a Pod, Events, and a CRD with objects."""
    made = await side.write("POST", "/api/v1/namespaces", {"metadata": {"name": side.namespace}})
    side.facts["before"] = made["metadata"]["resourceVersion"]
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    if (await side.client.get(f"{crds}/widgets.{GROUP}")).status_code == httpx.codes.NOT_FOUND:
        await side.write("POST", crds, CRD)
    maps = "/api/v1/namespaces/{ns}/configmaps"
    for number in range(5):
        labels = {"app": "web" if number % 2 else "api", "number": str(number)}
        metadata = {"name": f"c{number}", "labels": labels, "annotations": DECOYS}
        await side.write("POST", maps, {"metadata": metadata, "data": DECOYS | {"z": "1", "a": "2"}})
    await side.write("POST", "/api/v1/namespaces/{ns}/events", _event("e0", side.namespace))
    await side.write("POST", "/api/v1/namespaces/{ns}/events", _event("e1", side.namespace))
    await _widgets(side)
    first = await side.write("GET", f"{maps}?limit=2")
    side.facts |= {"rv": first["metadata"]["resourceVersion"], "token": first["metadata"]["continue"]}


async def _widgets(side: Side) -> None:
    path = f"/apis/{GROUP}/v1/namespaces/{side.namespace}/widgets"
    with trio.fail_after(READ_SECONDS):
        while not (await side.client.get(path)).is_success:  # noqa: ASYNC110 - the server is elsewhere
            await trio.sleep(0.1)
    for name, color in (("w0", "red"), ("w1", "blue"), ("w2", "red")):
        metadata = {"name": name, "annotations": DECOYS, "labels": {"app": "web"}}
        odd = {"resourceVersion": "1", "uid": "decoy", "numbers": [1.0, 1.5, 1e21, 1e-7, 2**63 - 1]}
        body = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": metadata, "spec": {"color": color}}
        await side.write("POST", path, body | {"Zed": odd, "aaa": {"metadata": odd}})


def _event(name: str, namespace: str) -> dict[str, Any]:
    about = {"kind": "ConfigMap", "namespace": namespace, "name": "c0"}
    return {"metadata": {"name": name}, "involvedObject": about, "reason": "Probe", "type": "Normal"}
