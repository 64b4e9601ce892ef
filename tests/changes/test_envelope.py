"""A rendered record is one line of JSON that says exactly what the change says, in the documented order."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given

from bridge.changes.change import Change, StreamInfo
from bridge.changes.envelope import Bridge, Format, Renderer, render
from bridge.changes.identity import Identity, sequence
from tests.changes.samples import BRIDGE, BRIDGES, CHANGES, CONTROLS, PODS, STREAMS, TIME


def expected_head(bridge: Bridge, stream: StreamInfo, change: Change) -> dict[str, Any]:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=change.time)
    return {
        "type": change.type,
        "id": Identity(bridge, stream).id(change),
        "time": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "cluster": bridge.cluster,
        "stream": stream.name,
        "origin": change.origin,
        "resource": stream.resource,
        "apiVersion": stream.api_version,
        "kind": stream.kind,
    }


def expected_record(bridge: Bridge, stream: StreamInfo, change: Change) -> dict[str, Any]:
    record = expected_head(bridge, stream, change) | {
        "namespace": change.namespace,
        "name": change.name,
        "uid": change.uid,
        "resourceVersion": change.rv,
        "sequence": sequence(change),
    }
    return record | (change.extra or {}) | {"object": json.loads(change.object)}


@given(BRIDGES, STREAMS, CHANGES)
def test_a_record_read_back_says_what_the_change_says_in_the_documented_order(
    bridge: Bridge, stream: StreamInfo, change: Change
) -> None:
    line = render(bridge, stream, change)
    assert line is not None
    expected = expected_record(bridge, stream, change)
    assert json.loads(line) == expected
    assert list(json.loads(line)) == list(expected)
    assert b"\n" not in line


@given(STREAMS, CHANGES)
def test_the_kubernetes_format_has_type_and_object_only(stream: StreamInfo, change: Change) -> None:
    line = render(BRIDGE, stream, change, Format.KUBERNETES)
    assert line is not None
    assert json.loads(line) == {"type": change.type, "object": json.loads(change.object)}
    assert b"\n" not in line


def test_the_object_goes_out_byte_for_byte() -> None:
    body = b'{"big":12345678901234567890123,"f":1.10,"e":1E+2,"u":"\\u00fc \xc3\xbc"  }'
    line = render(BRIDGE, PODS, Change("ADDED", "watch", TIME, "ns", "n", "u", "1", 0, body))
    assert line is not None
    assert line.endswith(b',"object":' + body + b"}")


def test_a_record_is_frozen() -> None:
    change = Change(
        "MODIFIED", "watch", TIME, "shop", "web-0", "c0ffee00-1234", "12345", 0, b'{"kind":"Pod"}'
    )
    assert render(BRIDGE, PODS, change) == (
        b'{"type":"MODIFIED","id":"4f1d-uid/pods/c0ffee00-1234/12345/U","time":"2026-11-21T09:00:00.123456Z",'
        b'"cluster":"prod-eu1","stream":"pods","origin":"watch","resource":"pods","apiVersion":"v1","kind":"Pod",'
        b'"namespace":"shop","name":"web-0","uid":"c0ffee00-1234","resourceVersion":"12345",'
        b'"sequence":"00000512345","object":{"kind":"Pod"}}'
    )


def test_an_inferred_deletion_has_an_identity_as_its_object_never_null() -> None:
    extra = {"gone": "deleted", "synthetic": True, "observedAt": "600"}
    change = Change("DELETED", "resync", TIME, "shop", 'we"b', "u-1", "90", 0, b"", extra)
    line = render(BRIDGE, PODS, change)
    assert line is not None
    record = json.loads(line)
    assert list(record)[-5:] == ["gone", "synthetic", "observedAt", "partial", "object"]
    assert record["partial"] is True
    assert record["resourceVersion"] == "90"
    assert record["sequence"] == "000003600"
    identity = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": 'we"b', "uid": "u-1", "resourceVersion": "90"},
    }
    assert record["object"] == identity
    kubernetes = render(BRIDGE, PODS, change, Format.KUBERNETES)
    assert kubernetes is not None
    assert json.loads(kubernetes) == {"type": "DELETED", "object": identity}


def test_the_identity_of_a_cluster_scoped_object_has_no_namespace() -> None:
    nodes = StreamInfo("nodes", "", "v1", "nodes", "Node")
    line = render(
        BRIDGE, nodes, Change("DELETED", "resync", TIME, "", "n1", "u", "9", 0, b"", {"gone": "deleted"})
    )
    assert line is not None
    record = json.loads(line)
    assert record["namespace"] == ""
    assert record["object"]["metadata"] == {"name": "n1", "uid": "u", "resourceVersion": "9"}


@pytest.mark.parametrize("control", CONTROLS, ids=["begin", "end", "poison"])
def test_a_control_record_tells_about_the_stream_and_has_no_object(control: Change) -> None:
    line = render(BRIDGE, PODS, control)
    assert line is not None
    extra = {key: value for key, value in (control.extra or {}).items() if key != "id"}
    expected = expected_head(BRIDGE, PODS, control) | extra
    assert json.loads(line) == expected
    assert list(json.loads(line)) == list(expected)


@pytest.mark.parametrize("control", CONTROLS, ids=["begin", "end", "poison"])
def test_the_kubernetes_format_leaves_control_records_out(control: Change) -> None:
    assert render(BRIDGE, PODS, control, Format.KUBERNETES) is None


def test_a_lone_surrogate_is_carried_as_json_carries_it() -> None:
    line = render(BRIDGE, PODS, Change("ADDED", "watch", TIME, "ns", "a\ud800b", "u\udfff", "1", 0, b"{}"))
    assert line is not None
    record = json.loads(line)
    assert record["name"] == "a\ud800b"
    assert record["uid"] == "u\udfff"


def test_times_of_one_renderer_may_go_back_and_forth() -> None:
    renderer = Renderer(BRIDGE, PODS)
    times = [0, 999_999, 1_000_000, 5, TIME, TIME + 1, TIME - 1_000_000]
    for time in times:
        record = renderer.render(Change("ADDED", "watch", time, "ns", "n", "u", "1", 0, b"{}"), 1)
        assert record is not None
        read = datetime.strptime(json.loads(record.value)["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
        assert read == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)


ODD = ["a.b", "a/b", 'a"b', "a\\b", "a\nb", "a\n", "\n", "ü", "\x7f", "", "a:b", "a b", "A_1-"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("member", ["namespace", "name", "uid", "rv"])
def test_one_odd_value_among_plain_ones_is_still_escaped(member: str, odd: str) -> None:
    """The short way for plain values looks at all four at once."""
    plain = Change("ADDED", "watch", TIME, "ns", "web-0", "u-1", "7", 0, b"{}")
    change = msgspec.structs.replace(plain, **{member: odd})
    line = render(BRIDGE, PODS, change)
    assert line is not None
    assert json.loads(line) == expected_record(BRIDGE, PODS, change)
