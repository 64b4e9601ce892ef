"""The scanner for depth agrees with msgspec on everything that msgspec can read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes import deepjson, jsontext
from bridge.changes.jsontext import Malformed, check_utf8, elements, members, text
from tests.kubernetes import strategies

documents = st.builds(
    strategies.scribble,
    st.one_of(st.dictionaries(strategies.keys, strategies.values, max_size=5), st.lists(strategies.values)),
    st.randoms(use_true_random=False),
)


def by_either(document: bytes) -> tuple[object, object]:
    """What msgspec says and what the own scanner says, of an object or an array."""
    fast: object
    own: object
    read, opening = (elements, b"[") if document.lstrip().startswith(b"[") else (members, b"{")
    try:
        fast = read(document)
    except Malformed:
        fast = Malformed
    try:
        pairs = list(deepjson.scan(document, opening))
        own = dict(pairs) if opening == b"{" else [value for _, value in pairs]
    except Malformed:
        own = Malformed
    return fast, own


@given(documents)
def test_both_readers_find_the_same_values(document: str) -> None:
    fast, own = by_either(document.encode())
    assert fast == own
    assert fast is not Malformed


@given(documents, st.data())
def test_both_readers_refuse_the_same_damage(document: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(document)))
    put = data.draw(st.text(st.sampled_from('{}[]",:\\0-e.1untr dD8 \n\x01'), max_size=2))
    fast, own = by_either((document[:at] + put + document[at + data.draw(st.integers(0, 2)) :]).encode())
    assert fast == own


@pytest.mark.parametrize(
    ("opening", "closing"),
    [('{"a":', "}"), ("[", "]"), ('[{"a":[', "]}]"), ('{"a":"}]","b":[1,{},[],', "]}"), ("[[[[],", "],{}]]")],
)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 2000, 50_000])
def test_any_depth_is_read_and_its_ends_must_match(opening: str, closing: str, depth: int) -> None:
    deep = (opening * depth + "1" + closing * depth).encode()
    assert members(b'{"x": %s }' % deep) == {"x": deep}
    assert elements(b"[ %s ]" % deep) == [deep]
    middle = deep.rindex(b"1" + closing[:1].encode()) + 1
    for broken in (deep[:-1], deep + b"]", deep[:middle] + b")" + deep[middle + 1 :]):
        with pytest.raises(Malformed):
            members(b'{"x":%s}' % broken)


def test_the_last_of_two_equal_keys_counts() -> None:
    deep = b"[" * 2000 + b"]" * 2000
    assert members(b'{"a":1,"\\u0061":2}') == {"a": b"2"}
    assert members(b'{"a":%s,"\\u0061":2}' % deep) == {"a": b"2"}


def test_half_a_surrogate_pair_is_refused_at_any_depth() -> None:
    """[C18] But an escaped backslash before `ud800` is just text, and a whole pair is a character."""
    for wrap in (b"%s", b"[" * 2000 + b"%s" + b"]" * 2000):
        with pytest.raises(Malformed):
            members(b'{"a":%s}' % (wrap % rb'"\ud800"'))
        assert members(b'{"a":%s}' % (wrap % rb'"\\ud800 \ud83d\ude00"'))


@given(st.binary(max_size=6), st.integers(-4, 2))
def test_utf8_is_checked_across_the_seams_of_its_chunks(odd: bytes, offset: int) -> None:
    data = b"\xc3\xa4" * (jsontext._CHUNK // 2 - 4) + b"x" * (8 + offset) + odd
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(Malformed):
            check_utf8(data)
    else:
        check_utf8(data)


@given(st.text())
def test_text_reads_what_json_wrote(value: str) -> None:
    assert text(json.dumps(value).encode()) == value


@pytest.mark.parametrize("value", [b"1", b"null", b"", b'"a" "b"', b"[" * 5000])
def test_text_refuses_what_is_no_string(value: bytes) -> None:
    with pytest.raises(Malformed):
        text(value)
