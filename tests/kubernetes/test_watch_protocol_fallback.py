"""A listing that cannot be streamed is made in pages, or waited for; half of one concludes nothing."""

import pytest

from bridge.changes.change import Cause
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import State
from tests.kubernetes.conversation import Conversation
from tests.kubernetes.wire_bodies import (
    NO_PROGRESS_REQUESTS,
    PARSE_ERROR,
    W4,
    W5,
    W9,
    W10,
    W13,
    W14,
    W15,
    added,
    bookmark,
    error_line,
    marker,
    modified,
    page,
    pod,
)


@pytest.mark.parametrize(("status", "body"), [(422, W9), (400, b""), (405, b"")])
def test_a_server_without_streaming_lists_is_asked_for_pages_at_once(status: int, body: bytes) -> None:
    """[F3] [B14] [B13] 422 of an old server, 400, 405 of others: pages, and it is remembered for an hour."""
    talk = Conversation()
    talk.ask()
    talk.refuse(status, body)
    request = talk.ask()
    assert talk.waited == 0
    assert dict(request.params) == {"limit": "50"}
    talk.answer(page(7, pod("a", 5)))
    assert talk.listings == ["7"]
    again = Conversation(memory=talk.memory)
    assert "sendInitialEvents" not in again.ask().params
    much_later = Conversation(memory=talk.memory)
    much_later.now += 3601
    assert "sendInitialEvents" in much_later.ask().params


def test_what_one_resource_refused_says_nothing_of_another() -> None:
    """[F4] [P7] Remembered for server and resource, and only for an hour."""
    memory = ServerMemory()
    memory.refused_streaming("/api/v1/pods", 100.0)
    assert not memory.streams("/api/v1/pods", 3699.0)
    assert memory.streams("/api/v1/pods", 3701.0)
    assert memory.streams("/api/v1/services", 100.0)


def test_a_marker_that_never_comes_is_given_up_after_silence() -> None:
    """[F4] [F3] An old server ignores the parameters: items, then nothing. 30 s without a byte, then
    pages."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 3))
    assert talk.silence() == 30
    assert dict(talk.ask().params) == {"limit": "50"}
    talk.answer(page(9, pod("a", 3)))
    assert talk.causes == [Cause.FIRST_START, Cause.FIRST_START]
    assert talk.listings == ["9"]
    assert not talk.memory.streams("/api/v1/pods", talk.now)


def test_live_events_do_not_keep_a_listing_without_a_marker_alive() -> None:
    """[F4] Once live events come the marker follows within about a second, or never: 30 s are enough."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 3))
    for rv in range(10, 60):
        talk.now += 1
        talk.send(modified("a", rv))
        if talk.protocol.state is State.PAGING:
            break
    assert rv == 40
    assert talk.changes == []
    assert not talk.memory.streams("/api/v1/pods", talk.now)


def test_a_listing_that_lasts_until_the_server_ends_it_is_given_up() -> None:
    """[F4] The overall deadline: the request's own timeoutSeconds."""
    talk = Conversation()
    request = talk.ask()
    talk.open()
    for _ in range(22):
        talk.now += 20
        talk.send(bookmark(5))
    talk.end(after=int(request.params["timeoutSeconds"]) - 440)
    assert talk.protocol.state is State.PAGING
    assert not talk.memory.streams("/api/v1/pods", talk.now)


@pytest.mark.parametrize("end", ["ended", "cut", "error"])
def test_a_stream_that_ends_before_its_marker_concludes_nothing(end: str) -> None:
    """[F5] [A15] [N8] Begun again from scratch with backoff, then in pages; no partial list is ever
    complete."""
    talk = Conversation()
    for _ in range(2):
        request = talk.ask()
        assert "sendInitialEvents" in request.params
        talk.open()
        talk.send(added("a", 3), added("b", 4)[:20])
        if end == "ended":
            talk.end(after=1)
        elif end == "cut":
            talk.cut(after=1)
        else:
            talk.send(added("b", 4)[20:], PARSE_ERROR + b"\n")
        assert talk.protocol.due - talk.now >= 0.8
    assert dict(talk.ask().params) == {"limit": "50"}
    assert talk.listings == []
    assert talk.changes == []
    talk.answer(page(9))
    assert talk.causes == [Cause.FIRST_START] * 3
    assert talk.listings == ["9"]


@pytest.mark.parametrize(("status", "body"), [(429, W10), (504, W4), (503, W14), (500, b"")])
def test_a_busy_server_keeps_streaming_for_two_attempts_then_lists_in_pages(status: int, body: bytes) -> None:
    """[F9] [F17] [F15] Each attempt with an unset revision aims at a newer one; on a lagging cache none
    arrives."""
    talk = Conversation()
    for _ in range(2):
        assert "resourceVersion" not in talk.ask().params
        talk.refuse(status, body)
        assert talk.protocol.due - talk.now >= 0.8
    assert dict(talk.ask().params) == {"limit": "50"}
    assert talk.memory.streams("/api/v1/pods", talk.now)


def test_a_connection_refused_while_starting_is_tried_again() -> None:
    """[F9] Backoff, then the same."""
    talk = Conversation()
    talk.ask()
    talk.cut()
    assert "sendInitialEvents" in talk.ask().params
    assert talk.waited >= 0.8


def test_an_etcd_without_progress_requests_is_listed_in_pages() -> None:
    """[F9] An ERROR 500 that names RequestWatchProgress will not go away."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(error_line(NO_PROGRESS_REQUESTS))
    assert talk.protocol.state is State.PAGING
    assert not talk.memory.streams("/api/v1/pods", talk.now)


def test_a_poisoned_streaming_list_is_tried_in_pages() -> None:
    """[C14] [F5] A bad line among initial events voids the listing; it is no POISON record yet."""
    talk = Conversation()
    for _ in range(2):
        talk.ask()
        talk.open()
        talk.send(added("a", 1), b"garbage\n")
    assert dict(talk.ask().params) == {"limit": "50"}
    assert talk.poison == []


def test_the_corrupt_object_event_among_initial_events_voids_them() -> None:
    """[G1] [F5] An ERROR before the marker ends the attempt."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 1), W13 + b"\n", marker(9))
    assert talk.listings == []


def test_rights_to_watch_only_or_to_list_only_are_used() -> None:
    """[F10] [M4] A forbidden stream tries pages at once; forbidden pages try the stream again, slowly."""
    talk = Conversation()
    talk.ask()
    talk.refuse(403, W5)
    talk.ask()
    assert talk.waited == 0
    talk.answer(W5, 403)
    assert talk.doing.phase is Phase.FORBIDDEN
    assert "cannot watch configmaps" in talk.doing.reason
    assert "sendInitialEvents" in talk.ask().params
    assert talk.waited >= 5
    talk.open()
    talk.send(marker(9))
    assert talk.phase is Phase.LIVE


def test_list_only_leaves_state_known_and_says_why_there_is_no_stream() -> None:
    """[M4] Listed, then a declared wait for the right to watch, from the revision of the list."""
    talk = Conversation()
    talk.ask()
    talk.refuse(403, W5)
    talk.ask()
    talk.answer(page(7))
    assert talk.ask().params["resourceVersion"] == "7"
    talk.refuse(403, W5)
    assert talk.phase is Phase.FORBIDDEN
    assert talk.listings == ["7"]


def test_an_absent_resource_is_a_declared_wait() -> None:
    """[L13] [L8] [L3] [G12] Not installed yet, or not any more: asked again, slowly; nothing is deleted."""
    talk = Conversation()
    for _ in range(4):
        talk.ask()
        if talk.protocol.state is State.STREAMING:
            talk.refuse(404, W15)
            talk.ask()
        talk.answer(W15, 404)
        assert talk.phase is Phase.ABSENT
    assert talk.listings == []
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.FIRST_START]
