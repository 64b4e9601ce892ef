"""A record is a CloudEvent that the official package reads, with everything that the native record says."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given

from bridge.changes.change import Change, StreamInfo
from bridge.changes.envelope import Format, Renderer
from bridge.changes.identity import Bridge, Identity, sequence
from bridge.changes.record import Record
from tests.changes.samples import BRIDGE, BRIDGES, CHANGES, CONTROLS, PODS, STREAMS, TIME

FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]")


def rendered(change: Change, stream: StreamInfo = PODS, bridge: Bridge = BRIDGE) -> Record:
    record = Renderer(bridge, stream, Format.CLOUDEVENTS).render(change, 7)
    assert record is not None
    return record


def read(record: Record) -> CloudEvent:
    """What the official package makes of the structured form; it validates every attribute."""
    event = JSONFormat().read(None, record.value)
    assert isinstance(event, CloudEvent)
    return event


def texts(event: CloudEvent) -> dict[str, str]:
    attributes: dict[str, Any] = dict(event.get_attributes())
    attributes["time"] = attributes["time"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return attributes


def same(found: str, expected: str) -> bool:
    """Equal, or equal but for characters that CloudEvents forbid."""
    return found == expected or (FORBIDDEN.search(found) is None and unquote(found) == unquote(expected))


@given(BRIDGES, STREAMS, CHANGES)
def test_the_official_reader_finds_everything_that_the_change_says(
    bridge: Bridge, stream: StreamInfo, change: Change
) -> None:
    record = rendered(change, stream, bridge)
    event = read(record)
    assert event.get_id() == record.id == Identity(bridge, stream).id(change)
    assert event.get_time() == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=change.time)
    assert event.get_data() == json.loads(change.object)
    assert event.get_datacontenttype() == "application/json"
    expected = {
        "cluster": bridge.cluster,
        "stream": stream.name,
        "origin": change.origin,
        "resource": stream.resource,
        "apiversion": stream.api_version,
        "kind": stream.kind,
        "namespace": change.namespace,
        "name": change.name,
        "uid": change.uid,
        "resourceversion": change.rv,
        "sequence": sequence(change),
        "partitionkey": Identity(bridge, stream).key(change),
    }
    for name, value in expected.items():
        assert same(event.get_extension(name) or "", value), name
    assert b"\n" not in record.value


@given(BRIDGES, STREAMS, CHANGES)
def test_structured_and_binary_say_the_same(bridge: Bridge, stream: StreamInfo, change: Change) -> None:
    record = rendered(change, stream, bridge)
    event = read(record)
    assert record.attributes == texts(event)
    assert json.loads(record.data) == event.get_data()
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in record.attributes)
    assert not any(FORBIDDEN.search(value) for value in record.attributes.values())
    assert all(record.attributes.values()), "an attribute that is there is not empty"


@given(CHANGES)
def test_the_binary_form_of_http_reads_back_the_same(change: Change) -> None:
    record = rendered(change)
    assert record.attributes is not None
    event = CloudEvent({**record.attributes, "time": read(record).get_time()}, record.data)
    sent = to_binary_event(event)
    again = from_http_event(HTTPMessage(sent.headers, sent.body))
    assert isinstance(again, CloudEvent)
    assert texts(again) == record.attributes
    assert again.get_data() == json.loads(change.object)


PATHS = [
    (PODS, "shop", "web-0", "/api/v1/namespaces/shop/pods/web-0"),
    (StreamInfo("d", "apps", "v1", "deployments", "Deployment"), "shop", "web",
     "/apis/apps/v1/namespaces/shop/deployments/web"),
    (StreamInfo("n", "", "v1", "nodes", "Node"), "", "node-1.example", "/api/v1/nodes/node-1.example"),
    (StreamInfo("r", "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole"), "", "system:node",
     "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"),
    (StreamInfo("g", "x.example.com", "v1beta1", "gadgets", "Gadget"), "a", "b",
     "/apis/x.example.com/v1beta1/namespaces/a/gadgets/b"),
    (StreamInfo("r", "rbac.authorization.k8s.io", "v1", "roles", "Role"), "a", "my role/?#é\n",
     "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles/my%20role%2F%3F%23%C3%A9%0A"),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "namespace", "name", "path"), PATHS, ids=[path[-1] for path in PATHS])
def test_the_subject_is_the_path_at_which_the_api_server_has_the_object(
    stream: StreamInfo, namespace: str, name: str, path: str
) -> None:
    change = Change("ADDED", "watch", TIME, namespace, name, "u", "1", 0, b"{}")
    assert read(rendered(change, stream)).get_subject() == path


def test_the_object_goes_out_byte_for_byte() -> None:
    body = b'{"big":12345678901234567890123,"f":1.10,"e":1E+2,"u":"\\u00fc \xc3\xbc"  }'
    record = rendered(Change("ADDED", "watch", TIME, "ns", "n", "u", "1", 0, body))
    assert record.value.endswith(b',"data":' + body + b"}")
    assert record.data == body


def test_an_event_is_frozen() -> None:
    change = Change(
        "MODIFIED", "watch", TIME, "shop", "web-0", "c0ffee00-1234", "12345", 0, b'{"kind":"Pod"}'
    )
    assert rendered(change).value == (
        b'{"type":"kube-bridge.resource.modified","id":"4f1d-uid/pods/c0ffee00-1234/12345/U",'
        b'"time":"2026-11-21T09:00:00.123456Z","specversion":"1.0",'
        b'"source":"/clusters/4f1d-uid/streams/pods",'
        b'"datacontenttype":"application/json","partitionkey":"prod-eu1//pods/shop/web-0","origin":"watch",'
        b'"cluster":"prod-eu1","stream":"pods","resource":"pods","apiversion":"v1","kind":"Pod",'
        b'"subject":"/api/v1/namespaces/shop/pods/web-0",'
        b'"sequence":"00000512345","namespace":"shop","name":"web-0","uid":"c0ffee00-1234",'
        b'"resourceversion":"12345","data":{"kind":"Pod"}}'
    )


TYPES = {
    "ADDED": "kube-bridge.resource.added",
    "MODIFIED": "kube-bridge.resource.modified",
    "DELETED": "kube-bridge.resource.deleted",
    "RESYNC": "kube-bridge.stream.resync",
    "POISON": "kube-bridge.stream.poison",
}


@pytest.mark.parametrize(("type_", "expected"), TYPES.items())
def test_types_are_frozen(type_: str, expected: str) -> None:
    change = Change(type_, "watch", TIME, "", "", "", "", 0, b"{}", {"id": "stem"})
    assert read(rendered(change)).get_type() == expected


@pytest.mark.parametrize("control", CONTROLS, ids=["begin", "end", "poison"])
def test_a_control_record_has_its_own_members_as_data(control: Change) -> None:
    record = rendered(control)
    event = read(record)
    native = Renderer(BRIDGE, PODS).render(control, 7)
    assert native is not None
    assert event.get_data() == json.loads(record.data)
    assert event.get_data() == {key: value for key, value in (control.extra or {}).items() if key != "id"}
    assert (record.id, record.key, record.sequence) == (native.id, native.key, "")
    assert event.get_subject() is None
    assert event.get_extension("name") is None
    assert (event.get_extension("stream"), event.get_extension("kind")) == ("pods", "Pod")


def test_an_inferred_deletion_says_so_and_has_an_identity_as_its_data() -> None:
    extra = {"gone": "deleted", "synthetic": True, "observedAt": "600", "snapshot": 3}
    change = Change("DELETED", "resync", TIME, "shop", "web", "u-1", "90", 0, b"", extra)
    event = read(rendered(change))
    found = [event.get_extension(name) for name in ("gone", "synthetic", "observedat", "partial", "snapshot")]
    assert found == ["deleted", "true", "600", "true", "3"]
    assert event.get_extension("sequence") == "000003600"
    native = Renderer(BRIDGE, PODS).render(change, 7)
    assert native is not None
    assert event.get_data() == json.loads(native.value)["object"]


@pytest.mark.parametrize("member", ["namespace", "name", "uid"])
@pytest.mark.parametrize("odd", ["a\nb", "a\x00", "a\ud800b", "a\x85b", "a\uffff", "a\ufdd0"])
def test_what_cloudevents_forbid_in_a_text_is_percent_encoded(member: str, odd: str) -> None:
    plain = Change("ADDED", "watch", TIME, "ns", "web-0", "u-1", "7", 0, b"{}")
    event = read(rendered(msgspec.structs.replace(plain, **{member: odd})))
    found = event.get_extension(member)
    assert found != odd
    assert unquote(found, errors="surrogatepass") == odd


def test_only_this_format_has_attributes_and_its_own_content_type() -> None:
    change = Change("ADDED", "watch", TIME, "ns", "n", "u", "1", 0, b"{}")
    for form in Format:
        record = Renderer(BRIDGE, PODS, form).render(change, 7)
        assert record is not None
        assert (record.attributes is None) is (form is not Format.CLOUDEVENTS)
    assert Format.CLOUDEVENTS.content_type == "application/cloudevents+json"
    assert Format.NATIVE.content_type == "application/json"
