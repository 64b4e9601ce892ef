"""What is secret leaves no trace; everything else stays as it was."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Event
from bridge.changes.jsontext import Malformed
from bridge.changes.redact import LAST_APPLIED, Redactor, parse_path
from bridge.errors import UsageError
from tests.kubernetes import strategies
from tests.kubernetes.reference import loads

KEY = b"k" * 32
SENTINEL = "sentinel-Zq7!"
ENCODED = base64.b64encode(SENTINEL.encode()).decode()


def redactor(*redact: str, drop: tuple[str, ...] = (), secret: bool = False, key: bytes = KEY) -> Redactor:
    return Redactor(key, "cluster", secret_values=secret, redact=redact, drop=drop)


def event(body: Any, uid: str = "uid") -> Event:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Event("MODIFIED", "shop", "s", uid, "7", data)


def shown(rule: Redactor, body: Any, uid: str = "uid") -> Any:
    return loads(rule(event(body, uid)).object)


def secret(**data: str) -> dict[str, Any]:
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {
            "name": "s",
            "annotations": {LAST_APPLIED: json.dumps({"data": data}), "other": "kept"},
            "managedFields": [{"fieldsV1": {"f:data": {f"f:{key}": {} for key in data}}}],
        },
        "data": data,
        "stringData": {"also": "plain"},
        "type": "Opaque",
    }


def test_a_secret_keeps_its_keys_and_loses_its_values() -> None:
    body = secret(password=ENCODED, user="dXNlcg==")
    found = shown(redactor(secret=True), body)
    assert list(found["data"]) == ["password", "user"]
    for value in (
        *found["data"].values(),
        found["stringData"]["also"],
        found["metadata"]["annotations"][LAST_APPLIED],
    ):
        assert len(base64.b64decode(value, validate=True)) == 16
    for part in ("data", "stringData"):
        found[part] = body[part]
    found["metadata"]["annotations"][LAST_APPLIED] = body["metadata"]["annotations"][LAST_APPLIED]
    assert found == body


def test_a_hash_is_hmac_sha256_over_four_parts_with_their_lengths() -> None:
    """Frozen: what is stored today must equal what is stored after an upgrade."""

    def expected(field: str, value: bytes) -> str:
        parts = (b"cluster", b"uid", field.encode(), value)
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return base64.b64encode(hmac.new(KEY, message, hashlib.sha256).digest()[:16]).decode()

    body = {
        "data": {"a.b": ENCODED, "odd": "%"},
        "stringData": {"x": "ä"},
        "spec": [{"n": 7}, {"n": {"y": 1.50}}],
    }
    found = shown(redactor("spec[*].n", secret=True), event(body).object)
    assert found["data"] == {
        "a.b": expected('["data","a.b"]', SENTINEL.encode()),
        "odd": expected('["data","odd"]', b'"%"'),
    }
    assert found["stringData"] == {"x": expected('["stringData","x"]', '"ä"'.encode())}
    assert found["spec"] == [
        {"n": expected('["spec",0,"n"]', b"7")},
        {"n": expected('["spec",1,"n"]', b'{"y": 1.5}')},
    ]
    assert found["data"]["a.b"] == "iMjaEoX/SFRSNPWge8Ppxg=="


def test_the_same_value_is_the_same_and_another_one_is_not() -> None:
    """So that a change shows as a change, and nothing else does."""
    rule = redactor(secret=True)
    one, again, other = (shown(rule, secret(a=value))["data"]["a"] for value in ("YQ==", "YQ==", "Yg=="))
    assert one == again != other


def test_equal_values_elsewhere_do_not_look_alike() -> None:
    """Not in another field, object or cluster, nor under another key."""
    body = {"data": {"a": "YQ==", "b": "YQ=="}, "stringData": {"a": "a"}}
    one = shown(redactor(secret=True), body)
    hashes = {*one["data"].values(), *one["stringData"].values()}
    hashes.add(shown(redactor(secret=True), body, uid="other")["data"]["a"])
    hashes.add(shown(redactor(secret=True, key=b"j" * 32), body)["data"]["a"])
    hashes.add(shown(Redactor(KEY, "elsewhere", secret_values=True), body)["data"]["a"])
    assert len(hashes) == 6


secrets = st.recursive(
    st.sampled_from([SENTINEL, ENCODED]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(strategies.keys, inner, max_size=3)),
    max_leaves=6,
)


@given(
    st.dictionaries(strategies.keys, strategies.values), secrets, secrets, st.randoms(use_true_random=False)
)
def test_a_sentinel_is_nowhere_in_a_redacted_secret(
    rest: dict[str, Any], data: Any, more: Any, random: Any
) -> None:
    """Raw and in base64, in any shape and spelling of `data`, `stringData` and the annotation."""
    annotations = {LAST_APPLIED: json.dumps(data), "a": "b"}
    body = rest | {"data": data, "stringData": more, "metadata": {"annotations": annotations}}
    before = event(strategies.scribble(body, random).encode())
    after = redactor(secret=True)(before).object
    text = json.dumps(json.loads(after), ensure_ascii=False)
    for leaked in (SENTINEL, ENCODED, SENTINEL[2:9], ENCODED[2:9]):
        assert leaked not in text
        assert leaked.encode() not in after
    for key in rest.keys() - {"data", "stringData", "metadata"}:
        assert loads(after)[key] == loads(before.object)[key]


def test_a_value_written_twice_or_under_an_escaped_key_is_redacted() -> None:
    body = b'{"data":{"a":"%s"},"d\\u0061ta":{"\\u0061":"%s","a":"%s"}}' % ((ENCODED.encode(),) * 3)
    after = redactor(secret=True)(event(body)).object
    assert ENCODED.encode() not in after
    assert list(loads(after)) == ["data"]


def test_what_is_not_redacted_keeps_its_bytes() -> None:
    """Huge integers, fractions, depth and escapes are not touched by a parse."""
    odd = b'{"i":12345678901234567890123,"f":1.50e+22,"z":-0,"e":"\\u003c\\/","d":%s}' % (
        b"[" * 9900 + b"]" * 9900
    )
    body = b'{"spec":%s,"data":{"a":"%s"},"status":%s}' % (odd, ENCODED.encode(), odd)
    after = redactor(secret=True)(event(body)).object
    assert after.startswith(b'{"spec":%s,"data":{"a":"' % odd)
    assert after.endswith(b',"status":%s}' % odd)
    assert ENCODED.encode() not in after


@given(st.dictionaries(strategies.keys, strategies.values), st.randoms(use_true_random=False))
def test_paths_that_match_nothing_change_no_value(body: dict[str, Any], random: Any) -> None:
    before = strategies.scribble(body, random).encode()
    assert shown(redactor("nothing.here[*].x", drop=("nor[*].there",)), before) == loads(before)


def test_identity_fields_of_the_event_stay() -> None:
    before = event(secret(a=ENCODED))
    after = redactor(secret=True)(before)
    assert (after.type, after.namespace, after.name, after.uid, after.rv) == (
        "MODIFIED",
        "shop",
        "s",
        "uid",
        "7",
    )


def test_paths_reach_lists_maps_and_quoted_keys() -> None:
    body = {
        "spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]},
        "metadata": {"annotations": {"a.b/c": "x", "a": {"b/c": "y"}}, "labels": {"l": "1", "m": "2"}},
    }
    found = shown(
        redactor(
            'metadata.annotations["a.b/c"]', drop=("spec.containers[*].env[*].value", "metadata.labels[*]")
        ),
        body,
    )
    assert found["spec"] == {"containers": [{"name": "a", "env": [{"name": "X"}]}, {"name": "b"}]}
    assert found["metadata"]["labels"] == {}
    assert found["metadata"]["annotations"]["a"] == {"b/c": "y"}
    assert found["metadata"]["annotations"]["a.b/c"] != "x"


def test_dropping_wins_over_redacting_and_items_can_be_dropped() -> None:
    assert shown(redactor("a[*]", drop=("a.x",)), {"a": {"x": 1}}) == {"a": {}}
    assert shown(redactor(drop=("a[*]",)), {"a": [1, 2]}) == {"a": []}


@pytest.mark.parametrize("value", ["s3", 7, True])
def test_a_bare_value_where_a_map_was_promised_is_redacted(value: Any) -> None:
    found = shown(redactor(secret=True), {"data": value})
    assert found["data"] != value
    assert shown(redactor(secret=True), {"data": None}) == {"data": None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"data":{"a":"x"}',
        b"[]",
        b'"x"',
        b"null",
        b'{"data":"\xff"}',
        b'{"a":1}{"data":1}',
        b"<html>",
    ],
)
def test_an_object_that_cannot_be_taken_apart_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        redactor(secret=True)(event(body))


def test_whitespace_around_an_object_does_not_hide_it() -> None:
    assert (
        ENCODED.encode()
        not in redactor(secret=True)(event(b' \n{ "data" : {"a": "%s"} } ' % ENCODED.encode())).object
    )


def test_without_rules_an_event_passes_as_it_is() -> None:
    before = event(secret(a=ENCODED))
    assert redactor()(before) is before


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("spec", ("spec",)),
        ("spec.nodeName", ("spec", "nodeName")),
        ("spec.containers[*].env[*].value", ("spec", "containers", None, "env", None, "value")),
        ('metadata.annotations["a.b/c"]', ("metadata", "annotations", "a.b/c")),
        ('metadata.labels["say \\"x\\""].y', ("metadata", "labels", 'say "x"', "y")),
        ("data[*]", ("data", None)),
    ],
)
def test_field_paths_are_read(path: str, steps: tuple[str | None, ...]) -> None:
    assert parse_path(path) == steps


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a[",
        "a[0]",
        "a[b]",
        "[*]",
        '["a"]',
        "a b",
        'a["',
        "a]",
        "a[*]b",
        "*",
        'a["\\q"]',
        "$.a",
    ],
)
def test_a_wrong_field_path_is_a_sentence_with_the_place(path: str) -> None:
    with pytest.raises(UsageError, match=r"^the field path .* cannot be read at character \d+; write"):
        parse_path(path)


@pytest.mark.parametrize(
    "path", ["kind", "apiVersion", "metadata", "metadata.name", "metadata[*]", "metadata.uid"]
)
def test_what_identifies_an_object_cannot_be_redacted(path: str) -> None:
    with pytest.raises(UsageError, match="told apart"):
        parse_path(path)


def test_a_short_key_is_refused_and_no_key_is_shown() -> None:
    with pytest.raises(UsageError, match="has 5 bytes") as caught:
        redactor(key=b"short")
    assert "short" not in str(caught.value).replace("shorter", "")
    assert "kkkk" not in repr(redactor())
