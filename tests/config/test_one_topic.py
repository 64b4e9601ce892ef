"""Streams that can see the same objects do not write into one topic, where each key has one last word."""

import pytest

from tests.config.texts import problems, text


def told(one: str, other: str, sink: str = "topic: k8s") -> list[str]:
    streams = f"streams: [{{name: a, {one}}}, {{name: b, {other}}}]"
    return problems(text(streams=streams, sinks=f"sinks: [{{name: out, type: topic, {sink}}}]"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("resource: pods", "resource: Pods"),
        ("resource: pods, labelSelector: app=a", "resource: pods, labelSelector: app=b"),
        ("resource: pods, namespaces: [x, y]", "resource: pods"),
        ("resource: pods, namespaces: [x, y]", "resource: pods, namespaces: [y, z]"),
        ("resource: pods, namespaces: [x, y]", "resource: pods, excludeNamespaces: [x]"),
        ("resource: pods, excludeNamespaces: [x]", "resource: pods, excludeNamespaces: [y]"),
        ("apiVersion: v1, kind: Pod", "apiVersion: v1, kind: Pod, namespaces: [x]"),
    ],
)
def test_streams_that_overlap_are_refused_with_what_to_write(one: str, other: str) -> None:
    sentence = (
        "4: sinks[0].topic: streams `a` and `b` can see the same objects, and would overwrite each other in "
        "one topic; write {stream} into the topic, or give each a sink with a topic of its own"
    )
    assert told(one, other) == [sentence]
    assert told(other, one, "topic: 'k8s.{resource}.{namespace}'") != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("resource: pods", "resource: jobs"),
        ("resource: pods, namespaces: [x]", "resource: pods, namespaces: [y]"),
        ("resource: pods, namespaces: [x]", "resource: pods, excludeNamespaces: [x]"),
        ("apiVersion: v1, kind: Pod", "apiVersion: v1, kind: Service"),
        ("apiVersion: apps/v1, kind: Thing", "apiVersion: example.com/v1, kind: Thing"),
    ],
)
def test_streams_that_cannot_overlap_may_share_a_topic(one: str, other: str) -> None:
    assert told(one, other) == []


@pytest.mark.parametrize("sink", ["topic: 'k8s.{stream}'", "topic: k8s, streams: [b]"])
def test_streams_that_overlap_may_go_to_topics_of_their_own(sink: str) -> None:
    assert told("resource: pods", "resource: pods", sink) == []


def test_what_is_wrong_with_a_stream_is_told_alone() -> None:
    lines = told("labelSelector: a=b", "labelSelector: a=b")
    assert [line.partition(": ")[0] for line in lines] == ["3", "3"]
