"""What differs between two versions of an object, as paths with old and new value. No I/O here.

For people: list items are matched by their name, so that a condition reads as
`status.conditions[Ready].status`, and bookkeeping can be told from news.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

__all__ = ["ABSENT", "Difference", "Item", "differences", "news", "path_text"]

ABSENT: Final = object()
"""In place of the old value of what was added, or the new value of what was removed."""

LIMIT = 500
_NAMES = ("name", "type", "uid", "key", "ip", "containerPort", "port", "mountPath")
_PLAIN_KEY = re.compile(r"""[^.$\[\]"'*\s]+""")
_BOOKKEEPING = {
    ("metadata", "managedFields"),
    ("metadata", "resourceVersion"),
    ("metadata", "generation"),
    ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"),
    ("status", "observedGeneration"),
}
_LARGE = ("metadata", "managedFields")  # a third of an object, and no news in it
_TIMES = {"lastHeartbeatTime", "lastTransitionTime", "lastProbeTime", "lastUpdateTime"}
_EXPLANATIONS = {"reason", "message"}


class Item(NamedTuple):
    """A step into a list, to the item with this name."""

    name: str


Step = str | int | Item


class Difference(NamedTuple):
    """One value that was added, removed or changed.

    Attributes:
        path: keys, indices and named items from the top down.
        old: the JSON value before, or ABSENT.
        new: the JSON value now, or ABSENT.
    """

    path: tuple[Step, ...]
    old: Any
    new: Any


def differences(old: Any, new: Any) -> list[Difference]:
    """All differences in the order of the object, at most `LIMIT`.

    Raises:
        RecursionError: they are nested deeper than Python can follow.
    """
    found: list[Difference] = []
    _compare((), old, new, found)
    return found


def news(found: Sequence[Difference]) -> list[Difference]:
    """Without bookkeeping: what only says that somebody wrote, and what follows from another difference.

    The reason, message and times of a condition go with its status; where that stays, a new reason is news.
    """
    turned = {difference.path[:-1] for difference in found if difference.path[-1:] == ("status",)}
    return [
        difference
        for difference in found
        if not any(difference.path[: len(field)] == field for field in _BOOKKEEPING)
        and not _follows(difference.path, turned)
    ]


def _follows(path: tuple[Step, ...], turned: set[tuple[Step, ...]]) -> bool:
    in_item = len(path) > 1 and isinstance(path[-2], Item)
    return in_item and (path[-1] in _TIMES or (path[-1] in _EXPLANATIONS and path[:-1] in turned))


def path_text(path: tuple[Step, ...]) -> str:
    """The path as it is written in the configuration, as `spec.containers[web].image`."""
    return "".join(_steps(path))


def _steps(path: tuple[Step, ...]) -> Iterator[str]:
    for index, step in enumerate(path):
        if isinstance(step, Item):
            yield f"[{step.name}]"
        elif isinstance(step, int):
            yield f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            yield step if index == 0 else f".{step}"
        else:
            yield f'["{step}"]'


def _compare(path: tuple[Step, ...], old: Any, new: Any, found: list[Difference]) -> None:
    if len(found) >= LIMIT:
        return
    if path == _LARGE:
        if old != new:
            found.append(Difference(path, old, new))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            _compare((*path, key), old.get(key, ABSENT), new.get(key, ABSENT), found)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_lists(path, old, new, found)
    elif path[-1:] == ("conditions",) and old is ABSENT and isinstance(new, list) and new:
        _compare_lists(path, [], new, found)
    elif old is not new and (type(old) is not type(new) or old != new):
        found.append(Difference(path, old, new))


def _compare_lists(path: tuple[Step, ...], old: list[Any], new: list[Any], found: list[Difference]) -> None:
    name = next((key for key in _NAMES if _is_name(key, old) and _is_name(key, new)), None)
    if name is not None:
        before, after = ({str(item[name]): item for item in items} for items in (old, new))
        for label in before | after:
            _compare((*path, Item(label)), before.get(label, ABSENT), after.get(label, ABSENT), found)
    elif len(old) != len(new) and not any(isinstance(item, dict | list) for item in (*old, *new)):
        gone = [Difference(path, item, ABSENT) for item in old if item not in new]
        come = [Difference(path, ABSENT, item) for item in new if item not in old]
        found += gone + come or [Difference(path, old, new)]
    else:
        for index in range(max(len(old), len(new))):
            before_item, after_item = (items[index] if index < len(items) else ABSENT for items in (old, new))
            _compare((*path, index), before_item, after_item, found)


def _is_name(key: str, items: list[Any]) -> bool:
    """Whether the member `key` tells the items of a list apart."""
    names = [item.get(key) if isinstance(item, dict) else None for item in items]
    return all(isinstance(name, str | int) for name in names) and len(set(map(str, names))) == len(names)
