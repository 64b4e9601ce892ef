"""What an open watch tells: each event once and in order, and bookmarks as progress alone."""

from bridge.changes.change import Cursor
from bridge.kubernetes.requests import Scope
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import W1, added, bookmark, deleted, marker, modified


def test_an_event_below_the_start_is_told_all_the_same() -> None:
    """[B19] Counted as a violation; skipping would be guessing."""
    talk = Conversation(at(10)).watching()
    talk.send(added("old", 9))
    assert [event.name for event in talk.changes] == ["old"]
    assert talk.protocol.cursor.late == 1
    assert talk.cursor.rv == "10"


def test_nothing_behind_an_error_is_applied() -> None:
    """[B17] A server sends nothing after it; whatever comes is not ours."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11) + W1 + b"\n" + added("b", 12))
    assert [event.name for event in talk.changes] == ["a"]
    assert not talk.protocol.reading


def test_bookmarks_alone_move_the_cursor() -> None:
    """[E1] [E2] [E3] [D4] Progress without events is told as such, and never as data."""
    talk = Conversation(at(10)).watching()
    talk.send(bookmark(20), bookmark(20), bookmark(30))
    assert talk.changes == []
    assert talk.cursor == Cursor("20", "30")


def test_a_listing_is_usable_at_once_and_the_same_stream_goes_on() -> None:
    """[F7] [E5] After the marker live events follow, with a cursor that begins at the marker."""
    talk = Conversation().listed(10, added("a", 3), added("b", 2))
    talk.send(modified("a", 12))
    assert talk.listings == ["10"]
    assert talk.cursor == Cursor("10", "12", ("u-a/MODIFIED",))


def test_a_marker_and_live_events_may_come_in_one_read() -> None:
    """[F7] [C1] Items, marker and live events of one piece are told apart, in order."""
    talk = Conversation()
    talk.ask()
    talk.open()
    talk.send(added("a", 3) + marker(10) + modified("a", 12) + bookmark(14))
    assert [event.rv for event in talk.items] == ["3"]
    assert [event.rv for event in talk.changes] == ["12"]
    assert talk.cursor == Cursor("12", "14")


def test_a_graceful_deletion_is_told_as_it_happens() -> None:
    """[D5] [D14] MODIFIED with a deletionTimestamp, then DELETED: nothing is folded, nothing coalesced."""
    talk = Conversation(at(10)).watching()
    leaving = {"deletionTimestamp": "2026-11-21T09:00:00Z", "finalizers": ["a/b"]}
    talk.send(added("a", 11) + modified("a", 12, **leaving) + deleted("a", 13, **leaving))
    assert [event.type for event in talk.changes] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_of_one_name_goes_on_over_its_deletion_and_return() -> None:
    """[D21] By field selector, on the collection's path; the same name comes back with another uid."""
    talk = Conversation(at(10), scope=Scope("shop", field_selector="metadata.name=a"))
    talk.prove(10)
    request = talk.ask()
    assert request.path == "/api/v1/namespaces/shop/pods"
    assert request.params["fieldSelector"] == "metadata.name=a"
    talk.open()
    talk.send(deleted("a", 11), added("a", 12, uid="second"))
    assert [(event.type, event.uid) for event in talk.changes] == [("DELETED", "u-a"), ("ADDED", "second")]
