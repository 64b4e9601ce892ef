"""A sink is another one when its place changes, and only then: a new one costs a snapshot."""

from dataclasses import dataclass, field

import pytest

from bridge.config import SinkConfig, loads
from bridge.delivery.plan import place_of
from bridge.delivery.sink import Located, Owning
from bridge.runtime.outlets import _fingerprint

HEAD = "cluster: {name: c}\nstate: {path: /s}\nstreams: [{name: pods, resource: pods}]\n"
KAFKA = "type: kafka, bootstrapServers: a:1, topic: t"
HOOK = "type: webhook, url: https://a.example/x"
FILE = "type: jsonlines, path: /out.jsonl"


def sink(keys: str) -> SinkConfig:
    (found,) = loads(f"{HEAD}sinks: [{{name: out, {keys}}}]\n", "c.yaml", check_files=False).sinks
    return found


@pytest.mark.parametrize(
    ("keys", "more"),
    [
        (KAFKA, "delivery: transactional"),
        (KAFKA, "properties: {linger.ms: 50}"),
        (HOOK, "timeout: 5s, concurrency: 9"),
        (HOOK, "signingSecret: {env: S}"),
        (FILE, "rotate: {maxBytes: 1Mi}"),
        (FILE, "batch: {maxRecords: 5}"),
    ],
)
def test_another_way_of_delivering_is_no_other_destination(keys: str, more: str) -> None:
    assert _fingerprint(sink(keys)) == _fingerprint(sink(f"{keys}, {more}"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (KAFKA, KAFKA.replace("topic: t", "topic: u")),
        (KAFKA, KAFKA.replace("a:1", "b:1")),
        (KAFKA, f"{KAFKA}, controlTopic: c"),
        (HOOK, HOOK.replace("/x", "/y")),
        (FILE, FILE.replace("/out", "/other")),
    ],
)
def test_another_place_is_another_destination(before: str, after: str) -> None:
    assert _fingerprint(sink(before)) != _fingerprint(sink(after))


@dataclass(frozen=True)
class Plain:
    """A sink that does not say where it delivers."""

    table: str
    key: str = field(default="k", repr=False)
    open: list[str] = field(init=False, default_factory=list)


def test_without_a_word_of_the_sink_every_option_is_a_part_of_the_place_and_nothing_else() -> None:
    one = Plain("t")
    place = place_of(one)
    one.open.append("a connection")
    assert place_of(one) == place == place_of(Plain("t"))
    assert len({place, place_of(Plain("u")), place_of(Plain("t", "other"))}) == 3


@pytest.mark.parametrize("keys", [KAFKA, HOOK, FILE])
def test_each_of_our_sinks_says_where_it_delivers_and_what_done_means(keys: str) -> None:
    options = sink(keys).options
    assert isinstance(options, Located)
    assert isinstance(options, Owning)
