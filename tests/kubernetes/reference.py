"""What a watch line means, said with the standard library alone; slow, and written from the contract."""

import json
from pathlib import Path
from typing import Any

from bridge.changes.change import Event
from bridge.kubernetes.scan import Bookmark, Failure, Malformed, Shape, read_line

RECORDED = Path(__file__).parent / "recorded"
MALFORMED = "malformed"
FAILURE = "failure"


def loads(document: bytes) -> Any:
    """Strict JSON; numbers stay text, so that integers of any size and all digits compare."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    value = json.loads(
        document.decode(),
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
        parse_constant=refuse,
    )
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be sent on
    return value


def meaning(line: bytes, shape: Shape) -> Any:
    """What `read_line` must say: an identity with the object's value, a bookmark, FAILURE or MALFORMED."""
    try:
        top = loads(line)
    except (ValueError, RecursionError):
        return MALFORMED
    if not isinstance(top, dict):
        return MALFORMED
    if "type" not in top:
        return FAILURE if top.get("kind") == "Status" else MALFORMED
    if top["type"] == "ERROR":
        return FAILURE if "object" in top else MALFORMED
    return _of_an_object(top["type"], top.get("object"), shape)


def _of_an_object(kind: Any, body: Any, shape: Shape) -> Any:
    if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
        return MALFORMED
    if (body.get("kind"), body.get("apiVersion")) != (shape.kind, shape.api_version):
        return MALFORMED
    if kind == "BOOKMARK":
        return _bookmark(body["metadata"])
    return _event(kind, body) if kind in ("ADDED", "MODIFIED", "DELETED") else MALFORMED


def _bookmark(metadata: dict[str, Any]) -> Any:
    annotations = metadata.get("annotations") or {}
    mark = annotations.get("k8s.io/initial-events-end", "") if isinstance(annotations, dict) else None
    if not _is_text(metadata.get("resourceVersion")) or not isinstance(mark, str):
        return MALFORMED
    return ("BOOKMARK", metadata["resourceVersion"], mark == "true")


def _event(kind: str, body: dict[str, Any]) -> Any:
    metadata = body["metadata"]
    identity = [metadata.get(key) for key in ("name", "uid", "resourceVersion")]
    namespace = "" if metadata.get("namespace") is None else metadata["namespace"]
    if not all(map(_is_text, identity)) or not isinstance(namespace, str):
        return MALFORMED
    return (kind, namespace, *identity, body)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def said(line: bytes, shape: Shape) -> Any:
    """What `read_line` says, in the form of `meaning`."""
    try:
        result = read_line(line, shape)
    except Malformed:
        return MALFORMED
    if isinstance(result, Failure):
        return FAILURE
    if isinstance(result, Bookmark):
        return ("BOOKMARK", result.rv, result.initial_events_end)
    assert isinstance(result, Event)
    assert b"\n" not in result.object
    assert b"\n" in line or result.object in line, "the object's bytes are the bytes that came"
    return (result.type, result.namespace, result.name, result.uid, result.rv, loads(result.object))


def recorded() -> list[tuple[str, bytes, Shape]]:
    """Every line of every `recorded/*.jsonl`, with the shape that it announces itself."""
    found = []
    for path in sorted(RECORDED.glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if line:
                found.append((f"{path.name}:{number}", line, own_shape(line)))
    return found


def own_shape(line: bytes) -> Shape:
    body = json.loads(line)
    body = body.get("object") or body
    group, _, version = str(body.get("apiVersion", "v1")).rpartition("/")
    return Shape(group=group, version=version, kind=str(body.get("kind", "Pod")), builtin="." not in group)
