"""The scanner against a parse with the standard library, on everything we can think of."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.kubernetes.scan import Malformed, Page, Shape, read_page
from tests.kubernetes import strategies
from tests.kubernetes.reference import FAILURE, MALFORMED, meaning, recorded, said

KIND = b'"kind":"Pod","apiVersion":"v1",'


@given(strategies.builtin_lines())
def test_a_line_of_a_built_in_kind_means_what_a_parser_says(line: bytes) -> None:
    assert said(line, strategies.POD) == meaning(line, strategies.POD)


@given(strategies.custom_lines())
def test_a_line_of_a_custom_resource_means_what_a_parser_says(line: bytes) -> None:
    """Free text with decoys stands before the identity (real-apiserver 12.2)."""
    assert said(line, strategies.WIDGET) == meaning(line, strategies.WIDGET)


@given(strategies.adversarial_lines())
def test_a_line_in_any_order_and_spelling_means_what_a_parser_says(line: bytes) -> None:
    assert said(line, strategies.POD) == meaning(line, strategies.POD)


@given(st.lists(strategies.builtin_lines(), max_size=4))
def test_an_item_of_a_list_is_the_object_that_a_watch_sends(lines: list[bytes]) -> None:
    """[A14] Though the list leaves out its kind."""
    watched = [
        meaning(line.replace(line[: line.index(b",")], b'{"type":"ADDED"', 1), strategies.POD)
        for line in lines
    ]
    bare = b",".join(line[line.index(b'"object":') + 9 : -1].replace(KIND, b"", 1) for line in lines)
    body = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[%s]}' % bare
    try:
        page = read_page(body, strategies.POD)
    except Malformed:
        assert MALFORMED in watched
        return
    assert isinstance(page, Page)
    listed = [said(b'{"type":"ADDED","object":%s}' % event.object, strategies.POD) for event in page.events]
    assert listed == watched


lines = st.one_of(
    st.tuples(strategies.builtin_lines(), st.just(strategies.POD)),
    st.tuples(strategies.custom_lines(), st.just(strategies.WIDGET)),
    st.sampled_from([(line, shape) for _, line, shape in recorded()]),
)


@given(lines, st.data())
def test_a_torn_line_is_never_understood(case: tuple[bytes, Shape], data: st.DataObject) -> None:
    """[C6] Whatever was cut off."""
    line, shape = case
    assert said(line[: data.draw(st.integers(0, len(line) - 1))], shape) == MALFORMED


@given(lines, st.data())
def test_a_line_with_one_wrong_byte_is_malformed_or_means_what_a_parser_says(
    case: tuple[bytes, Shape], data: st.DataObject
) -> None:
    line, shape = case
    at = data.draw(st.integers(0, len(line)))
    put = data.draw(
        st.one_of(st.binary(max_size=1), st.sampled_from(b'{}[]",:\\0 n').map(lambda b: bytes([b])))
    )
    torn = line[:at] + put + line[at + data.draw(st.integers(0, 1)) :]
    assert said(torn, shape) == meaning(torn, shape)


@given(lines, lines, st.data())
def test_two_lines_run_together_are_malformed_or_mean_what_a_parser_says(
    first: tuple[bytes, Shape], second: tuple[bytes, Shape], data: st.DataObject
) -> None:
    """Bytes lost in the middle glue the head of one line to the tail of another."""
    head, tail = (data.draw(st.integers(0, len(line))) for line, _ in (first, second))
    glued = first[0][:head] + second[0][tail:]
    assert said(glued, first[1]) == meaning(glued, first[1])


CASES = recorded()


@pytest.mark.parametrize(("line", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_recorded_line_means_what_a_parser_says(line: bytes, shape: Shape) -> None:
    assert said(line, shape) == meaning(line, shape) != MALFORMED


@pytest.mark.parametrize(("line", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_no_cut_of_a_recorded_line_is_understood(line: bytes, shape: Shape) -> None:
    """[C6] At every byte; of very long lines at 4,000 of them."""
    cuts = range(len(line)) if len(line) <= 16_384 else random.Random(1).sample(range(len(line)), 4_000)
    assert [cut for cut in cuts if said(line[:cut], shape) != MALFORMED] == []


def test_what_is_recorded_shows_every_kind_of_line() -> None:
    """So that a loader that finds nothing is noticed."""
    kinds = {
        FAILURE if meaning(line, shape) == FAILURE else meaning(line, shape)[0] for _, line, shape in CASES
    }
    assert kinds == {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", FAILURE}
