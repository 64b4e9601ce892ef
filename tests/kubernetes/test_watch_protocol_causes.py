"""Why everything is listed, demanded or found necessary: the cause is told, and no change is passed over."""

import pytest

from bridge.changes.change import Cause
from bridge.kubernetes.reports import Began
from bridge.kubernetes.transitions import State
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import W1, W2, W4, W5, added, marker, page, pod


def test_a_first_cause_is_told_and_so_is_where_we_were() -> None:
    """`from` of the RESYNC is the cursor that was given up, "" when there was none."""
    fresh = Conversation(first_cause=Cause.STATE_LOST).listed(9)
    assert fresh.of(Began) == [Began(Cause.STATE_LOST, "")]
    known = Conversation(at(10)).watching()
    known.send(added("a", 11), added("a", 12), W1 + b"\n")
    known.listed(20)
    assert known.of(Began) == [Began(Cause.EXPIRED, "11")]


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
