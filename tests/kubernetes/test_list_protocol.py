"""Lists in pages: which requests are made, and what makes a list one consistent list."""
# ruff: noqa: E501 - a body is one line

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Cause, Event
from bridge.kubernetes.diagnosis import Diagnosis
from bridge.kubernetes.list_protocol import ListProtocol, Pager, PageSize
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.transitions import Signal
from tests.kubernetes.wire_bodies import POD, WIDGET, page, pod

SCOPE = Scope("shop", "app in (web, api),tier!=x", "status.phase!=Succeeded")
SELECTORS = {"labelSelector": "app in (web, api),tier!=x", "fieldSelector": "status.phase!=Succeeded"}
URL = "GET /api/v1/pods"


def attempt(**more: str) -> ListProtocol:
    return ListProtocol(Scope(), PageSize(), **more)


def names(items: list[Event] | Diagnosis) -> list[str]:
    assert isinstance(items, list)
    return [item.name for item in items]


def signal(items: list[Event] | Diagnosis) -> Signal:
    assert isinstance(items, Diagnosis)
    assert items.reason
    return items.signal


def test_a_first_page_names_no_revision() -> None:
    """[A1] Without resourceVersion a list is consistent; "0" may show less than was seen before."""
    assert ListProtocol(SCOPE, PageSize()).parameters() == {**SELECTORS, "limit": "50"}


def test_a_later_page_carries_limit_continue_and_the_same_selectors_only() -> None:
    """[A2] [A9] [M2] A revision beside `continue` is a 400; the selectors are byte for byte the same."""
    pages = ListProtocol(SCOPE, PageSize(), exact="7")
    assert pages.parameters() == {
        **SELECTORS,
        "limit": "50",
        "resourceVersion": "7",
        "resourceVersionMatch": "Exact",
    }
    pages.take(page(7, pod("a", 1), follow="abc"), POD, URL)
    assert pages.parameters() == {**SELECTORS, "limit": "200", "continue": "abc"}


def test_only_an_empty_continue_ends_a_list() -> None:
    """[A5] [A6] [A7] [A8] Empty pages, null items, other sizes and remainingItemCount say nothing."""
    pages = attempt()
    assert names(pages.take(page(7, follow="x"), POD, URL)) == []
    assert not pages.complete
    null = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"y","remainingItemCount":0},"items":null}'
    assert names(pages.take(null, POD, URL)) == []
    assert not pages.complete
    many = [pod(f"p{index:04}", index + 1) for index in range(900)]
    assert len(names(pages.take(page(7, *many), POD, URL))) == 900
    assert pages.complete
    assert pages.rv == "7"


def test_a_custom_list_has_its_metadata_at_the_end_and_an_empty_continue() -> None:
    """[A5] [A14] real-apiserver 4.10: `continue` is tested for being empty, not for being there."""
    body = b'{"apiVersion":"example.io/v1","items":[{"apiVersion":"example.io/v1","kind":"Widget","metadata":{"name":"a","namespace":"n","resourceVersion":"5","uid":"u"}}],"kind":"WidgetList","metadata":{"continue":"","resourceVersion":"312"}}'
    pages = attempt()
    assert names(pages.take(body, WIDGET, URL)) == ["a"]
    assert pages.complete
    assert pages.rv == "312"


def test_pages_of_different_revisions_are_no_list() -> None:
    """[A3] Only an inconsistent token changes the revision between pages."""
    pages = attempt()
    pages.take(page(7, pod("a", 1), follow="x"), POD, URL)
    assert signal(pages.take(page(8, pod("b", 2)), POD, URL)) is Signal.INCONSISTENT


def test_two_objects_of_one_name_are_no_list_and_one_object_twice_counts_once() -> None:
    """[A20] In key order they are neighbours, also across pages; of one uid the last wins."""
    pages = attempt()
    twice = page(7, pod("a", 1), pod("b", 2), pod("b", 3), follow="x")
    items = pages.take(twice, POD, URL)
    assert isinstance(items, list)
    assert [(item.name, item.rv) for item in items] == [("a", "1"), ("b", "3")]
    assert signal(pages.take(page(7, pod("b", 4, uid="other")), POD, URL)) is Signal.INCONSISTENT


@pytest.mark.parametrize("rv", ["0", "007", "-4"])
def test_a_list_without_a_usable_revision_is_refused(rv: str) -> None:
    """[A13] No watch can start from it: "0" would restart anywhere."""
    assert signal(attempt().take(page(rv), POD, URL)) is Signal.INCONSISTENT


@pytest.mark.parametrize("body", [page(""), b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}'])
def test_a_list_without_any_revision_is_nonsense(body: bytes) -> None:
    """[A13] Some aggregated servers send none."""
    assert signal(attempt().take(body, POD, URL)) is Signal.NONSENSE


@pytest.mark.parametrize(
    "body",
    [
        page(7, pod("a", 1))[:-1],
        page(7, pod("a", 1))[:-30],
        b"",
        b"<html>log in</html>",
        page(7).replace(b"PodList", b"ServiceList"),
        page(7).replace(b"PodList", b"Table"),
        page(7).replace(b'"v1"', b'"v2"'),
        b"[]",
    ],
)
def test_a_torn_or_wrong_document_is_no_page(body: bytes) -> None:
    """[A16] [A17] [A18] A 200 proves nothing: JSON must be complete and be this kind's list, or nothing
    is used."""
    pages = attempt()
    assert signal(pages.take(body, POD, URL)) is Signal.NONSENSE
    assert not pages.begun


def test_a_status_in_place_of_a_list_is_what_it_says() -> None:
    """[A17] 200 and {"kind":"Status"}: the code inside counts."""
    status = b'{"kind":"Status","status":"Failure","message":"x","code":429}'
    assert signal(attempt().take(status, POD, URL)) is Signal.BUSY


def test_a_list_older_than_what_was_seen_is_a_rewind() -> None:
    """[A12] [N5] etcd was restored, or another server answers: nothing may be compared with it as it is."""
    assert signal(attempt(newest="1500").take(page(900, pod("a", 5)), POD, URL)) is Signal.REWOUND
    assert names(attempt(newest="1500").take(page(1500, pod("a", 5)), POD, URL)) == ["a"]


def test_an_exact_list_must_be_exact() -> None:
    """[A9] Servers before 1.19 ignore resourceVersionMatch, so the returned revision is verified."""
    assert signal(attempt(exact="7").take(page(8), POD, URL)) is Signal.INEXACT


def asked(size: PageSize) -> int:
    assert size.limit is not None
    return size.limit


def test_the_page_size_halves_down_to_ten_when_the_server_cannot_cope() -> None:
    """[A19] Never an older revision instead, and what was too much once is not asked for again."""
    size = PageSize()
    for _ in range(2):
        size.taken(asked(size), 1000)
    limits = []
    for _ in range(8):
        limits.append(size.limit)
        size.too_much()
    assert limits == [500, 250, 125, 62, 31, 15, 10, 10]
    size.taken(10, 1000)
    assert size.limit == 10


def pages_of(objects: int, each: int) -> list[int]:
    """Items of the pages that a list of so many objects of so many bytes is taken in."""
    size, taken = PageSize(), []
    while objects:
        taken.append(min(asked(size), objects))
        objects -= taken[-1]
        size.taken(taken[-1], taken[-1] * each)
    return taken


def test_pages_have_about_four_megabytes_and_small_objects_cost_few_requests_more() -> None:
    assert pages_of(1000, 4000) == [50, 200, 500, 250]
    assert len(pages_of(10_000, 4000)) == 22, "20 without a first look"
    assert pages_of(200, 116_000) == [50, 36, 36, 36, 36, 6]
    assert pages_of(40, 1_500_000) == [40]
    assert pages_of(80, 1_500_000) == [50, 10, 10, 10]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 1 << 22)), max_size=30))
def test_whatever_pages_hold_the_next_one_grows_step_by_step_within_what_is_expected(
    pages: list[tuple[int, int]],
) -> None:
    """At the size of the last page's objects the next page has 4 MiB, or the fewest items that are asked for."""
    size = PageSize()
    for items, each in pages:
        before = asked(size)
        size.taken(items, items * each)
        assert 10 <= asked(size) <= min(500, before * 4)
        if items:
            assert asked(size) * each <= 4 << 20 or asked(size) == 10
        else:
            assert asked(size) == before


def test_the_size_of_objects_is_learned_from_what_a_page_really_held() -> None:
    pages = attempt()
    large = {**pod("a", 5), "status": {"message": "x" * (1 << 20)}}
    assert names(pages.take(page(8, large, follow="abc"), POD, URL)) == ["a"]
    assert pages.parameters()["limit"] == "10"


def test_a_listing_that_somebody_wants_is_made_at_our_own_revision() -> None:
    """No change between our revision and a later one may be passed over only because a snapshot was
    wanted."""
    pager = Pager("/api/v1/pods", Scope(), POD)
    pager.begin(Cause.REQUESTED, "42")
    assert pager.request().params["resourceVersion"] == "42"
    for cause in (Cause.EXPIRED, Cause.POISON, Cause.EPOCH):
        pager.begin(cause, "42")
        assert "resourceVersion" not in pager.request().params
    pager.begin(Cause.AUDIT, "not-a-number")
    assert "resourceVersion" not in pager.request().params
