"""Sizes and durations mean what Kubernetes means by them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("1Ki", 1024),
        ("16Mi", 16 << 20),
        ("1Gi", 1 << 30),
        ("500M", 500_000_000),
        ("1k", 1000),
        ("1.5Gi", 1_610_612_736),
        ("0.5", 1),
        ("2Ei", 2 << 60),
    ],
)
def test_a_size_is_a_kubernetes_quantity(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "1K", "1KB", "1m", "1e3", "-1", "+1", " 1", "1 Gi", "1.Gi", ".5Gi", "1gi", "\u0661", "9" * 19],
)
def test_what_is_no_size_is_none(text: str) -> None:
    assert parse_size(text) is None


@given(st.integers(min_value=0, max_value=1 << 59))
def test_a_size_that_is_written_is_read_back_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("500ms", 0.5),
        ("10s", 10),
        ("1.5s", 1.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("2h0m1s5ms", 7201.005),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "1d", "s", "-1s", "1 s", "1s ", "1.s", "1:30", "1S"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(min_value=0, max_value=10**8))
def test_a_duration_of_whole_milliseconds_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)
