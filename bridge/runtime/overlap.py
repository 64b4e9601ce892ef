"""Streams that turn out to be of one resource, although they name it differently, in one Kafka topic."""

from collections.abc import Iterator, Mapping
from typing import Final

from bridge.config import Config, SinkConfig, StreamConfig
from bridge.config.topics import Watched, shared_topic, topic_problems
from bridge.errors import UsageError
from bridge.kubernetes.catalog import Resource

__all__ = ["Resolved", "overlaps"]


def overlaps(config: Config, resources: Mapping[str, Resource]) -> Iterator[tuple[str, str]]:
    """What the configuration could not tell by itself: the name of a sink, and what is wrong.

    Args:
        config: all that is configured.
        resources: by stream, as far as they are known.
    """
    for sink in config.sinks:
        if shared_topic(getattr(sink.options, "topic", None)):
            for problem in topic_problems(_watched(config, sink, resources)):
                yield sink.name, problem


class Resolved:
    """The resources of the streams of a running bridge, as they become known."""

    def __init__(self, config: Config) -> None:
        self._config: Final = config
        self._resources: Final[dict[str, Resource]] = {}

    def learn(self, stream: StreamConfig, resource: Resource) -> None:
        """Note the resource of a stream, before it is watched.

        Raises:
            UsageError: another stream has it too, and both go into one topic.
        """
        self._resources[stream.name] = resource
        for sink, problem in overlaps(self._config, self._resources):
            raise UsageError(f"sink {sink}: {problem}")


def _watched(config: Config, sink: SinkConfig, resources: Mapping[str, Resource]) -> Iterator[Watched]:
    for stream in config.streams:
        resource = resources.get(stream.name)
        if resource is not None and (sink.streams is None or stream.name in sink.streams):
            # The version is no part of the key.
            yield Watched(
                stream.name,
                (resource.group, resource.resource),
                frozenset(stream.namespaces),
                frozenset(stream.exclude_namespaces),
            )
