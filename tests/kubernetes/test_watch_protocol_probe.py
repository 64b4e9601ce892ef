"""Before a watch is resumed, a read that reaches etcd proves that the server is not behind us."""

from bridge.changes.change import Cause, Cursor
from bridge.kubernetes.requests import Scope
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import W5, events_page, page


def test_before_resuming_a_read_that_reaches_etcd_must_not_be_behind_us() -> None:
    """[B8] [A12] A watch from the future is silence: the probe finds it, and a new epoch begins."""
    talk = Conversation(Cursor("1400", "1500"))
    request = talk.ask()
    assert (request.path, dict(request.params)) == ("/api/v1/namespaces/default/events", {"limit": "1"})
    talk.answer(events_page(900))
    assert talk.ask().path == "/api/v1/pods"
    talk.answer(page(900))
    talk.listed(905)
    assert talk.causes == [Cause.EPOCH]
    assert talk.listings == ["905"]


def test_a_cache_that_lies_after_a_restore_is_found_by_the_uncached_kind() -> None:
    """[B8] real-apiserver 8.4: the list still shows the old revision; Events, known to share its etcd,
    does not."""
    talk = Conversation(at(3516)).watching(3516)
    assert talk.memory.events_share_revisions
    talk.end(after=400)
    assert talk.ask().path.endswith("/events")
    talk.answer(events_page(3504))
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.EPOCH]


def test_events_in_an_etcd_of_their_own_prove_nothing() -> None:
    """[B8] Many clusters split Events off: lower numbers there are no rewind, unless the two were seen to
    be one."""
    talk = Conversation(at(5000))
    talk.ask()
    talk.answer(events_page(70))
    talk.ask()
    talk.answer(page(5001))
    talk.ask()
    talk.answer(events_page(71))
    assert talk.ask().params["resourceVersion"] == "5000"
    assert not talk.memory.events_share_revisions


def test_a_probe_without_rights_on_events_asks_the_resource_itself_with_its_selectors() -> None:
    """[B8] [M2] Events may be forbidden; the list of the watched kind is the next best witness."""
    talk = Conversation(at(10), scope=Scope("shop", "a=b"))
    talk.ask()
    talk.answer(W5, 403)
    request = talk.ask()
    assert request.path == "/api/v1/namespaces/shop/pods"
    assert dict(request.params) == {"labelSelector": "a=b", "limit": "1"}
    talk.answer(W5, 403)
    assert talk.ask().params["resourceVersion"] == "10"


def test_before_the_first_watch_of_a_process_the_probe_must_be_answered() -> None:
    """[B8] At start a hanging etcd is waited for, with backoff: resuming blindly could lose everything."""
    talk = Conversation(at(10))
    talk.ask()
    talk.protocol.late(10.0, talk.now)
    assert talk.ask().path.endswith("/events")
    assert talk.waited > 0.8


def test_later_the_watch_is_the_surer_call() -> None:
    """[B8] real-apiserver 8.1: while etcd is away a watch goes on from the cache; a list hangs."""
    talk = Conversation(at(10)).watching()
    talk.end(after=400)
    talk.ask()
    talk.protocol.late(10.0, talk.now)
    assert talk.ask().params["resourceVersion"] == "10"
