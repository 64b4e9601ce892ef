"""Complete listings: streaming where it works, pages where it does not, and never half of one."""

import pytest

from bridge.changes.change import Cause, Cursor, Event
from bridge.kubernetes.initial_events import InitialEvents, Unusable
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Began, Changed, Items, Listed
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.scan import read_line
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import Signal, State
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import (
    JSON_HEADERS,
    NO_PROGRESS_REQUESTS,
    PARSE_ERROR,
    POD,
    W1,
    W2,
    W4,
    W5,
    W6,
    W9,
    W10,
    W13,
    W14,
    W15,
    added,
    bookmark,
    deleted,
    error_line,
    marker,
    modified,
    page,
    pod,
)


def paging(talk: Conversation) -> Conversation:
    """Have the streaming list refused, so that pages are asked for."""
    talk.ask()
    talk.refuse(422, W9)
    return talk


def test_a_first_listing_streams_from_a_consistent_snapshot() -> None:
    """[F1] [A1] [M2] No revision, the marker asked for, bookmarks on, the same selectors as ever."""
    request = Conversation(scope=Scope("shop", "app=web", "a=b")).ask()
    params = dict(request.params)
    assert 300 <= int(params.pop("timeoutSeconds")) <= 600
    assert params == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "labelSelector": "app=web",
        "fieldSelector": "a=b",
    }
    assert request.path == "/api/v1/namespaces/shop/pods"


def test_initial_events_are_items_and_the_marker_completes_them() -> None:
    """[F2] [F7] [F8] [A21] Items at once as pages, nothing concluded before the marker, whose revision
    counts."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 900))
    talk.send(added("b", 3), added("c", 600))
    assert [type(report) for report in talk.told if not hasattr(report, "phase")] == [
        Began,
        Items,
        Items,
        Items,
    ]
    talk.send(W6 + b"\n")
    assert talk.listings == ["656063322"]
    assert talk.phase is Phase.LIVE
    assert talk.protocol.cursor.snapshot() == Cursor("656063322", "656063322")


@pytest.mark.parametrize(
    "other",
    [
        bookmark(50),
        marker(50).replace(b'"true"', b'"false"'),
        marker(50).replace(b"k8s.io/initial-events-end", b"k8s.io/other"),
    ],
)
def test_only_the_marker_with_its_value_ends_the_initial_events(other: bytes) -> None:
    """[F2] [F6] Any other bookmark neither ends nor moves anything, whatever its annotations."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 3), other)
    assert talk.listings == []
    assert not talk.protocol.cursor.known
    talk.send(added("b", 4), marker(60))
    assert [event.name for event in talk.items] == ["a", "b"]


def test_a_marker_with_the_old_blueprint_annotation_counts() -> None:
    """[F14] 1.32 and 1.33 add a base64 blueprint, and creationTimestamp null."""
    old = marker(60).replace(
        b'"true"}', b'"true","kubernetes.io/initial-events-list-blueprint":"eyJ"},"creationTimestamp":null'
    )
    assert Conversation().listed(0, added("a", 3), old).listings == ["60"]


def test_events_that_overtake_the_marker_follow_the_listing() -> None:
    """[F6] Told as changes after it, and the listing counts at the revision just before them: no crash
    loses one."""
    talk = Conversation()
    talk.listed(
        110,
        added("a", 50),
        added("b", 60),
        added("c", 70),
        deleted("a", 101),
        modified("b", 102),
        added("a", 103, uid="second"),
        deleted("d", 104),
    )
    assert [event.name for event in talk.items] == ["a", "b", "c"]
    assert talk.listings == ["100"]
    (changed,) = talk.of(Changed)
    assert [(event.type, event.name, event.rv) for event in changed.events] == [
        ("DELETED", "a", "101"),
        ("MODIFIED", "b", "102"),
        ("ADDED", "a", "103"),
        ("DELETED", "d", "104"),
    ]
    assert changed.cursor == Cursor("110", "110")
    kinds = [type(report) for report in talk.told if isinstance(report, Items | Listed | Changed)]
    assert kinds == [Items, Items, Items, Listed, Changed]


def test_an_object_created_during_the_snapshot_does_not_break_the_key_order() -> None:
    """[F6] It comes out of order and newer than every item: held back, so the listing stays one merge."""
    talk = Conversation().listed(90, added("b", 50), added("d", 40), added("a", 80), added("z", 81))
    assert [event.name for event in talk.items] == ["b", "d"]
    assert [event.name for event in talk.changes] == ["a", "z"]
    assert talk.listings == ["79"]


def test_items_come_in_the_order_of_namespace_and_name_as_one_text() -> None:
    """[D11] `a-b/x` stands before `a/y`, though namespace `a` before `a-b`: the latter is an item, too."""
    spaces = InitialEvents()
    old, new = (
        Event("ADDED", "a-b", "x", "u1", "5", b"{}"),
        Event("ADDED", "a", "y", "u2", "9", b"{}"),
    )
    assert spaces.items([old, new]) == [old, new]
    assert spaces.end("20").rv == "20"


def test_a_server_that_sends_items_in_no_order_is_listed_too() -> None:
    """[D11] [F6] Items in any order, none lost: what looked held but was an item is told as a change."""
    order = [("m", 5), ("c", 9), ("x", 3), ("a", 7), ("q", 11), ("b", 2)]
    talk = Conversation().listed(90, *(added(name, rv) for name, rv in order))
    told = [event.name for event in talk.items] + [event.name for event in talk.changes]
    assert sorted(told) == sorted(name for name, _ in order)
    assert int(talk.listings[0]) < 9


def test_held_events_without_numbers_or_in_masses_are_listed_in_pages_instead() -> None:
    """[F6] [F16] What cannot be resumed before, or does not fit, is given up, not guessed; pages follow."""
    foreign = Conversation()
    foreign.listed(0, added("a", "x1"), modified("a", "x2"), marker("x3"))
    assert foreign.protocol.state is State.PAGING
    initial = InitialEvents(held_bytes=1000)
    event = read_line(modified("a", 5)[:-1], POD)
    with pytest.raises(Unusable):
        initial.items([event] * 20)  # type: ignore[list-item] # an Event, by its line


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


@pytest.mark.parametrize("streaming", [True, False])
def test_a_listing_older_than_what_was_seen_begins_a_new_epoch(*, streaming: bool) -> None:
    """[A12] [N11] Found again at the listing itself, should the server be rewound after the probe."""
    talk = Conversation(at(1500)).watching(1500)
    talk.send(W1 + b"\n")
    if not streaming:
        talk.memory.refused_streaming("/api/v1/pods", talk.now)
    for _ in range(2):
        talk.ask()
        if streaming:
            talk.open()
            talk.send(added("a", 5), marker(900))
        else:
            talk.answer(page(900, pod("a", 5)))
    assert talk.causes[-1] is Cause.EPOCH
    assert talk.listings == ["900"]
    assert talk.protocol.cursor.rv == "900"


def test_a_demanded_listing_passes_over_no_change() -> None:
    """[A9] Made at the revision that the watch reached, which then goes on from there."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11), added("b", 12))
    talk.protocol.demand(Cause.REQUESTED, talk.now)
    talk.protocol.poll(talk.now)
    assert not talk.protocol.reading
    request = talk.ask()
    assert dict(request.params) == {
        "limit": "50",
        "resourceVersion": "12",
        "resourceVersionMatch": "Exact",
    }
    talk.answer(page(12, pod("a", 11), pod("b", 12)))
    assert talk.causes == [Cause.REQUESTED]
    assert talk.ask().params["resourceVersion"] == "12"


@pytest.mark.parametrize(("status", "body"), [(410, W2), (504, W4), (400, b""), (403, W5), (200, page(13))])
def test_a_demanded_listing_that_cannot_be_exact_is_made_at_the_latest_revision(
    status: int, body: bytes
) -> None:
    """[A9] [A10] [A11] Compacted, in the future, ignored: then the latest, for the same cause."""
    talk = Conversation(at(10)).watching()
    talk.protocol.demand(Cause.REQUESTED, talk.now)
    talk.ask()
    talk.answer(body, status)
    talk.ask()
    assert talk.waited == 0
    talk.open()
    talk.send(marker(20))
    assert talk.causes == [Cause.REQUESTED]
    assert talk.listings == ["20"]


def test_a_demand_waits_for_a_listing_that_is_under_way() -> None:
    """A running listing is finished under its own cause; then the demanded one is made."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.protocol.demand(Cause.REQUESTED, talk.now)
    talk.send(added("a", 3))
    talk.protocol.poll(talk.now)
    assert talk.protocol.state is State.STREAMING
    talk.send(marker(9))
    talk.protocol.poll(talk.now)
    talk.ask()
    talk.answer(page(9, pod("a", 3)))
    assert talk.causes == [Cause.FIRST_START, Cause.REQUESTED]


def test_a_first_cause_is_told_and_so_is_where_we_were() -> None:
    """`from` of the RESYNC is the cursor that was given up, "" when there was none."""
    fresh = Conversation(first_cause=Cause.STATE_LOST).listed(9)
    assert fresh.of(Began) == [Began(Cause.STATE_LOST, "")]
    known = Conversation(at(10)).watching()
    known.send(added("a", 11), added("a", 12), W1 + b"\n")
    known.listed(20)
    assert known.of(Began) == [Began(Cause.EXPIRED, "11")]


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


def test_a_poisoned_streaming_list_is_tried_in_pages() -> None:
    """[C14] [F5] A bad line among initial events voids the listing; it is no POISON record yet."""
    talk = Conversation()
    for _ in range(2):
        talk.ask()
        talk.open()
        talk.send(added("a", 1), b"garbage\n")
    assert dict(talk.ask().params) == {"limit": "50"}
    assert talk.poison == []


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


def test_the_corrupt_object_event_among_initial_events_voids_them() -> None:
    """[G1] [F5] An ERROR before the marker ends the attempt."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 1), W13 + b"\n", marker(9))
    assert talk.listings == []
