"""When a proof that the server is not behind us no longer holds."""

import pytest

from bridge.changes.change import Cause
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import events_page


def test_a_clean_end_within_a_minute_of_a_proof_needs_no_other() -> None:
    """[B8] A server that ends its watches as it should is the one that was proven."""
    talk = Conversation(at(10)).watching()
    talk.end(after=5)
    assert talk.ask().params.get("resourceVersion") == "10"


def test_a_cut_needs_a_new_proof_however_young_the_last_one_is() -> None:
    """[B8] A backup restored within seconds: the connection broke, so the server may have been
    restarted."""
    talk = Conversation(at(1500)).watching(1500)
    talk.cut(after=1)
    assert talk.ask().path.endswith("/events")
    talk.cut()
    talk.ask()
    talk.answer(events_page(900))
    talk.listed(905)
    assert talk.causes == [Cause.EPOCH]


@pytest.mark.parametrize("status", [403, 404, 405, 500, 503])
def test_a_refusal_after_a_clean_end_needs_a_new_proof(status: int) -> None:
    """[B8] A load balancer without a server, or a server that is only starting: its history is not
    known."""
    talk = Conversation(at(1500)).watching(1500)
    talk.end(after=5)
    talk.ask()
    talk.refuse(status)
    assert talk.ask().path.endswith("/events")
    talk.answer(events_page(900))
    talk.listed(905)
    assert talk.causes == [Cause.EPOCH]


def test_a_server_that_is_busy_is_not_asked_for_more() -> None:
    """[B8] 429 comes from a server that lives."""
    talk = Conversation(at(10)).watching()
    talk.end(after=5)
    talk.ask()
    talk.refuse(429)
    assert talk.ask().params["resourceVersion"] == "10"


def test_a_flapping_stream_is_no_flood_of_probes() -> None:
    """[B8] [I1] One small read for each cut, and backoff between cuts."""
    talk = Conversation(at(10)).watching()
    began = talk.now
    probes = 0
    while talk.now - began < 600:
        talk.cut(after=0.1)
        assert talk.ask().params == {"limit": "1"}
        probes += 1
        talk.answer(events_page(10))
        assert talk.ask().params["resourceVersion"] == "10"
        talk.open()
    assert 10 < probes < 30


def test_a_watch_that_resumed_unproven_is_short_and_ends_in_the_question() -> None:
    """[B8] While etcd hangs the watch goes on; had it been restored, that watch would be silence."""
    talk = Conversation(at(1500)).watching(1500)
    talk.cut(after=1)
    talk.ask()
    talk.protocol.late(10.0, talk.now)
    request = talk.ask()
    assert request.params["resourceVersion"] == "1500"
    assert 30 <= int(request.params["timeoutSeconds"]) <= 60
    talk.open()
    talk.end(after=45)
    talk.prove(1500)
    assert int(talk.ask().params["timeoutSeconds"]) >= 300
