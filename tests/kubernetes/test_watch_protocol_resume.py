"""Which ends and failures keep the revision: the next watch goes on from it, and nothing is listed."""

import pytest

from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Doing
from bridge.kubernetes.transitions import Signal
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import (
    W15_TEXT,
    added,
    bookmark,
    deleted,
    events_page,
    marker,
    modified,
    page,
)


def test_a_clean_end_resumes_at_once_from_the_last_revision() -> None:
    """[B3] [H9] No relist, no backoff: at most a fifth of a second of jitter."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11), modified("a", 12))
    talk.end(after=5)
    assert talk.ask().params["resourceVersion"] == "11"
    assert 0 < talk.waited <= 0.2
    assert talk.phase is Phase.LIVE
    assert talk.causes == []


def test_short_watches_with_events_are_normal() -> None:
    """[B4] [G8] A slow reader is ended cleanly after some events; that is progress."""
    talk = Conversation(at(10))
    for rv in range(11, 20):
        talk.prove(10)
        talk.ask()
        talk.open()
        talk.send(added("a", rv))
        talk.end(after=0.1)
    assert talk.causes == []
    assert Signal.SHORT not in talk.protocol.tally.signals


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (400, Phase.REFUSED),
        (401, Phase.FORBIDDEN),
        (403, Phase.FORBIDDEN),
        (404, Phase.ABSENT),
        (405, Phase.REFUSED),
        (408, Phase.BACKOFF),
        (422, Phase.REFUSED),
        (429, Phase.BACKOFF),
        (499, Phase.BACKOFF),
        (500, Phase.BACKOFF),
        (502, Phase.BACKOFF),
        (503, Phase.BACKOFF),
        (504, Phase.BACKOFF),
        (302, Phase.BACKOFF),
        (999, Phase.BACKOFF),
    ],
)
def test_start_errors_keep_the_revision(status: int, phase: Phase) -> None:
    """[B11] [G6] [G16] [K7] [L3] [M5] Only waiting differs: nothing is listed, nothing is deleted,
    forever."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    waits = []
    for _ in range(5):
        talk.refuse(status, b"<html>whatever</html>", {"content-type": "text/html"})
        assert talk.phase is phase
        assert str(status) in talk.doing.reason
        request = talk.ask()
        waits.append(talk.waited)
        if "resourceVersion" not in request.params:
            talk.answer(events_page(10))
            request = talk.ask()
        assert request.params["resourceVersion"] == "10"
    assert min(waits) >= 0.8
    assert talk.causes == []
    talk.open()
    assert talk.phase is Phase.LIVE


def test_a_connection_that_cannot_be_made_keeps_the_revision() -> None:
    """[B11] Refused, reset, DNS, TLS: backoff, and the sentence of the transport for a person."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    talk.cut()
    assert talk.doing.reason == "the connection broke"
    assert talk.ask().path.endswith("/events")
    assert talk.waited >= 0.8
    talk.answer(events_page(10))
    assert talk.ask().params["resourceVersion"] == "10"


def test_404_while_the_stream_is_open_changes_nothing_on_the_stream() -> None:
    """[L3] [L10] The DELETEDs of a removed CRD still come on the open stream (real-apiserver 6.10); it is
    drained."""
    talk = Conversation(at(10)).watching()
    talk.send(deleted("a", 11), deleted("b", 12), deleted("c", 13))
    talk.end(after=1.1)
    assert [event.name for event in talk.changes] == ["a", "b", "c"]
    talk.ask()
    talk.refuse(404, W15_TEXT, {"content-type": "text/plain"})
    assert talk.phase is Phase.ABSENT
    assert talk.causes == []


def test_a_resource_without_bookmarks_keeps_its_old_revision() -> None:
    """[E7] Nothing makes a revision younger but events, bookmarks and complete listings: a newer one
    skips."""
    talk = Conversation(at(10)).watching()
    for _ in range(3):
        talk.end(after=500)
        talk.prove(5000)
        assert talk.ask().params["resourceVersion"] == "10"
        talk.open()


def test_replays_are_dropped_across_a_restart() -> None:
    """[B18] What was told with a cursor is not told again by a process that starts from that cursor."""
    first = Conversation(at(10)).watching()
    first.send(added("a", 11), added("b", 12))
    second = Conversation(first.cursor)
    second.prove(12)
    assert second.ask().params["resourceVersion"] == "11"
    second.open()
    second.send(added("b", 12), added("c", 12), bookmark(13))
    assert [event.name for event in second.changes] == ["c"]
    assert second.protocol.cursor.replayed == 1


@pytest.mark.parametrize("lines", [[], [added("a", 10)]])
def test_a_server_that_ends_every_watch_before_an_event_it_cannot_encode_is_not_hammered(
    lines: list[bytes],
) -> None:
    """[G10] No progress again and again: backoff grows, everything is listed now and then, a person knows."""
    talk = Conversation(at(10))
    began = talk.now
    watches = 0
    while talk.now - began < 3600:
        request = talk.ask()
        if not request.streaming:
            talk.answer(events_page(10) if request.path.endswith("/events") else page(10))
            continue
        watches += "sendInitialEvents" not in request.params
        talk.open()
        talk.send(*lines, *([marker(10)] if "sendInitialEvents" in request.params else []))
        talk.end(after=0.1)
    assert watches < 100
    assert 10 < len(talk.listings) < 100
    assert {report.phase for report in talk.of(Doing)} >= {Phase.BACKOFF}
