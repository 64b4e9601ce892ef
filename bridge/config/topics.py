"""Which streams may not go into one topic, where each key has one last word. No I/O here."""

from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

__all__ = ["Watched", "shared_topic", "topic_problems"]


class Watched(NamedTuple):
    """What a stream watches.

    Attributes:
        stream: its name.
        resource: equal only where it surely is the same one.
        namespaces: empty for all.
        excluded: what is left out of all.
    """

    stream: Any
    resource: Hashable
    namespaces: frozenset[str]
    excluded: frozenset[str]

    def meets(self, other: "Watched") -> bool:
        """Whether an object can be seen by both.

        Selectors do not tell streams apart: an object that moves from one to the other is deleted by one
        stream and added by the other, in no order.
        """
        if self.resource != other.resource:
            return False
        listed = (self.namespaces, other.namespaces)
        if all(listed):
            return bool(listed[0] & listed[1])
        return not any(listed) or bool((listed[0] or listed[1]) - self.excluded - other.excluded)


def shared_topic(template: Any) -> bool:
    """Whether several streams go into one topic, be it one for each resource or namespace."""
    return isinstance(template, str) and "{stream}" not in template


def topic_problems(streams: Iterable[Watched]) -> Iterator[str]:
    """A sentence for each two streams of one topic whose records would overwrite each other."""
    for one, other in combinations(streams, 2):
        if one.meets(other):
            yield (
                f"streams `{one.stream}` and `{other.stream}` can see the same objects, and would "
                "overwrite each other in one topic; write {stream} into the topic, or give each a sink "
                "with a topic of its own"
            )
