"""Revisions: what may be compared, what may be sent, and where a watch may be resumed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Cursor, Event
from bridge.kubernetes.revision import (
    LaggingCursor,
    OutOfOrder,
    compare,
    is_revision,
    is_sendable,
    predecessor,
)


def event(rv: int | str, uid: str = "u", kind: str = "MODIFIED") -> Event:
    return Event(kind, "shop", uid, uid, str(rv), b"{}")


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**128 - 1))
def test_revisions_compare_as_numbers(left: int, right: int) -> None:
    """[E13] KEP-5504: decimal strings of any length up to 128 bit compare as the numbers they are."""
    assert compare(str(left), str(right)) == (left > right) - (left < right)


@pytest.mark.parametrize("rv", ["", "0", "007", "-1", "+5", "1e3", "1 ", "٣", "abc", "1" * 40, "0x1f"])
def test_what_is_no_revision_is_not_compared(rv: str) -> None:
    """[E13] Leading zeros, signs, "0" and letters are none, though a server may accept some."""
    assert not is_revision(rv)
    assert compare(rv, "5") is None
    assert compare("5", rv) is None
    assert compare(rv, rv) == 0


@pytest.mark.parametrize(
    ("rv", "sendable"),
    [
        ("12", True),
        ("eyJhIjoxfQ==", True),
        ("", False),
        ("0", False),
        ("007", False),
        ("-1", False),
        ("+5", False),
        ("a b", False),
        ("\x00a", False),
        ("a\n", False),
    ],
)
def test_a_corrupt_checkpoint_is_recognised_before_it_is_sent(rv: str, *, sendable: bool) -> None:
    """[E9] A server answers it with a 500 that looks transient (real-apiserver 1.7)."""
    assert is_sendable(rv) is sendable


def test_predecessor_exists_for_numbers_only() -> None:
    """Resuming one below a revision repeats the events of that revision."""
    assert predecessor("1000") == "999"
    assert predecessor("1") is None
    assert predecessor("abc") is None


def test_the_cursor_lags_behind_until_something_greater_arrives() -> None:
    """[E5] [D13] Events may share a revision, so it is complete only when a greater one was seen."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    cursor.admit(event(12, "a", "DELETED"))
    assert cursor.snapshot() == Cursor("10", "12", ("a/DELETED",))
    cursor.admit(event(12, "b", "DELETED"))
    assert cursor.snapshot() == Cursor("10", "12", ("a/DELETED", "b/DELETED"))
    cursor.admit(event(13, "c"))
    assert cursor.snapshot() == Cursor("12", "13", ("c/MODIFIED",))


def test_a_bookmark_between_events_of_one_revision_completes_nothing() -> None:
    """[D13] The bookmark timer may fire between two DELETED of one revision (kubernetes#110210)."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    cursor.admit(event(12, "a", "DELETED"))
    assert not cursor.bookmark("12")
    assert cursor.rv == "10"
    assert cursor.admit(event(12, "b", "DELETED"))
    assert cursor.bookmark("14")
    assert cursor.snapshot() == Cursor("12", "14")


def test_a_bookmark_ahead_of_events_of_its_revision_completes_only_what_is_below() -> None:
    """[E2] [E5] A bookmark completes what is below it, and itself waits for something greater."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    assert cursor.bookmark("20")
    assert cursor.snapshot() == Cursor("10", "20")
    assert cursor.admit(event(20, "late"))
    assert cursor.bookmark("30")
    assert cursor.rv == "20"


def test_equal_bookmarks_are_normal_and_lower_ones_are_ignored() -> None:
    """[E6] An idle resource repeats its bookmark (real-apiserver 2.4); a lower one moves nothing."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    cursor.bookmark("20")
    before = cursor.snapshot()
    assert not cursor.bookmark("20")
    assert not cursor.bookmark("15")
    assert cursor.snapshot() == before
    assert cursor.backward_bookmarks == 1


def test_a_complete_listing_may_be_resumed_from_at_once() -> None:
    """[E5] The one exception of the lag; also back to a lower revision, after a restore."""
    cursor = LaggingCursor(Cursor("100", "120", ("a/ADDED",)))
    cursor.complete("50")
    assert cursor.snapshot() == Cursor("50", "50")


def test_replays_after_a_restart_are_dropped_and_their_neighbours_are_not() -> None:
    """[B18] Resuming repeats the events of the newest revision; exactly those that were taken are dropped."""
    cursor = LaggingCursor(Cursor("10", "12", ("a/DELETED",)))
    assert cursor.start() == "10"
    assert not cursor.admit(event(12, "a", "DELETED"))
    assert cursor.admit(event(12, "b", "DELETED"))
    assert cursor.admit(event(13, "a", "ADDED"))
    assert cursor.replayed == 1
    assert cursor.rv == "12"


def test_an_event_at_or_below_the_start_is_counted_and_passed_on() -> None:
    """[B19] A violation of the protocol, but data is never skipped for it; the cursor does not go back."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    assert cursor.admit(event(9, "old"))
    assert cursor.admit(event(10, "same"))
    assert cursor.late == 2
    assert cursor.newest == "10"
    assert cursor.rv == "10"


def test_a_revision_that_decreases_within_one_watch_is_refused() -> None:
    """[D12] Live events are ordered; a new watch may begin lower."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    cursor.admit(event(12))
    with pytest.raises(OutOfOrder):
        cursor.admit(event(11, "b"))
    assert cursor.snapshot() == Cursor("10", "12", ("u/MODIFIED",))
    cursor.start()
    assert cursor.admit(event(11, "b"))


def test_an_event_behind_an_overtaking_bookmark_is_taken() -> None:
    """[E6] etcd#15220: progress could overtake an event. It is no decrease of events, so it is passed on."""
    cursor = LaggingCursor(Cursor("10", "10"))
    cursor.start()
    cursor.bookmark("20")
    assert cursor.admit(event(15))
    assert cursor.snapshot() == Cursor("10", "20")


@pytest.mark.parametrize("rv", ["", "0", "abc", "007"])
def test_a_revision_that_is_none_never_becomes_the_cursor(rv: str) -> None:
    """[C16] client-go would restart its next watch "at most recent", silently."""
    cursor = LaggingCursor(Cursor("10", "12"))
    cursor.start()
    with pytest.raises(OutOfOrder):
        cursor.admit(event(rv))
    with pytest.raises(OutOfOrder):
        cursor.bookmark(rv)
    assert cursor.snapshot() == Cursor("10", "12")


def test_foreign_revisions_are_followed_by_equality_alone() -> None:
    """[E13] [L11] Some aggregated servers have no numbers: the order of arrival counts."""
    cursor = LaggingCursor(Cursor("eyJ6", "eyJ6"))
    cursor.start()
    assert cursor.admit(event("eyJi", "a"))
    assert cursor.admit(event("eyJi", "b"))
    assert cursor.admit(event("eyJh", "c"))
    assert cursor.snapshot() == Cursor("eyJi", "eyJh", ("c/MODIFIED",))
    again = LaggingCursor(cursor.snapshot())
    again.start()
    assert not again.admit(event("eyJh", "c"))


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=40
    ).map(sorted),
    st.integers(0, 40),
)
def test_a_resumed_watch_delivers_every_event_exactly_once(
    history: list[tuple[int, str, bool]], cut: int
) -> None:
    """[E5] [B18] Wherever a watch is cut, before or after bookmarks, resuming repeats and misses nothing."""
    history = list(dict.fromkeys(history))
    events = [event(100 + rv, uid) for rv, uid, is_event in history if is_event]
    events = list({(item.rv, item.uid): item for item in events}.values())
    first = LaggingCursor(Cursor("100", "100"))
    first.start()
    taken: list[Event] = []
    steps = [event(100 + rv, uid) if is_event else str(100 + rv) for rv, uid, is_event in history]
    for step in steps[:cut]:
        if isinstance(step, str):
            first.bookmark(step)
        elif first.admit(step):
            taken.append(step)
    second = LaggingCursor(first.snapshot())
    start = int(second.start())
    for item in events:
        if int(item.rv) > start and second.admit(item):
            taken += [item]
    assert sorted((item.rv, item.uid) for item in taken) == sorted((item.rv, item.uid) for item in events)
