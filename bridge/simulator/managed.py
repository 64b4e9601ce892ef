"""`metadata.managedFields` as server-side bookkeeping writes them, near enough in shape and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.simulator.encode import Obj

__all__ = ["record_manager"]

_IDENTITY = {"name", "namespace", "kind", "apiVersion", "uid", "resourceVersion", "generation"}
_BY_SERVER = {"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"}
_KEYS_OF_LISTS = ("uid", "type", "containerPort", "name", "ip")


def record_manager(
    obj: Obj, previous: Obj | None, *, manager: str, subresource: str, now: str, api_version: str
) -> None:
    """Adds to `obj`, in place, that the manager has written what differs from the previous version."""
    before = previous or {}
    entries = [dict(entry) for entry in before.get("metadata", {}).get("managedFields", ())]
    changed = _fields(_diff(_content(obj), _content(before)))
    if not changed:
        obj["metadata"] |= {"managedFields": entries} if entries else {}
        return
    for entry in entries:
        if entry["manager"] == manager and entry.get("subresource", "") == subresource:
            entry["time"] = now
            entry["fieldsV1"] = _merge(entry["fieldsV1"], changed)
            break
    else:
        entry = {"manager": manager, "operation": "Update", "apiVersion": api_version, "time": now}
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": changed}
        entries.append(entry | ({"subresource": subresource} if subresource else {}))
    obj["metadata"]["managedFields"] = entries


def _content(obj: Obj) -> Obj:
    content = {key: value for key, value in obj.items() if key not in {"kind", "apiVersion", "metadata"}}
    metadata = {
        key: value
        for key, value in obj.get("metadata", {}).items()
        if key not in _IDENTITY and key not in _BY_SERVER
    }
    return content | ({"metadata": metadata} if metadata else {})


def _diff(new: Any, old: Any) -> Any:
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return new
    return {
        key: _diff(value, old.get(key)) for key, value in new.items() if key not in old or old[key] != value
    }


def _fields(value: Any) -> Obj:
    if isinstance(value, dict):
        return {f"f:{key}": _with_self(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for key in _KEYS_OF_LISTS:
            if all(key in item for item in value):
                return {_list_key(key, item[key]): {".": {}} | _fields(item) for item in value}
    if isinstance(value, list) and all(isinstance(item, str) and "/" in item for item in value):
        return {f'v:"{item}"': {} for item in value}
    return {}


def _with_self(value: Any) -> Obj:
    fields = _fields(value)
    return {".": {}} | fields if fields and isinstance(value, list) else fields


def _list_key(key: str, value: Any) -> str:
    return f'k:{{"{key}":{value}}}' if isinstance(value, int) else f'k:{{"{key}":"{value}"}}'


def _merge(old: Obj, new: Obj) -> Obj:
    return old | {key: _merge(old.get(key, {}), value) for key, value in new.items()}
