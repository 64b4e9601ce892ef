"""`metadata.managedFields` as server-side bookkeeping writes them, near enough in shape and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.simulator.encode import MAPS

if TYPE_CHECKING:
    from bridge.simulator.encode import Obj

__all__ = ["record_manager"]

_IDENTITY = {"name", "namespace", "kind", "apiVersion", "uid", "resourceVersion", "generation"}
_BY_SERVER = {"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"}
_ATOMIC = {"involvedObject", "matchLabels"}
_KEYS_OF_LISTS = ("uid", "type", "containerPort", "name", "ip")


def record_manager(
    obj: Obj,
    previous: Obj | None,
    *,
    manager: str,
    subresource: str,
    now: str,
    api_version: str,
    custom: bool,
) -> None:
    """Adds to `obj`, in place, that the manager has written what differs from the previous version."""
    before = previous or {}
    entries = [dict(entry) for entry in before.get("metadata", {}).get("managedFields", ())]
    new, old = _content(obj), _content(before)
    metadata = _changes(new.pop("metadata", {}), old.pop("metadata", {}), custom=False)
    changed = _changes(new, old, custom=custom) | ({"f:metadata": metadata} if metadata else {})
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
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": dict(sorted(changed.items()))}
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


def _changes(new: Obj, old: Obj, *, custom: bool, in_map: bool = False) -> Obj:
    """The fields of an object that are not as they were; "." where a map or a list is new itself."""
    fields = {}
    for key in sorted(new):
        value, was = new[key], old.get(key)
        empty = not value and not isinstance(value, (bool, int))
        if (key in old and value == was) or (empty and not in_map and not custom):
            continue
        fields[f"f:{key}"] = _field(key, value, was, custom=custom)
    return fields


def _field(key: str, value: Any, was: Any, *, custom: bool) -> Obj:
    fresh: Obj = {} if was else {".": {}}
    if isinstance(value, dict) and key not in _ATOMIC:
        is_map = key in MAPS or custom
        old = was if isinstance(was, dict) else {}
        inner = _changes(value, old, custom=custom, in_map=is_map)
        return (fresh if is_map and inner else {}) | inner
    if isinstance(value, list) and value and not custom:
        return _items(value, fresh)
    return {}


def _items(items: list[Any], fresh: Obj) -> Obj:
    if all(isinstance(item, dict) for item in items):
        for key in _KEYS_OF_LISTS:
            if all(key in item for item in items):
                named = ((item, _list_key(key, item[key])) for item in items)
                return fresh | {name: {".": {}} | _changes(item, {}, custom=False) for item, name in named}
    if all(isinstance(item, str) and "/" in item for item in items):
        return fresh | {f'v:"{item}"': {} for item in items}
    return {}


def _list_key(key: str, value: Any) -> str:
    return f'k:{{"{key}":{value}}}' if isinstance(value, int) else f'k:{{"{key}":"{value}"}}'


def _merge(old: Obj, new: Obj) -> Obj:
    return old | {key: _merge(old.get(key, {}), value) for key, value in new.items()}
