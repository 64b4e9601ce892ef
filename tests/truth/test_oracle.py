"""The judge itself must be able to say no."""

import json

import pytest

from tests.truth.oracle import Fact, facts_of_lines, ids_of_lines, judge

HISTORY = [Fact("pods", "n", "a", revision, deleted=revision == 9) for revision in (5, 7, 9)]


def line(revision: int, kind: str = "MODIFIED", **extra: object) -> bytes:
    record = {
        "type": kind, "id": f"i{revision}", "origin": "watch", "resource": "pods", "namespace": "n",
        "name": "a", "resourceVersion": str(revision), **extra,
    }  # fmt: skip
    return json.dumps(record).encode()


def verdict(lines: list[bytes]) -> tuple[int, int, int, int]:
    result = judge(HISTORY, facts_of_lines(lines), ids_of_lines(lines))
    return len(result.missing), len(result.repeated), len(result.disordered), len(result.invented)


GOOD = [line(5), line(7), line(9, "DELETED")]


def test_a_file_that_holds_each_write_once_in_order_is_accepted() -> None:
    assert verdict(GOOD) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (GOOD[:2], (1, 0, 0, 0)),
        ([*GOOD, GOOD[2]], (0, 2, 0, 0)),
        ([GOOD[1], GOOD[0], GOOD[2]], (0, 0, 1, 0)),
        ([*GOOD, line(11)], (0, 0, 0, 1)),
        ([line(5), line(7), line(9)], (1, 0, 0, 1)),
    ],
    ids=["lost", "written twice", "out of order", "invented", "a deletion told as a change"],
)
def test_each_way_to_break_the_promise_is_told(lines: list[bytes], expected: tuple[int, ...]) -> None:
    assert verdict(lines) == expected


def test_a_synthetic_deletion_counts_at_the_revision_where_it_was_observed() -> None:
    found = facts_of_lines([line(7, "DELETED", synthetic=True, observedAt="12")])
    assert found == [Fact("pods", "n", "a", 12, deleted=True)]
