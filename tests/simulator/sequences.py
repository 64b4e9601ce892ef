"""Stories of writes, and what a watch tells of them on each side."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.components.process import PATIENCE
from tests.simulator.cases import EVENTS, MAPS, WIDGETS
from tests.simulator.differential import Pairs, shape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.simulator.differential import Side

PODS = "/api/v1/namespaces/{ns}/pods"


@dataclass(frozen=True)
class Sequence:
    """A watch and what happens meanwhile.

    Attributes:
        shapes: Whether whole objects must be alike, or only what identifies them.
    """

    name: str
    path: str
    writes: Callable[[Side], Awaitable[None]]
    query: Mapping[str, str] = field(default_factory=dict)
    shapes: bool = True


async def play(side: Side, sequence: Sequence) -> list[Any]:
    """Performs the writes, and watches them from before: so nothing depends on who is faster."""
    now = (await side.client.get(side.fill(sequence.path))).json()["metadata"]["resourceVersion"]
    await sequence.writes(side)
    query = {"watch": "1", "timeoutSeconds": str(PATIENCE), "resourceVersion": now} | dict(sequence.query)
    body = (await side.client.get(side.fill(sequence.path), params=query)).content
    lines = body.split(b"\n")
    assert lines.pop() == b"", "a clean end stands between lines"
    return [_told(side, line, shapes=sequence.shapes) for line in _with_relations(lines)]


def _with_relations(lines: list[bytes]) -> list[tuple[str, int, bytes]]:
    """Each line, how its revision relates to the last one, and which of the uids it is about."""
    found = []
    last = 0
    uids: dict[str, int] = {}
    for line in lines:
        metadata = json.loads(line)["object"]["metadata"]
        revision = int(metadata["resourceVersion"])
        relation = "newer" if revision > last else "same" if revision == last else "older"
        found.append((relation, uids.setdefault(metadata["uid"], len(uids)), line))
        last = revision
    return found


def _told(side: Side, told: tuple[str, int, bytes], *, shapes: bool) -> Any:
    relation, uid, line = told
    event = json.loads(line)
    obj = event["object"]
    metadata = obj["metadata"]
    identity = {
        "type": event["type"],
        "revision": relation,
        "uid": uid,
        "name": side.normal(metadata["name"]),
        "labels": metadata.get("labels"),
        "finalizers": metadata.get("finalizers"),
        "deleting": "deletionTimestamp" in metadata,
        "data": obj.get("data"),
        "color": obj.get("spec", {}).get("color"),
        "phase": obj.get("status", {}).get("phase"),
    }
    if not shapes:
        return [*sorted(identity.items()), ("metadata", [key for key in metadata if key != "managedFields"])]
    return [*sorted(identity.items()), ("shape", shape(json.loads(line, object_pairs_hook=Pairs), side))]


def _map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"step": "1"}}


async def _leave_and_return(side: Side) -> None:
    await side.write("POST", MAPS, _map("in", app="story"))
    await side.write("POST", MAPS, _map("out", app="other"))
    await side.patch(f"{MAPS}/in", {"data": {"step": "2"}})
    await side.patch(f"{MAPS}/in", {"metadata": {"labels": {"app": "other"}}, "data": {"step": "3"}})
    await side.patch(f"{MAPS}/in", {"data": {"step": "4"}})
    await side.patch(f"{MAPS}/in", {"metadata": {"labels": {"app": "story"}}})
    await side.patch(f"{MAPS}/in", {"metadata": {"labels": {"app": "story"}}})
    await side.write("DELETE", f"{MAPS}/in")
    await side.write("DELETE", f"{MAPS}/out")


async def _colors(side: Side) -> None:
    body = {"apiVersion": "differential.kube-bridge.dev/v1", "kind": "Widget", "metadata": {"name": "story"}}
    await side.write("POST", WIDGETS, body | {"spec": {"color": "green"}})
    await side.patch(f"{WIDGETS}/story", {"spec": {"size": 1}})
    await side.patch(f"{WIDGETS}/story", {"spec": {"color": "red"}})
    await side.patch(f"{WIDGETS}/story", {"spec": {"color": "green"}})
    await side.write("DELETE", f"{WIDGETS}/story")


async def _held(side: Side, path: str, body: dict[str, Any]) -> None:
    await side.write("POST", path, body)
    await side.write("DELETE", f"{path}/held")
    await side.write("DELETE", f"{path}/held")
    await side.patch(f"{path}/held", {"metadata": {"finalizers": None}})


async def _held_map(side: Side) -> None:
    await _held(side, MAPS, {"metadata": {"name": "held", "finalizers": ["kube-bridge.dev/hold"]}})


async def _held_widget(side: Side) -> None:
    body = {"apiVersion": "differential.kube-bridge.dev/v1", "kind": "Widget", "spec": {"color": "blue"}}
    await _held(side, WIDGETS, body | {"metadata": {"name": "held", "finalizers": ["kube-bridge.dev/hold"]}})


async def _three_lives(side: Side) -> None:
    for _ in range(3):
        await side.write("POST", MAPS, _map("phoenix"))
        await side.write("DELETE", f"{MAPS}/phoenix")


async def _collection(side: Side) -> None:
    for name in ("b", "a", "c"):
        await side.write("POST", MAPS, _map(name, app="story"))
    await side.write("DELETE", f"{MAPS}?labelSelector=app%3Dstory")


async def _pod(side: Side) -> None:
    spec = {"containers": [{"name": "main", "image": "example.org/main"}]}
    await side.write("POST", PODS, {"metadata": {"name": "story"}, "spec": spec})
    await side.patch(f"{PODS}/story", {"metadata": {"labels": {"x": "y"}}})
    await side.patch(f"{PODS}/story/status", {"status": {"phase": "Running"}})
    await side.patch(f"{PODS}/story/status", {"status": {"phase": "Succeeded"}})
    await side.write("DELETE", f"{PODS}/story")


async def _events(side: Side) -> None:
    about = {"kind": "ConfigMap", "namespace": side.namespace, "name": "c0"}
    body = {"metadata": {"name": "story"}, "involvedObject": about, "reason": "Story", "type": "Warning"}
    await side.write("POST", EVENTS, body)
    await side.patch(f"{EVENTS}/story", {"count": 2})
    await side.write("DELETE", f"{EVENTS}/story")


SEQUENCES = [
    Sequence(
        "9.1 an object leaves a selector and returns", MAPS, _leave_and_return, {"labelSelector": "app=story"}
    ),
    Sequence("11.7 all changes, none for a write without a difference", MAPS, _leave_and_return),
    Sequence("9.1 a field of a custom resource", WIDGETS, _colors, {"fieldSelector": "spec.color=green"}),
    Sequence("custom resources", WIDGETS, _colors),
    Sequence("11.2 a finalizer", MAPS, _held_map),
    Sequence("11.2 a finalizer of a custom resource", WIDGETS, _held_widget),
    Sequence("9.5 one name, three lives", MAPS, _three_lives, {"fieldSelector": "metadata.name=phoenix"}),
    Sequence("11.3 a whole collection", MAPS, _collection, {"labelSelector": "app=story"}),
    Sequence(
        "9.4 a Pod leaves by its phase", PODS, _pod, {"fieldSelector": "status.phase=Pending"}, shapes=False
    ),
    Sequence("a Pod", PODS, _pod, shapes=False),
    Sequence("events, which are not cached", EVENTS, _events),
]
