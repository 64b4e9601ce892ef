"""Waits grow, are spread over their whole range, are bounded, and honour what a destination asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.pacing import Backoff, Retry


def test_the_limit_doubles_up_to_the_maximum_for_ever() -> None:
    backoff = Backoff(Retry(initial=0.5, max=30.0), lambda: 1.0)
    assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    for _ in range(5000):
        assert backoff.next() == 30


def test_a_success_starts_over() -> None:
    backoff = Backoff(Retry(initial=1.0), lambda: 1.0)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 1.0


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 60))
def test_jitter_spreads_over_the_whole_range(dice: float, failures: int) -> None:
    backoff = Backoff(Retry(initial=0.5, max=30.0), lambda: dice)
    for _ in range(failures):
        backoff.next()
    assert backoff.next() == pytest.approx(dice * min(30.0, 0.5 * 2**failures))


@pytest.mark.parametrize(
    ("asked", "most", "expected"),
    [(None, 600, 0.25), (0.1, 600, 0.25), (7, 600, 7), (9000, 600, 600), (9000, 0, 0.25)],
)
def test_retry_after_is_the_least_wait_up_to_a_maximum(
    asked: float | None, most: float, expected: float
) -> None:
    assert Backoff(Retry(initial=0.5, max_retry_after=most), lambda: 0.5).next(asked) == expected
