"""Single sentences of the scanner's contract, each with the bytes that show it."""

import json
import time
from typing import Any

import pytest

from bridge.changes.change import Event
from bridge.kubernetes.scan import Bookmark, Failure, Malformed, Page, Shape, read_line, read_page

POD = Shape("", "v1", "Pod", builtin=True)
WIDGET = Shape("probe.io", "v1", "Widget", builtin=False)
META: dict[str, Any] = {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": "7"}


def pod(**more: Any) -> dict[str, Any]:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": META, **more}


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def line(body: Any, kind: str = "ADDED") -> bytes:
    return dumps({"type": kind, "object": body})


def event(data: bytes, shape: Shape = POD) -> Event:
    result = read_line(data, shape)
    assert isinstance(result, Event)
    return result


def page(data: bytes, shape: Shape = POD) -> Page:
    result = read_page(data, shape)
    assert isinstance(result, Page)
    return result


def pod_list(*items: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "9"} | metadata,
        "items": items,
    }


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_an_event_has_its_identity_and_the_exact_bytes_of_its_object(kind: str) -> None:
    body = dumps(pod(spec={"x": '\u0085 \\ " }} 🚀'}))
    assert event(b'{"type":"%s","object":%s}' % (kind.encode(), body)) == Event(
        kind, "shop", "a", "u", "7", body
    )


def test_any_bytes_that_json_allows_raw_in_a_string_pass() -> None:
    """[C2] U+0085 ends a line for `str.splitlines`, not for us."""
    assert "\u0085\u2028\x7f\ufeff".encode() in event(line(pod(spec="\u0085\u2028\x7f\ufeff"))).object


@pytest.mark.parametrize("padding", [b"\r", b" ", b"\t\r"])
def test_whitespace_around_a_line_is_ignored(padding: bytes) -> None:
    """[C5]"""
    assert event(padding + line(pod()) + padding).object == dumps(pod())


@pytest.mark.parametrize("form", [b'{"type":"ADDED","object": %s}', b'{"type":"ADDED","object":%s }'])
def test_whitespace_beside_the_object_is_not_part_of_it(form: bytes) -> None:
    assert event(form % dumps(pod())).object == dumps(pod())


def test_members_after_the_object_count() -> None:
    """An extra one does no harm; of a member written twice the last one counts, as for any JSON reader."""
    first, last = dumps(pod(a=1)), dumps(pod(a=2))
    assert event(b'{"type":"ADDED","object":%s,"x":{}}' % first).object == first
    assert event(b'{"type":"ADDED","object":%s,"object":%s,"type":"DELETED"}' % (first, last)).object == last


def test_a_pretty_printed_document_is_read_and_stays_one_line() -> None:
    """[C4]"""
    found = event(json.dumps({"type": "ADDED", "object": pod(spec={"a": [1, 2]})}, indent=2).encode())
    assert b"\n" not in found.object
    assert json.loads(found.object) == pod(spec={"a": [1, 2]})


def test_cluster_scoped_objects_have_no_namespace() -> None:
    for absent in ({}, {"namespace": ""}, {"namespace": None}):
        meta = {"name": "a", "uid": "u", "resourceVersion": "7"} | absent
        assert event(line(pod() | {"metadata": meta})).namespace == ""


@pytest.mark.parametrize("key", ["name", "uid", "resourceVersion"])
@pytest.mark.parametrize("value", [None, "", 7, {}])
def test_an_object_without_an_identity_is_malformed(key: str, value: Any) -> None:
    """[C15] [C16] Missing, empty or of a wrong type; in an event and in a list."""
    without = {name: text for name, text in META.items() if name != key}
    for meta in (without, META | {key: value}):
        with pytest.raises(Malformed):
            read_line(line(pod() | {"metadata": meta}), POD)
        with pytest.raises(Malformed):
            read_page(dumps(pod_list(pod() | {"metadata": meta})), POD)


def test_the_error_names_what_is_missing() -> None:
    with pytest.raises(Malformed, match=r"^the object has no metadata\.uid$"):
        read_line(line(pod() | {"metadata": META | {"uid": ""}}), POD)


@pytest.mark.parametrize("body", [None, [], "x", 1, {}, {"kind": "Pod"}, pod() | {"metadata": None}])
def test_an_event_without_an_object_is_malformed(body: Any) -> None:
    """[C15]"""
    with pytest.raises(Malformed):
        read_line(line(body), POD)


@pytest.mark.parametrize("kind", ["FOO", "added", ""])
def test_an_unknown_type_is_malformed(kind: str) -> None:
    """[C12]"""
    with pytest.raises(Malformed, match="unknown type"):
        read_line(line(pod(), kind), POD)


@pytest.mark.parametrize(
    "other", [{"kind": "Table", "apiVersion": "meta.k8s.io/v1"}, {"kind": "Node"}, {"apiVersion": "v2"}]
)
@pytest.mark.parametrize("kind", ["ADDED", "BOOKMARK"])
def test_an_object_of_another_kind_is_malformed(kind: str, other: dict[str, str]) -> None:
    """[C13] Also in a bookmark."""
    with pytest.raises(Malformed, match="where a Pod in v1 was expected"):
        read_line(line(pod() | other, kind), POD)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf" + line(pod()),
        b"\x00" + line(pod()),
        line(pod()) + b"\x00",
        line(pod()) + line(pod()),
        line(pod()) + b"}",
        line(pod())[:-1] + b",}",
        line(pod())[:-1] + b"]",
        line(pod())[:-1] + b" ",
        b"[]",
        b"null",
        line(pod(x="y")).replace(b'"y"', b"NaN"),
        line(pod(x="y")).replace(b'"y"', b'"\\ud800"'),
        line(pod(x="y")).replace(b'"y"', b'"\\x"'),
        line(pod(x="y")).replace(b'"y"', b'"\x01"'),
        line(pod(x="y")).replace(b'"y"', b"01"),
    ],
)
def test_what_is_no_json_document_is_malformed(data: bytes) -> None:
    """[C18] [C20] Trailing bytes, a byte order mark, NaN, half a surrogate pair."""
    with pytest.raises(Malformed):
        read_line(data, POD)


@pytest.mark.parametrize("where", [b'"shop"', b'"y"', b'"x"'])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc2", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"])
def test_invalid_utf8_is_malformed_wherever_it_is(where: bytes, bad: bytes) -> None:
    """[C19] In an identity, a value or a key."""
    with pytest.raises(Malformed):
        read_line(line(pod(x="y")).replace(where, where[:-1] + bad + b'"'), POD)
    with pytest.raises(Malformed):
        read_page(dumps(pod_list(pod(x="y"))).replace(where, where[:-1] + bad + b'"'), POD)


def test_html_is_named_for_what_it_is() -> None:
    """[A17]"""
    for read in (read_line, read_page):
        with pytest.raises(Malformed, match="HTML page"):
            read(b"<!doctype html><html><body>Sign in</body></html>", POD)


def test_a_list_where_a_stream_should_be_is_named() -> None:
    with pytest.raises(Malformed, match="'PodList' where watch events were expected"):
        read_line(dumps(pod_list(pod())), POD)


def test_a_malformed_line_is_described_without_quoting_it() -> None:
    """What is in a line may be a secret."""
    for data in (line(pod(data="s3cret"))[:-3], line(pod(data="s3cret")) + b"s3cret", line("s3cret")):
        with pytest.raises(Malformed) as caught:
            read_line(data, POD)
        assert "s3cret" not in str(caught.value)


def test_bookmarks_of_every_form() -> None:
    """[E3] [F1] [F14] The mark must be exactly "true"."""
    marked = {
        "resourceVersion": "7",
        "annotations": {"k8s.io/initial-events-end": "true", "kubernetes.io/x": "e30="},
    }
    assert read_line(line(pod() | {"metadata": marked}, "BOOKMARK"), POD) == Bookmark(
        "7", initial_events_end=True
    )
    for annotations in ({}, None, {"k8s.io/initial-events-end": "false"}, {"a": "k8s.io/initial-events-end"}):
        body = pod() | {"metadata": {"resourceVersion": "7", "annotations": annotations}}
        assert read_line(line(body, "BOOKMARK"), POD) == Bookmark("7", initial_events_end=False)


@pytest.mark.parametrize("metadata", [{}, {"resourceVersion": ""}, {"resourceVersion": 7}, None])
def test_a_bookmark_without_a_revision_is_malformed(metadata: Any) -> None:
    with pytest.raises(Malformed):
        read_line(line(pod() | {"metadata": metadata}, "BOOKMARK"), POD)


TOO_LARGE = {
    "kind": "Status",
    "apiVersion": "v1",
    "message": "Timeout: Too large resource version: 9, current: 8",
    "reason": "Timeout",
    "details": {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large"}],
        "retryAfterSeconds": 1,
    },
    "code": 504,
}


def test_a_status_is_read_in_an_event_bare_and_in_place_of_a_list() -> None:
    """[C21] [G1] [A10]"""
    expected = Failure(504, "Timeout", TOO_LARGE["message"], 1.0, ("ResourceVersionTooLarge", "Too large"))  # type: ignore[arg-type]  # a dict of mixed values
    assert read_line(line(TOO_LARGE, "ERROR"), POD) == expected
    assert read_line(dumps(TOO_LARGE), POD) == expected
    assert read_page(dumps(TOO_LARGE), POD) == expected


@pytest.mark.parametrize(
    "status",
    [
        None,
        [],
        {},
        {"code": "x", "details": 7},
        {"details": {"causes": {}, "retryAfterSeconds": "1"}},
        {"message": ""},
    ],
)
def test_an_error_event_is_a_failure_whatever_it_carries(status: Any) -> None:
    """[G7]"""
    result = read_line(line(status, "ERROR"), POD)
    assert isinstance(result, Failure)
    assert (result.code, result.retry_after, result.causes) == (0, None, ())
    assert result.message


@pytest.mark.parametrize("depth", [900, 1100, 5000, 9900, 60_000])
def test_depth_and_huge_integers_do_not_hide_an_object(depth: int) -> None:
    """[C17] An API server serves 9,900 levels and integers that no machine word holds."""
    nested = b'{"metadata":' * depth + b"7" * 9000 + b"}" * depth
    body = dumps(pod()).replace(
        b'"metadata":{', b'"before":%s,"metadata":{"managedFields":%s,' % (nested, nested)
    )
    expected = Event("MODIFIED", "shop", "a", "u", "7", body)
    assert read_line(b'{"type":"MODIFIED","object":%s}' % body, POD) == expected
    assert read_line(b'{ "object" : %s , "type" : "MODIFIED" }' % body, POD) == expected
    [item] = page(dumps(pod_list(7)).replace(b"[7]", b"[%s]" % body)).events
    assert item.object == body
    for cut in (len(body) // 2, len(body) - 1):
        with pytest.raises(Malformed):
            read_line(b'{"type":"MODIFIED","object":%s}' % body[:cut], POD)


@pytest.mark.parametrize("filler", [b"x", b"\\u0001", b'","', b"\xc2\x85", b'\\"}}'])
def test_a_line_of_16_mebibytes_is_read_in_linear_time(filler: bytes) -> None:
    """[C8] Four times the line costs about four times the time; sixteen times would be quadratic."""

    def seconds(size: int) -> float:
        body = dumps(pod(data=[])).replace(b"[]", b'["%s"]' % (filler * (size // len(filler))))
        start = time.process_time()
        assert event(b'{"type":"ADDED","object":%s}' % body).object == body
        return time.process_time() - start

    small, large = (min(seconds(size) for _ in range(3)) for size in (4 << 20, 16 << 20))
    assert large < 10 * small + 0.1


def test_a_page_has_its_revision_token_and_items_in_order() -> None:
    items = [pod() | {"metadata": META | {"name": name}} for name in "cab"]
    found = page(dumps(pod_list(*items, **{"continue": "T", "remainingItemCount": 753})))
    assert (found.rv, found.continue_token, found.remaining) == ("9", "T", 753)
    assert [(event.type, event.name) for event in found.events] == [
        ("ADDED", "c"),
        ("ADDED", "a"),
        ("ADDED", "b"),
    ]


def test_items_without_kind_get_it_so_that_list_and_watch_agree() -> None:
    """[A14] Only what is missing is put in, as the first members."""
    bare = {"metadata": META, "spec": {"a": 1}}
    for item in (
        bare,
        {"kind": "Pod", **bare},
        {"apiVersion": "v1", **bare},
        {"kind": "Pod", "apiVersion": "v1", **bare},
    ):
        [found] = page(dumps(pod_list(item))).events
        assert json.loads(found.object) == pod(spec={"a": 1})
    assert (
        page(dumps(pod_list(bare)))
        .events[0]
        .object.startswith(b'{"kind":"Pod","apiVersion":"v1","metadata":')
    )


def test_a_custom_resource_list_is_read_though_its_revision_comes_last() -> None:
    """[A5] real-apiserver 4.10: `continue` is present and empty; `listKind` is free."""
    meta = b'{"name":"w","resourceVersion":"3","uid":"u"}'
    item = b'{"apiVersion":"probe.io/v1","kind":"Widget","metadata":%s}' % meta
    tail = b'"metadata":{"continue":"","resourceVersion":"312"}'
    for name in (b"WidgetList", b"WidgetCatalogList"):
        found = page(b'{"apiVersion":"probe.io/v1","items":[%s],"kind":"%s",%s}' % (item, name, tail), WIDGET)
        assert (found.rv, found.continue_token, found.remaining) == ("312", "", None)
        assert found.events == [Event("ADDED", "", "w", "u", "3", item)]


@pytest.mark.parametrize("items", [b"[]", b"null"])
def test_an_empty_list_and_null_items_are_the_same(items: bytes) -> None:
    """[A5] [A6]"""
    body = (
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"T"},"items":%s}'
        % items
    )
    assert page(body) == Page("7", "T", [], None)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "NodeList"},
        {"kind": "List"},
        {"kind": "Table", "apiVersion": "meta.k8s.io/v1"},
        {"kind": "Pod"},
        {"apiVersion": "v2"},
        {"kind": None},
        {"items": {}},
        {"items": [7]},
        {"items": [pod(), pod() | {"kind": "Node"}]},
        {"metadata": None},
    ],
)
def test_a_wrong_document_is_not_a_page(change: dict[str, Any]) -> None:
    """[A17] Nor is one with a single wrong item."""
    with pytest.raises(Malformed):
        read_page(dumps(pod_list(pod()) | change), POD)


@pytest.mark.parametrize("metadata", [{}, {"resourceVersion": ""}, {"resourceVersion": 9}])
def test_a_list_without_a_revision_is_malformed(metadata: dict[str, Any]) -> None:
    """[A13]"""
    with pytest.raises(Malformed):
        read_page(dumps(pod_list(pod()) | {"metadata": metadata}), POD)


def test_a_list_without_items_is_malformed() -> None:
    body = pod_list()
    del body["items"]
    with pytest.raises(Malformed, match="the list has no items"):
        read_page(dumps(body), POD)


def test_no_cut_of_a_page_is_a_page() -> None:
    """[A16] [A18] A body cut short inside a clean HTTP message."""
    body = dumps(pod_list(pod(), pod(x="]}"), **{"continue": "T"}))
    for cut in range(len(body)):
        with pytest.raises(Malformed):
            read_page(body[:cut], POD)
