"""What a request says, read back by the official CloudEvents package."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Change, StreamInfo
from bridge.changes.envelope import Bridge, Format, Renderer
from bridge.changes.record import Record
from bridge.delivery.sink import Stopped
from sinks.webhook.body import CloudEvents, Message, compose
from tests.changes.samples import BRIDGES, CHANGES, STREAMS
from tests.sinks.receiver import record

VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


def event(number: int, subject: str = "pods/a") -> Record:
    """A record as `format: cloudevents` renders it."""
    attributes = {
        "specversion": "1.0",
        "id": f"c/pods/u{number}/1/U",
        "source": "/clusters/u/streams/pods",
        "type": "kube.modified",
        "subject": subject,
        "time": "2026-11-28T12:00:00.000001Z",
        "datacontenttype": "application/json",
    }
    data = {"n": number}
    value = json.dumps({**attributes, "data": data}).encode()
    return record(number, value, attributes=attributes, data=json.dumps(data).encode())


def http(message: Message) -> HTTPMessage:
    return HTTPMessage({name.decode(): value.decode() for name, value in message.headers}, message.body)


def content_type(message: Message) -> bytes:
    return dict(message.headers)[b"content-type"]


def told(found: Any) -> tuple[Any, ...]:
    return found.get_id(), found.get_source(), found.get_type(), found.get_subject(), found.get_data()


def expected(number: int, subject: str = "pods/a") -> tuple[Any, ...]:
    return f"c/pods/u{number}/1/U", "/clusters/u/streams/pods", "kube.modified", subject, {"n": number}


def test_a_single_record_is_its_value_under_its_own_id() -> None:
    message = compose([record(1)], None, "application/json", together=False)
    assert message == Message(record(1).id, [(b"content-type", b"application/json")], record(1).value)


@pytest.mark.parametrize("count", [1, 3])
def test_records_together_are_always_an_array(count: int) -> None:
    records = [record(number) for number in range(count)]
    message = compose(records, None, "application/json", together=True)
    assert json.loads(message.body) == [json.loads(each.value) for each in records]
    assert content_type(message) == b"application/json"
    assert message.id.startswith("batch-")


@given(VALUES)
def test_binary_mode_is_read_back_by_the_official_package(subject: str) -> None:
    message = compose([event(1, subject)], "binary", "", together=False)
    assert told(from_binary(http(message), JSONFormat())) == expected(1, subject)
    assert message.id == event(1).id
    for _, value in message.headers:
        assert all(0x21 <= byte < 0x7F for byte in value), "only printable ASCII stands in a header"


def test_binary_mode_encodes_what_the_binding_says_and_nothing_else() -> None:
    message = compose([event(1, 'Euro € "50%" a/b:c')], "binary", "", together=False)
    assert dict(message.headers)[b"ce-subject"] == b"Euro%20%E2%82%AC%20%2250%25%22%20a/b:c"
    assert b"ce-datacontenttype" not in dict(message.headers)


@pytest.mark.parametrize("mode", ["structured", None])
def test_structured_mode_is_read_back_by_the_official_package(mode: CloudEvents | None) -> None:
    message = compose([event(1)], mode, "application/cloudevents+json", together=False)
    assert content_type(message) == b"application/cloudevents+json"
    assert told(from_structured(http(message), JSONFormat())) == expected(1)


@pytest.mark.parametrize(("mode", "together"), [("batch", False), ("batch", True), (None, True)])
def test_each_event_of_a_batch_is_read_back(mode: CloudEvents | None, *, together: bool) -> None:
    """Also where the batch holds one, and where batching is all that was asked for."""
    for count in (1, 3):
        records = [event(number) for number in range(count)]
        message = compose(records, mode, "application/cloudevents+json", together=together)
        assert content_type(message) == b"application/cloudevents-batch+json"
        read = [JSONFormat().read(None, json.dumps(each)) for each in json.loads(message.body)]
        assert [told(each) for each in read] == [expected(number) for number in range(count)]


@given(BRIDGES, STREAMS, CHANGES)
def test_every_mode_says_the_same_of_whatever_the_format_renders(
    bridge: Bridge, stream: StreamInfo, change: Change
) -> None:
    rendered = Renderer(bridge, stream, Format.CLOUDEVENTS).render(change, 1)
    assert rendered is not None
    kind = Format.CLOUDEVENTS.content_type
    binary = from_binary(http(compose([rendered], "binary", kind, together=False)), JSONFormat())
    structured = from_structured(http(compose([rendered], None, kind, together=False)), JSONFormat())
    assert binary.get_attributes() == structured.get_attributes()
    assert binary.get_data() == structured.get_data()
    assert binary.get_id() == rendered.id


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
def test_records_that_are_no_cloudevents_stop_the_sink_with_what_to_write(mode: CloudEvents) -> None:
    with pytest.raises(Stopped, match="write `format: cloudevents` beside it"):
        compose([record(1)], mode, "application/json", together=False)
