"""One object in a few words, as a person would say it. No I/O here."""

from collections.abc import Iterator
from typing import Any

from bridge.changes.change import StreamInfo

__all__ = ["summary"]


def summary(stream: StreamInfo, body: Any) -> str:
    """How the object is, as far as fields tell that many kinds have; "" if none is there.

    Args:
        stream: the stream it belongs to.
        body: the parsed object; whatever its members are, there is no error.
    """
    body = _mapping(body)
    if stream.kind == "Event":
        about = _mapping(body.get("involvedObject") or body.get("regarding"))
        said = (
            body.get("reason"),
            f"{about.get('kind')}/{about.get('name')}",
            body.get("message") or body.get("note"),
        )
        return ": ".join(str(part) for part in said if part)
    return ", ".join(_facts(body))


def _facts(body: dict[str, Any]) -> Iterator[str]:
    metadata, spec, status = (_mapping(body.get(part)) for part in ("metadata", "spec", "status"))
    if metadata.get("deletionTimestamp"):
        yield "being deleted"
    if isinstance(status.get("phase"), str):
        yield status["phase"]
    containers = status.get("containerStatuses")
    if isinstance(containers, list) and containers:
        states = [_mapping(container) for container in containers]
        yield f"{sum(state.get('ready') is True for state in states)}/{len(states)} ready"
        if restarts := sum(_number(state.get("restartCount")) for state in states):
            yield _counted(restarts, "restart")
    wanted = spec.get("replicas", status.get("desiredNumberScheduled"))
    if isinstance(wanted, int):
        yield f"{_number(status.get('readyReplicas', status.get('numberReady')))}/{wanted} ready"
    if "phase" not in status:
        yield from _conditions(status.get("conditions"))
    if isinstance(body.get("data"), dict):
        yield _counted(len(body["data"]), "key")
    if isinstance(spec.get("type"), str):
        yield spec["type"]


def _conditions(conditions: Any) -> Iterator[str]:
    """The one that sums up the others, by custom."""
    for condition in map(_mapping, conditions if isinstance(conditions, list) else []):
        if condition.get("type") in ("Ready", "Available", "Complete", "Failed"):
            kind, state, reason = (str(condition.get(key) or "") for key in ("type", "status", "reason"))
            yield kind if state == "True" else f"not {kind}" + (f" ({reason})" if reason else "")
            return


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
