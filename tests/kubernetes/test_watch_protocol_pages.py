"""Listings in pages: one revision, failed pages asked for again, and nothing made of a wrong document."""

from bridge.changes.change import Cause
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.transitions import Signal
from tests.kubernetes.conversation import Conversation
from tests.kubernetes.wire_bodies import JSON_HEADERS, W2, W9, page, pod


def paging(talk: Conversation) -> Conversation:
    """Have the streaming list refused, so that pages are asked for."""
    talk.ask()
    talk.refuse(422, W9)
    return talk


def test_pages_make_one_listing() -> None:
    """[A2] [A15] [A23] Page after page without waiting; complete only with the last."""
    talk = paging(Conversation())
    talk.ask()
    talk.answer(page(7, pod("a", 1), follow="x"))
    assert talk.ask().params["continue"] == "x"
    assert talk.waited == 0
    talk.answer(page(7, pod("b", 2), follow="y"))
    assert talk.listings == []
    talk.ask()
    talk.answer(page(7, pod("c", 3)))
    assert [event.name for event in talk.items] == ["a", "b", "c"]
    assert talk.listings == ["7"]
    assert talk.ask().params["resourceVersion"] == "7"
    talk.open()
    assert talk.phase is Phase.LIVE


def test_a_page_that_fails_is_asked_for_again_not_the_list() -> None:
    """[A15] [A19] The token pins the revision, so a passing error costs one page; the size halves on a
    timeout."""
    talk = paging(Conversation())
    talk.ask()
    talk.answer(page(7, pod("a", 1), follow="x"))
    for limit, failure in (("200", 500), ("100", 504), ("50", 504)):
        talk.ask()
        talk.answer(b"", failure)
        request = talk.ask()
        assert talk.waited >= 0.8
        assert request.params["continue"] == "x"
        assert request.params["limit"] == limit
        talk.protocol.cut("broke", talk.now)
    talk.ask()
    talk.answer(page(7, pod("b", 2)))
    assert talk.causes == [Cause.FIRST_START]
    assert talk.listings == ["7"]


def test_a_torn_page_is_not_used() -> None:
    """[A16] [A18] 200 and half a document: asked for again."""
    talk = paging(Conversation())
    talk.ask()
    talk.answer(page(7, pod("a", 1))[:-10])
    assert talk.items == []
    assert talk.listings == []
    assert talk.ask().params == {"limit": "50"}


def test_an_expired_token_begins_anew_and_its_replacement_is_never_used() -> None:
    """[A4] An inconsistent list would turn objects that moved between pages into deletions."""
    talk = Conversation()
    talk.memory.refused_streaming("/api/v1/pods", talk.now)
    for limit in ("50", "200"):
        assert dict(talk.ask().params) == {"limit": limit}
        talk.answer(page(7, pod("a", 1), follow="x"))
        talk.ask()
        talk.answer(W2, 410)
        assert talk.protocol.due - talk.now >= 0.8
    assert dict(talk.ask().params) == {}
    talk.answer(page(9, pod("b", 2)))
    assert talk.causes == [Cause.FIRST_START] * 3
    assert talk.listings == ["9"]


def test_inconsistent_pages_begin_anew() -> None:
    """[A3] [A20] What was told of them is void: a new listing is announced."""
    talk = paging(Conversation())
    talk.ask()
    talk.answer(page(7, pod("a", 1), follow="x"))
    talk.ask()
    talk.answer(page(8, pod("b", 2)))
    assert talk.protocol.due - talk.now >= 0.8
    assert talk.ask().params == {"limit": "500"}
    talk.answer(page(9))
    assert talk.causes == [Cause.FIRST_START] * 2
    assert talk.listings == ["9"]


def test_a_corrupt_object_in_a_list_keeps_the_list_incomplete_and_says_so() -> None:
    """[A17] [C15] A page with an object without uid is nonsense: never complete, never silent."""
    talk = paging(Conversation())
    for _ in range(3):
        talk.ask()
        talk.answer(page(7, pod("a", 1), pod("b", 2)).replace(b'"u-b"', b'""'))
    assert talk.listings == []
    assert talk.items == []
    assert "uid" in talk.doing.reason
    assert talk.phase is Phase.BACKOFF


def test_a_list_of_another_content_type_is_refused() -> None:
    """[A17] [C10] HTML with a 200, or an encoding that nobody asked for."""
    for headers in ({"content-type": "text/html"}, {**JSON_HEADERS, "content-encoding": "br"}):
        talk = paging(Conversation())
        talk.ask()
        talk.answer(page(7), 200, headers)
        assert talk.listings == []
        assert talk.protocol.tally.signals[Signal.NONSENSE] == 1
    talk = paging(Conversation())
    talk.ask()
    talk.answer(page(7), 200, {**JSON_HEADERS, "content-encoding": "gzip"})
    assert talk.listings == ["7"]
