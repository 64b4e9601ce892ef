"""/livez and /readyz answer as those of Kubernetes do, and say why when something is wrong."""

import pytest

from bridge.operations.http import Request, Response
from bridge.operations.probes import pages

WELL = {"log": "", "stream/pods": ""}
ILL = {"log": "", "stream/pods": "listing: the server\nsays 403"}


def ask(path: str, readyz: dict[str, str], query: dict[str, str] | None = None, accept: str = "") -> Response:
    app = pages(
        livez=lambda: {"loop": ""}, readyz=lambda: readyz, metrics=lambda accepts: (f"type/{accepts}", b"m")
    )
    return app(Request(path, query or {}, {"accept": accept} if accept else {}))


def test_all_is_well_in_one_word() -> None:
    assert ask("/readyz", WELL)[:2] == (200, b"ok")
    assert ask("/livez", ILL)[:2] == (200, b"ok"), "livez does not look at what readyz looks at"


def test_verbose_names_each_check() -> None:
    assert (
        ask("/readyz", WELL, {"verbose": ""}).body == b"[+]log ok\n[+]stream/pods ok\nreadyz check passed\n"
    )


@pytest.mark.parametrize("query", [{}, {"verbose": ""}])
def test_a_failure_names_each_check_and_the_reason_on_one_line(query: dict[str, str]) -> None:
    answer = ask("/readyz", ILL, query)
    assert answer.status == 503
    assert (
        answer.body
        == b"[+]log ok\n[-]stream/pods failed: listing: the server says 403\nreadyz check failed\n"
    )


def test_a_check_can_be_left_out() -> None:
    assert ask("/readyz", ILL, {"exclude": "stream/pods"})[:2] == (200, b"ok")


def test_metrics_are_asked_in_the_form_that_the_scraper_accepts() -> None:
    assert ask("/metrics", WELL, accept="x") == Response(200, b"m", "type/x")
    assert ask("/metrics", WELL).content_type == "type/"


@pytest.mark.parametrize("path", ["/", "", "/readyz/", "/metrics/x", "/etc/passwd", "/../livez"])
def test_any_other_path_is_not_found(path: str) -> None:
    assert ask(path, WELL).status == 404
