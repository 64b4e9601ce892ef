"""Listings as a stream: items at once, complete with the marker, one merge whatever overtakes it."""

import pytest

from bridge.changes.change import Cursor, Event
from bridge.kubernetes.initial_events import InitialEvents, Unusable
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Began, Changed, Items, Listed
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.scan import read_line
from bridge.kubernetes.transitions import State
from tests.kubernetes.conversation import Conversation
from tests.kubernetes.wire_bodies import POD, W6, added, bookmark, deleted, marker, modified


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
