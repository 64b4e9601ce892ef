"""Starting and resuming: the canonical request, the probe, and which ends keep the revision."""

import pytest

from bridge.changes.change import Cause, Cursor
from bridge.errors import InvariantError
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Doing
from bridge.kubernetes.requests import Scope, collection_path, watch_request
from bridge.kubernetes.transitions import Signal, State
from tests.kubernetes.conversation import Conversation, Pods, at
from tests.kubernetes.wire_bodies import (
    UNREADABLE_ON_WATCH,
    W1,
    W1_OLDER,
    W1_UNCACHED,
    W3,
    W5,
    W15_TEXT,
    added,
    bookmark,
    deleted,
    events_page,
    marker,
    modified,
    page,
)


def test_the_canonical_watch() -> None:
    """[B1] [H1] One path, watch, bookmarks, the revision, a random timeout of 300 to 600 s, and nothing
    else."""
    talk = Conversation(at(10), scope=Scope("shop", "app=web", "spec.nodeName=n1"))
    talk.prove(10)
    request = talk.ask()
    assert request.path == "/api/v1/namespaces/shop/pods"
    assert request.streaming
    seconds = int(request.params["timeoutSeconds"])
    assert 300 <= seconds <= 600
    assert request.params == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "10",
        "timeoutSeconds": str(seconds),
        "labelSelector": "app=web",
        "fieldSelector": "spec.nodeName=n1",
    }


@pytest.mark.parametrize("rv", ["", "0"])
def test_a_live_watch_from_no_revision_cannot_be_made(rv: str) -> None:
    """[B2] [F13] RV "" or "0" would be a restart without an end: it is an invariant, not a parameter."""
    with pytest.raises(InvariantError):
        watch_request("/api/v1/pods", Scope(), rv, 300)


@pytest.mark.parametrize(
    ("resource", "namespace", "path"),
    [
        (Pods(), "", "/api/v1/pods"),
        (Pods(), "services", "/api/v1/namespaces/services/pods"),
        (Pods("apps", "v1", "deployments"), "shop", "/apis/apps/v1/namespaces/shop/deployments"),
        (Pods("", "v1", "nodes", namespaced=False), "shop", "/api/v1/nodes"),
        (Pods("a/b", "v1", "x"), "..", "/apis/a%2Fb/v1/namespaces/../x"),
    ],
)
def test_paths_are_never_the_deprecated_ones(resource: Pods, namespace: str, path: str) -> None:
    """[B22] [M8] No /watch/ path; a cluster-scoped kind is never asked for in a namespace (that is a 404)."""
    assert collection_path(resource, Scope(namespace)) == path


def test_a_clean_end_resumes_at_once_from_the_last_revision() -> None:
    """[B3] [H9] No relist, no backoff: at most a fifth of a second of jitter."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11), modified("a", 12))
    talk.end(after=5)
    assert talk.ask().params["resourceVersion"] == "11"
    assert 0 < talk.waited <= 0.2
    assert talk.phase is Phase.LIVE
    assert talk.causes == []


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


def test_a_checkpoint_that_is_no_revision_is_never_sent() -> None:
    """[E9] [B2] It would be a 500 for ever, or a silent restart."""
    for rv in ("", "0", "007", "-5", "a b"):
        talk = Conversation(Cursor(rv, rv) if rv else None)
        assert "resourceVersion" not in talk.ask().params


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


def test_the_head_of_a_watch_may_be_late() -> None:
    """[B20] Proxies hold it back until the first event: at least a minute, from the moment of sending."""
    talk = Conversation(at(10))
    assert talk.prove(10).ask().patience >= 60
    assert Conversation().ask().patience >= 60


def test_bookmarks_alone_move_the_cursor() -> None:
    """[E1] [E2] [E3] [D4] Progress without events is told as such, and never as data."""
    talk = Conversation(at(10)).watching()
    talk.send(bookmark(20), bookmark(20), bookmark(30))
    assert talk.changes == []
    assert talk.cursor == Cursor("20", "30")


def test_a_resource_without_bookmarks_keeps_its_old_revision() -> None:
    """[E7] Nothing makes a revision younger but events, bookmarks and complete listings: a newer one
    skips."""
    talk = Conversation(at(10)).watching()
    for _ in range(3):
        talk.end(after=500)
        talk.prove(5000)
        assert talk.ask().params["resourceVersion"] == "10"
        talk.open()


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
