"""What a server says when it will not, cannot, or is not what it should be."""

import pytest

from bridge.changes.change import Cause, Cursor
from bridge.kubernetes.diagnosis import diagnose, diagnose_failure
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.scan import Failure
from bridge.kubernetes.transitions import Signal, State
from tests.kubernetes.conversation import Conversation, at
from tests.kubernetes.wire_bodies import (
    DEAD_WEBHOOK,
    JSON_HEADERS,
    PARSE_ERROR,
    UNREADABLE_ON_LIST,
    W1,
    W2,
    W3,
    W4,
    W4_16,
    W4_17,
    W5,
    W9,
    W10,
    W11,
    W11_HEADERS,
    W12,
    W12_503,
    W12_HEADERS,
    W13,
    W14,
    W15,
    W15_TEXT,
    W16,
    W18_HEADERS,
    added,
    bookmark,
    error_line,
    events_page,
    marker,
    modified,
    page,
    pod,
)

URL = "GET /api/v1/pods?watch=1"
TEXT = {"content-type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "signal", "wait"),
    [
        (410, JSON_HEADERS, W2, Signal.EXPIRED, None),
        (410, JSON_HEADERS, W3, Signal.EXPIRED, None),
        (504, JSON_HEADERS, W4, Signal.TOO_LARGE, 1.0),
        (504, JSON_HEADERS, W4_17, Signal.TOO_LARGE, 1.0),
        (504, JSON_HEADERS, W4_16, Signal.TOO_LARGE, None),
        (403, JSON_HEADERS, W5, Signal.FORBIDDEN, None),
        (422, JSON_HEADERS, W9, Signal.UNSUPPORTED, None),
        (429, JSON_HEADERS, W10, Signal.BUSY, 1.0),
        (429, W11_HEADERS, W11, Signal.BUSY, 1.0),
        (429, W12_HEADERS, W12, Signal.BUSY, 5.0),
        (503, {**JSON_HEADERS, "retry-after": "1"}, W12_503, Signal.FAILED, 1.0),
        (503, JSON_HEADERS, W14, Signal.FAILED, 5.0),
        (404, JSON_HEADERS, W15, Signal.ABSENT, None),
        (404, TEXT, W15_TEXT, Signal.ABSENT, None),
        (500, TEXT, W16, Signal.FAILED, None),
        (503, TEXT, b"service unavailable", Signal.FAILED, None),
        (503, TEXT, b"error trying to reach service: EOF", Signal.FAILED, None),
        (502, {"content-type": "text/html"}, b"<html>bad gateway</html>", Signal.FAILED, None),
        (400, JSON_HEADERS, UNREADABLE_ON_LIST, Signal.EXPIRED, None),
        (500, TEXT, b"\xff\xfe\x00" * 99, Signal.FAILED, None),
        (500, {}, b"", Signal.FAILED, None),
        (500, JSON_HEADERS, b"[" * 5000, Signal.FAILED, None),
        (500, JSON_HEADERS, b'{"kind":"Status","message":5}', Signal.FAILED, None),
        (307, {"location": "https://elsewhere/?token=secret"}, b"", Signal.NONSENSE, None),
    ],
)
def test_error_answers_are_recognised_whatever_they_are_made_of(
    status: int, headers: dict[str, str], body: bytes, signal: Signal, wait: float | None
) -> None:
    """[G2] [G11] [G12] [G13] [G14] [G15] [G16] [G17] [A10] [B16] Status, text, HTML, noise: never a crash."""
    diagnosis = diagnose(status, headers, body, URL)
    assert diagnosis.signal is signal
    assert diagnosis.retry_after == wait
    assert diagnosis.reason.startswith(f"{URL} was answered {status}")
    assert diagnosis.reason.isprintable()
    assert "secret" not in diagnosis.reason


@pytest.mark.parametrize(
    ("failure", "signal"),
    [
        (Failure(410, "", "x", None, ()), Signal.EXPIRED),
        (Failure(0, "Gone", "x", None, ()), Signal.EXPIRED),
        (Failure(504, "Timeout", "Timeout: x", None, ()), Signal.FAILED),
        (Failure(500, "ServerTimeout", "x", None, ()), Signal.FAILED),
        (
            Failure(500, "", "etcdserver: mvcc: required revision is a future revision", None, ()),
            Signal.TOO_LARGE,
        ),
        (Failure(429, "TooManyRequests", "x", 3.0, ()), Signal.BUSY),
        (Failure(0, "TooManyRequests", "x", None, ()), Signal.BUSY),
        (Failure(401, "Unauthorized", "x", None, ()), Signal.FORBIDDEN),
        (Failure(403, "Forbidden", "x", None, ()), Signal.FORBIDDEN),
        (Failure(500, "InternalError", "context deadline exceeded", None, ()), Signal.FAILED),
        (Failure(0, "", "x", None, ()), Signal.FAILED),
        (Failure(299, "Strange", "x", None, ()), Signal.FAILED),
        (
            Failure(
                500,
                "",
                "the required storage feature RequestWatchProgress is disabled",
                None,
                (),
            ),
            Signal.UNSUPPORTED,
        ),
    ],
)
def test_error_events_are_matched_on_code_then_reason_then_message(failure: Failure, signal: Signal) -> None:
    """[G1] [G2] [G5] [G6] [G7] [A11] [F9] An ERROR is a Status, whatever representation was asked for."""
    assert diagnose_failure(failure, URL).signal is signal


def test_an_error_429_keeps_the_revision_and_waits_as_told() -> None:
    """[G3] No relist: the same revision, after retryAfterSeconds."""
    talk = Conversation(at(10)).watching()
    talk.send(error_line(W10.replace(b":1}", b":20}")))
    assert 20 <= talk.protocol.due - talk.now <= 22
    assert talk.ask().params["resourceVersion"] == "10"


def test_a_429_that_does_not_pass_brings_out_the_servers_words_again() -> None:
    """[L12] [G10] A dead conversion webhook is an endless 429 (real-apiserver 6.6): after minutes it is
    said anew."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    reasons = []
    for _ in range(12):
        talk.refuse(429, DEAD_WEBHOOK)
        reasons.append(talk.doing.reason)
        if talk.ask().path.endswith("/events"):
            talk.answer(events_page(10))
            talk.ask()
    assert "conversion webhook for hook.io/v1, Kind=Hook failed" in reasons[0]
    assert reasons[-1] == f"for more than 3 minutes: {reasons[0]}"
    assert len(set(reasons)) == 2
    assert talk.causes == []


def test_an_error_500_is_tried_again_from_the_same_revision_and_verified_later() -> None:
    """[G4] Keeps what lies between, and a verifying listing follows within minutes (kubernetes#123072)."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11), PARSE_ERROR + b"\n")
    assert talk.ask().params["resourceVersion"] == "10"
    talk.open()
    talk.send(added("a", 11), modified("a", 12))
    waited = talk.silence()
    assert 60 <= waited <= 240
    talk.prove(12)
    request = talk.ask()
    assert request.params["resourceVersion"] == "12"
    assert request.params["resourceVersionMatch"] == "Exact"
    talk.answer(page(12, pod("a", 12)))
    assert talk.causes == [Cause.AUDIT]
    assert talk.ask().params["resourceVersion"] == "12"


def test_the_same_error_500_at_the_same_revision_lists() -> None:
    """[D17] [G4] A decode or decrypt error repeats for ever at this revision: it is stepped over by a
    listing."""
    talk = Conversation(at(10)).watching()
    talk.send(PARSE_ERROR + b"\n")
    talk.ask()
    talk.open()
    talk.send(PARSE_ERROR + b"\n")
    talk.prove(10)
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.POISON]


def test_progress_between_two_errors_makes_them_two_first_errors() -> None:
    """[D17] [G5] Only the same place again is stuck; a timeout never is."""
    talk = Conversation(at(10)).watching()
    timeout = error_line(W4_16.replace(b"Too large resource version: 5, current: 4", b"Timeout: slow"))
    for rv in (11, 12, 13):
        talk.send(added("a", rv), PARSE_ERROR + b"\n")
        talk.ask()
        talk.open()
    for _ in range(3):
        talk.send(timeout)
        talk.prove(13)
        talk.ask()
        talk.open()
    assert talk.causes == []


def test_a_corrupt_object_that_was_deleted_lists_at_once() -> None:
    """[D16] The server says itself that the watch can never pass this revision."""
    talk = Conversation(at(10)).watching()
    talk.send(W13 + b"\n")
    talk.prove(10)
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.POISON]


def test_an_error_504_too_large_asks_whether_the_server_was_rewound() -> None:
    """[G5] [A10] Our revision is in its future: the probe decides, not patience."""
    talk = Conversation(at(10)).watching()
    talk.send(error_line(W4))
    assert talk.ask().path.endswith("/events")
    talk.answer(events_page(7))
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.EPOCH]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/html"},
        {"content-type": "application/vnd.kubernetes.protobuf;stream=watch"},
        {"content-type": "application/cbor-seq"},
        {},
        {**W18_HEADERS, "content-encoding": "gzip"},
        {**W18_HEADERS, "content-encoding": "br"},
    ],
)
def test_a_200_of_another_kind_is_an_error_that_names_the_url(headers: dict[str, str]) -> None:
    """[C9] [C10] [C11] [F11] HTML, protobuf, or compressed: gzip members would end after the first, in
    silence."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    talk.open(headers)
    assert talk.phase is Phase.BACKOFF
    assert "GET /api/v1/pods?watch=1" in talk.doing.reason
    assert not talk.protocol.reading
    talk.prove(10)
    assert talk.ask().params["resourceVersion"] == "10"


@pytest.mark.parametrize(
    "content", ["application/json", "application/json;stream=watch", "Application/JSON; x"]
)
def test_json_is_accepted_with_parameters(content: str) -> None:
    """[C11] [J9] `;stream=watch` is legal, and so are headers like Warning."""
    talk = Conversation(at(10))
    talk.prove(10).ask()
    talk.open({**W18_HEADERS, "content-type": content})
    assert talk.protocol.reading


def test_a_list_in_place_of_a_stream_is_a_protocol_error_not_poison() -> None:
    """[B15] A proxy that strips the query: backoff, the URL for a person, the revision kept."""
    talk = Conversation(at(10)).watching()
    talk.send(page(99, pod("a", 98)) + b"\n")
    assert talk.poison == []
    assert talk.changes == []
    assert "GET /api/v1/pods?watch=1" in talk.doing.reason
    assert talk.ask().params["resourceVersion"] == "10"


def test_the_first_bad_line_reconnects_and_the_second_is_poison() -> None:
    """[C14] [C12] Perhaps the transport; if not, a POISON is told and everything is listed to step over
    it."""
    bad = b'{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}}\n'
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 11) + added("b", 12) + bad + added("c", 14))
    assert talk.poison == []
    assert talk.cursor == Cursor("11", "12", ("u-b/ADDED",))
    assert talk.ask().params["resourceVersion"] == "11"
    talk.open()
    talk.send(added("b", 12) + bad)
    assert [report.line for report in talk.poison] == [bad[:-1]]
    assert "uid" in talk.poison[0].error
    talk.prove(12)
    talk.ask()
    talk.open()
    assert talk.causes == [Cause.POISON]
    assert [event.name for event in talk.changes] == ["a", "b"]


def test_a_bad_line_that_does_not_come_again_was_the_transports() -> None:
    """[C14] After progress the next bad line is again a first one."""
    talk = Conversation(at(10)).watching()
    for rv in (11, 12, 13):
        talk.send(b"garbage\n")
        talk.ask()
        talk.open()
        talk.send(added("a", rv))
    assert talk.poison == []
    assert talk.causes == []


def test_a_revision_that_decreases_is_poison() -> None:
    """[D12] Order within one watch is a promise of the server; broken twice, it is stepped over."""
    talk = Conversation(at(10)).watching()
    talk.send(added("a", 20), added("b", 15))
    talk.ask()
    talk.open()
    talk.send(added("c", 18), added("b", 15))
    assert len(talk.poison) == 1
    assert b'"b"' in talk.poison[0].line
    assert [event.name for event in talk.changes] == ["a", "c"]


def test_an_overlong_line_is_poison_and_not_retried_for_ever() -> None:
    """[C8] The second time its start is told, and a listing steps over it."""
    talk = Conversation(at(10), line_limit=2000)
    for _ in range(2):
        talk.watching()
        talk.send(added("big", 11, annotations={"x": "y" * 3000}))
    assert len(talk.poison) == 1
    assert len(talk.poison[0].line) == 2000


def test_the_forbidden_phase_names_the_anonymous_user() -> None:
    """A missing credential shows as a 403 of system:anonymous (real-apiserver 7.3): it is told as such."""
    body = W5.replace(b"system:serviceaccount:kube-system:machine-controller", b"system:anonymous")
    assert "no credential was accepted" in diagnose(403, JSON_HEADERS, body, URL).reason


def test_a_bookmark_of_another_kind_is_no_bookmark() -> None:
    """[C13] [E3] Only its revision and annotations are read, but it must be this kind's."""
    talk = Conversation(at(10)).watching()
    talk.send(bookmark(11).replace(b"Pod", b"Node"))
    assert talk.protocol.tally.signals[Signal.GARBLED] == 1


def test_every_wire_body_ends_in_a_state_that_goes_on() -> None:
    """No body of the collection, in any state that reads, stops a watch for good."""
    bodies = [W1, W13, PARSE_ERROR, error_line(W4)[:-1], error_line(W5)[:-1], error_line(W9)[:-1], W16, b"x"]
    for body in bodies:
        for start in (None, at(10)):
            talk = Conversation(start)
            talk.prove(10)
            talk.ask()
            talk.open()
            talk.send(added("a", 11), body + b"\n")
            for _ in range(30):
                request = talk.ask()
                if request.streaming:
                    talk.open()
                    talk.send(*([] if "resourceVersion" in request.params else [marker(40)]))
                    break
                talk.answer(events_page(30) if request.path.endswith("/events") else page(30))
            assert talk.protocol.state is State.WATCHING, body
