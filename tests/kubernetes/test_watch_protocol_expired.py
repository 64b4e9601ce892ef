"""A revision that is gone, however it is said, is never retried: everything is listed, without a spin."""

import pytest

from bridge.changes.change import Cause
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.transitions import Signal, State
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import UNREADABLE_ON_WATCH, W1, W1_OLDER, W1_UNCACHED, W3, added, page


def test_three_empty_watches_that_end_at_once_are_a_silent_410() -> None:
    """[B4] The same revision is tried three times with backoff, then everything is listed."""
    talk = Conversation(at(10))
    starts = []
    for _ in range(3):
        talk.watching()
        starts.append(talk.now)
        talk.end(after=0.3)
    assert 0.8 < starts[1] - starts[0] < starts[2] - starts[1]
    talk.prove(10)
    talk.ask()
    assert talk.protocol.state is State.STREAMING
    talk.open()
    assert talk.causes == [Cause.EXPIRED]


@pytest.mark.parametrize("error", [W1, W1_OLDER, W1_UNCACHED])
def test_a_410_in_the_stream_lists_and_never_retries_the_revision(error: bytes) -> None:
    """[B5] Code 410, or reason Expired or Gone: the revision is useless."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11), error + b"\n")
    talk.prove(11)
    assert "sendInitialEvents" in talk.ask().params
    talk.open()
    assert talk.causes == [Cause.EXPIRED]
    assert [event.name for event in talk.changes] == ["a"]


@pytest.mark.parametrize("body", [W3, b"", b"<html>gone</html>", b"{}"])
def test_a_410_as_status_is_the_same_whatever_its_body(body: bytes) -> None:
    """[B6] An aggregated server or a proxy says it in HTTP."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    talk.refuse(410, body)
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.EXPIRED]


def test_a_410_right_after_a_listing_backs_off_and_says_so() -> None:
    """[B7] [A4] etcd compacts faster than we list: longer and longer waits, never a spin, and a person is
    told."""
    talk = Conversation()
    waits = []
    for rv in (10, 20, 30, 40):
        talk.listed(rv, added("a", rv))
        talk.send(W1 + b"\n")
        waits.append(talk.protocol.due - talk.now)
        talk.prove(rv)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(8 * waits[0])
    assert len(talk.listings) == 4
    assert talk.doing.phase is Phase.BACKOFF
    assert "too old resource version" in talk.doing.reason


def test_a_410_after_progress_is_no_incident() -> None:
    """[B9] After a rolling upgrade every old revision is a 410: listed at once, spread by jitter, no
    alarm."""
    talk = Conversation().listed(10)
    talk.send(added("a", 11))
    talk.send(W1 + b"\n")
    assert talk.protocol.tally.signals[Signal.EXPIRED] == 1
    assert 0 < talk.protocol.due - talk.now <= 0.2
    assert talk.phase is Phase.LIVE


@pytest.mark.parametrize("rv", ["abc"])
def test_a_foreign_checkpoint_on_a_server_that_counts_is_not_its_own(rv: str) -> None:
    """[E9] [E13] Letters are legal on some servers, so the server's own list decides."""
    talk = Conversation(at(rv))
    assert talk.ask().path == "/api/v1/pods"
    talk.answer(page(77))
    talk.listed(78)
    assert talk.causes == [Cause.EXPIRED]


def test_a_revision_that_the_server_cannot_read_is_expired_not_failed() -> None:
    """[E9] real-apiserver 1.7: HTTP 500 without a reason, which would be retried for ever."""
    talk = Conversation(at("abc"))
    talk.ask()
    talk.answer(page("xyz"))
    talk.ask()
    talk.refuse(500, UNREADABLE_ON_WATCH)
    talk.ask()
    assert talk.protocol.state in {State.STREAMING, State.CHECKING}
    assert talk.protocol.tally.signals[Signal.EXPIRED] == 1
