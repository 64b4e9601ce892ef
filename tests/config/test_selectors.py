"""Selectors are taken and refused as a real API server does, and what is refused says what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.selectors import field_selector_problem, label_selector_problem
from tests.config.selector_cases import FIELDS_RIGHT, FIELDS_WRONG, LABELS_RIGHT, LABELS_WRONG, MEANINGLESS

if TYPE_CHECKING:
    from tests.components.cluster import Cluster

pytest_plugins = ["tests.components.fixtures"]


@pytest.mark.parametrize("selector", LABELS_RIGHT)
def test_a_label_selector_that_a_server_takes_is_right(selector: str) -> None:
    """[M3]."""
    assert label_selector_problem(selector) is None


@pytest.mark.parametrize("selector", LABELS_WRONG)
def test_a_label_selector_that_a_server_refuses_is_told_with_what_to_write(selector: str) -> None:
    """[M3]."""
    problem = label_selector_problem(selector)
    assert problem is not None
    assert "write" in problem


@pytest.mark.parametrize("selector", FIELDS_RIGHT)
def test_a_field_selector_that_a_server_takes_is_right(selector: str) -> None:
    """[M1]."""
    assert field_selector_problem(selector) is None


@pytest.mark.parametrize("selector", FIELDS_WRONG)
def test_a_field_selector_that_a_server_refuses_is_told_with_what_to_write(selector: str) -> None:
    """[M1]."""
    problem = field_selector_problem(selector)
    assert problem is not None
    assert "write" in problem


@pytest.mark.parametrize(("kind", "selector"), MEANINGLESS)
def test_a_selector_that_a_server_takes_but_nobody_means_is_told(kind: str, selector: str) -> None:
    problem = label_selector_problem if kind == "labelSelector" else field_selector_problem
    assert "write" in (problem(selector) or "")


@given(st.text(alphabet="ab1in/.-_=!(),<> \t\\\0ü", max_size=30) | st.text(max_size=20))
def test_any_text_is_either_right_or_told(text: str) -> None:
    for problem in (label_selector_problem(text), field_selector_problem(text)):
        assert problem is None or "write" in problem


def test_the_server_takes_and_refuses_the_same_selectors(cluster: Cluster) -> None:
    """[M1] [M3] The cases are what a real API server says, so ours is its syntax and not our idea of it."""
    expected = {("labelSelector", selector): httpx.codes.OK for selector in LABELS_RIGHT}
    expected |= {("labelSelector", selector): httpx.codes.BAD_REQUEST for selector in LABELS_WRONG}
    expected |= {("fieldSelector", selector): httpx.codes.OK for selector in FIELDS_RIGHT}
    expected |= {("fieldSelector", selector): httpx.codes.BAD_REQUEST for selector in FIELDS_WRONG}
    expected |= dict.fromkeys(MEANINGLESS, httpx.codes.OK)
    with cluster.client() as client:
        said = {
            (kind, selector): client.get(
                "/api/v1/configmaps", params={kind: selector, "limit": 1}
            ).status_code
            for kind, selector in expected
        }
    assert said == expected
