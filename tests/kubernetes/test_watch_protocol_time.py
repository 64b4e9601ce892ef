"""Time: deadlines, silence, jitter, and how failures and their phases follow each other."""

import random

from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Doing
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import Signal
from bridge.kubernetes.watch_protocol import WatchProtocol
from tests.kubernetes.conversation import Conversation, Pods, at
from tests.kubernetes.wire_bodies import POD, W5, added, bookmark, marker


def test_watches_do_not_end_together() -> None:
    """[H1] [H9] [I4] timeoutSeconds is random over 300 to 600 s."""
    chance = random.Random(3)
    memory = ServerMemory()
    seconds = {
        int(
            WatchProtocol(Pods(), POD, Scope(), None, memory=memory, random=chance)
            .request(0.0)
            .params["timeoutSeconds"]
        )
        for _ in range(300)
    }
    assert min(seconds) >= 300
    assert max(seconds) <= 600
    assert len(seconds) > 100


def test_a_watch_is_given_up_half_a_minute_after_its_own_timeout() -> None:
    """[H1] [H10] The clock runs from the sending of the request; then the same revision again, no listing."""
    talk = Conversation(at(10)).watching()
    assert talk.silence() == 450 + 30
    talk.prove(10)
    assert talk.ask().params["resourceVersion"] == "10"
    assert talk.causes == []


def test_a_healthy_watch_may_be_silent_for_as_long_as_it_lasts() -> None:
    """[H3] [E7] No bookmark while the server's revision stands still: 121 s seen; Events never have any."""
    for lines in ([], [added("a", 11)], [bookmark(11)]):
        talk = Conversation(at(10)).watching()
        talk.send(*lines)
        assert talk.protocol.read_timeout(talk.now) == 480


def test_silence_after_regular_bookmarks_is_asked_about() -> None:
    """[H3] [H4] [H2] [E4] More than three intervals without the usual bookmark: the same revision on a new
    connection."""
    talk = Conversation(at(10)).watching()
    talk.send(bookmark(11))
    talk.now += 60
    talk.send(bookmark(11))
    assert talk.silence() == 200
    talk.prove(11)
    request = talk.ask()
    assert request.params["resourceVersion"] == "10"
    talk.open()
    assert talk.causes == []
    assert talk.protocol.read_timeout(talk.now) == 480


def test_a_repeated_bookmark_counts_as_a_sign_of_life() -> None:
    """[E6] [H3] real-apiserver 2.4: 333, 333, 333 is a healthy idle watch."""
    talk = Conversation(at(10)).watching()
    for _ in range(5):
        talk.send(bookmark(333))
        talk.now += 61
    assert talk.protocol.reading
    assert talk.protocol.read_timeout(talk.now) > 60


def test_failures_back_off_and_progress_ends_the_incident() -> None:
    """[I1] [I2] Doubling from 0.8 s while nothing works; after an event the next failure is a first one."""
    talk = Conversation(at(10)).watching()
    waits = []
    for _ in range(5):
        talk.cut()
        waits.append(talk.protocol.due - talk.now)
        talk.now = talk.protocol.due
        talk.prove(10)
        talk.ask()
        talk.open()
    assert waits == sorted(waits)
    assert waits[-1] > 10 * waits[0]
    talk.send(added("a", 11))
    talk.cut()
    assert talk.protocol.due - talk.now == waits[0]


def test_a_long_quiet_watch_is_healthy_though_nothing_happened() -> None:
    """[I2] Two minutes of life reset the delays."""
    talk = Conversation(at(10)).watching()
    first = 0.0
    for index in range(3):
        talk.cut(after=130)
        delay = talk.protocol.due - talk.now
        first = first or delay
        assert delay == first, index
        talk.prove(10)
        talk.ask()
        talk.open()


def test_one_incident_is_told_once() -> None:
    """The phase and its reason stay the same words while the same thing goes wrong, and end with LIVE."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    for _ in range(6):
        talk.refuse(403, W5)
        talk.ask()
    talk.open()
    assert [report.phase for report in talk.of(Doing)] == [Phase.CONNECTING, Phase.FORBIDDEN, Phase.LIVE]


def test_phases_of_a_first_start() -> None:
    """Connecting, listing, live: what readiness and the person who waits are told."""
    talk = Conversation().listed(9)
    assert talk.of(Doing) == [Doing(Phase.CONNECTING, ""), Doing(Phase.LISTING, ""), Doing(Phase.LIVE, "")]


def test_a_clean_end_and_a_resume_are_no_news() -> None:
    """[P4] Every five to ten minutes a watch ends; readiness must not flap with it."""
    talk = Conversation(at(10)).watching()
    before = len(talk.of(Doing))
    for _ in range(5):
        talk.end(after=400)
        talk.prove(10)
        talk.ask()
        talk.open()
    assert len(talk.of(Doing)) == before


def test_the_tally_tells_what_happened() -> None:
    """[P3] Requests, bytes, listings by cause and signals by name, for metrics that are read, not pushed."""
    talk = Conversation().listed(9, added("a", 3))
    talk.end(after=10)
    tally = talk.protocol.tally
    assert tally.requests == 1
    assert tally.received == len(added("a", 3)) + len(marker(9))
    assert {cause.value: count for cause, count in tally.listings.items()} == {"firstStart": 1}
    assert tally.signals[Signal.ENDED] == 1
