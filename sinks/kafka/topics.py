"""Topics: their names, how they are made, and the rights that they need. No I/O here."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from bridge.changes.change import StreamInfo
from bridge.settings import Range, about

__all__ = ["CreateTopics", "Topics", "acl_lines", "template_problems"]

_LONGEST: Final = 249
_PLACES: Final = ("cluster", "stream", "resource", "group", "kind", "namespace")
_place: Final = re.compile(r"\{([^{}]*)\}")
_illegal: Final = re.compile(r"[^A-Za-z0-9._-]")
_CLUSTER_SCOPED: Final = "_cluster"
"""In place of a namespace; no namespace can be named so."""
_CORE: Final = "core"


@dataclass(frozen=True, slots=True)
class CreateTopics:
    """How topics are made that do not exist; that it is there turns it on."""

    partitions: Annotated[int, Range(minimum=1)] = field(
        default=1, metadata=about("Partitions of a data topic; other topics get one.", example="6")
    )
    replication_factor: Annotated[int, Range(minimum=1)] | None = field(
        default=None, metadata=about("Replicas. Default: the broker's own default.", example="3")
    )
    cleanup_policy: Literal["compact", "delete", "compact,delete"] = field(
        default="compact", metadata=about("Of data topics; control topics get `delete`.", example="delete")
    )


def _template_problem(template: str) -> str | None:
    """What is wrong with a template of topic names, in one sentence, or None."""
    unknown = [name for name in _place.findall(template) if name not in _PLACES]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in _PLACES)
        return f"the topic {template!r} has {{{unknown[0]}}}, which stands for nothing; write one of {known}"
    rest = _place.sub("", template)
    if "{" in rest or "}" in rest:
        return f"the topic {template!r} has a brace without its partner"
    found = _illegal.search(rest)
    if found is not None:
        return (
            f"the topic {template!r} has the character {found.group()!r}; "
            "Kafka allows letters, digits, `.`, `_` and `-`"
        )
    if not template:
        return "the topic is empty; write a name, as `k8s.{cluster}.{resource}`"
    if template == rest:
        return name_problem(template)
    return None


def template_problems(template: str | None) -> Iterator[str]:
    """What is wrong with a template of topic names, for a `Rule`; nothing where there is no template."""
    problem = None if template is None else _template_problem(template)
    if problem is not None:
        yield problem


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a topic, in one sentence, or None."""
    found = _illegal.search(name)
    if found is not None:
        return (
            f"the topic {name!r} has the character {found.group()!r}; "
            "Kafka allows letters, digits, `.`, `_` and `-`"
        )
    if len(name) > _LONGEST:
        return f"the topic {name!r} has {len(name)} characters; Kafka allows {_LONGEST}: shorten the template"
    if name in {"", ".", ".."}:
        return f"{name!r} cannot be the name of a topic; write another one"
    return None


class Topics:
    """Names of one sink's topics.

    Attributes:
        namespaced: each namespace has topics of its own.
    """

    __slots__ = ("_cluster", "_control", "_topic", "namespaced")

    def __init__(self, topic: str, control: str | None, cluster: str) -> None:
        """Both templates have passed `template_problems`."""
        self._topic = topic
        self._control = control
        self._cluster = cluster
        self.namespaced = "{namespace}" in topic

    def data(self, stream: StreamInfo, namespace: str) -> str:
        """Where changes go."""
        return self._render(self._topic, stream, namespace)

    def control(self, stream: StreamInfo) -> str:
        """Where RESYNC and POISON go."""
        if self._control is not None:
            return self._render(self._control, stream, "")
        return f"{self.data(stream, '')}.control"

    def of(self, streams: Iterable[StreamInfo]) -> tuple[list[str], list[str]]:
        """Data and control topics that can be named before the first record: those without a namespace."""
        streams = list(streams)
        data = [] if self.namespaced else [self.data(stream, "") for stream in streams]
        return sorted(set(data)), sorted({self.control(stream) for stream in streams})

    def streams_of(self, topic: str, streams: Iterable[StreamInfo]) -> list[str]:
        """Names of streams whose changes may go to a topic; none for a topic without changes."""
        streams = list(streams)
        if topic in {self.control(stream) for stream in streams}:
            return []
        return [stream.name for stream in streams if self._pattern(stream).fullmatch(topic)]

    def _pattern(self, stream: StreamInfo) -> re.Pattern[str]:
        """What `data` may return for a stream."""
        parts = self._topic.split("{namespace}")
        return re.compile("[A-Za-z0-9._-]+".join(re.escape(self._render(part, stream, "")) for part in parts))

    def _render(self, template: str, stream: StreamInfo, namespace: str) -> str:
        values = {
            "cluster": self._cluster,
            "stream": stream.name,
            "resource": stream.full_resource,
            "group": stream.group or _CORE,
            "kind": stream.kind,
            "namespace": namespace or _CLUSTER_SCOPED,
        }
        return _place.sub(lambda found: values[found.group(1)], template)


def acl_lines(
    servers: str,
    principal: str,
    topics: Sequence[str],
    *,
    create: bool,
    transactional_id: str = "",
    cursor_topic: str = "",
    secured: bool = False,
) -> list[str]:
    """The rights that the sink needs, as commands that give them.

    An administrator who must log in, too, has that in a file (`secured`).
    """
    login = " --command-config admin.properties" if secured else ""
    command = f"kafka-acls --bootstrap-server {servers}{login} --add --allow-principal {principal}"
    operations = "--operation Write --operation Describe --operation DescribeConfigs"
    if create:
        operations += " --operation Create"
    lines = [f"{command} {operations} --topic {topic}" for topic in topics]
    if transactional_id:
        lines.append(f"{command} {operations} --operation Read --topic {cursor_topic}")
        lines.append(
            f"{command} --operation Write --operation Describe --transactional-id {transactional_id}"
        )
        lines.append(f"{command} --operation Read --group {transactional_id}")
    return lines
