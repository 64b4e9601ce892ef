"""Webhooks against a receiver that answers as a script says, on real sockets."""

import gzip
import json
import time

import pytest
import trio

from bridge.delivery.sink import Checked, Rejected, Sink, Sparing, Stopped, Unavailable
from bridge.errors import InvariantError
from sinks.webhook.client import MOST_BODY
from sinks.webhook.sink import Webhook
from tests.sinks.receiver import (
    OTHER,
    SECRET,
    Received,
    Step,
    answer,
    batch,
    drips,
    hangs_up,
    hooked,
    ok,
    receiving,
    record,
    says,
    secret,
    send,
    silence,
    verify,
)

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def test_it_is_a_sink_and_shows_no_secret() -> None:
    sink = Webhook("http://h", signing_secret=(secret(SECRET),), headers={"x-key": secret("s3ntinel")})
    assert isinstance(sink, Sink)
    assert isinstance(sink, Checked)
    assert isinstance(sink, Sparing)
    assert "s3ntinel" not in repr(sink)
    assert SECRET not in repr(sink)


async def test_each_record_is_one_request_that_the_official_package_verifies() -> None:
    async with receiving() as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        await send(sink, 2)
        await send(sink, 3)
        assert receiver.ids == [record(number).id for number in (1, 2, 3)]
        assert [verify(request)["n"] for request in receiver.requests] == [1, 2, 3]
        for request in receiver.requests:
            assert (request.method, request.target) == ("POST", "/hook")
            assert request.headers["content-type"] == "application/json"
        assert receiver.connections == 1


async def test_while_keys_change_receivers_with_either_verify() -> None:
    async with (
        receiving() as receiver,
        hooked(receiver.url, signing_secret=(secret(SECRET), secret(OTHER))) as sink,
    ):
        await send(sink, 1)
        assert (
            verify(receiver.requests[0], SECRET)
            == verify(receiver.requests[0], OTHER)
            == {
                "type": "MODIFIED",
                "n": 1,
            }
        )


async def test_gzip_is_undone_before_the_signature_is_verified() -> None:
    """A framework undoes the encoding before the receiver's own code sees the body."""
    large = json.dumps({"pad": "x" * 300_000}).encode()
    async with receiving() as receiver, hooked(receiver.url, compression="gzip") as sink:
        for value in (b"{}", large):
            await sink.deliver(batch([record(1, value)]))
            request = receiver.requests[-1]
            assert request.headers["content-encoding"] == "gzip"
            assert gzip.decompress(request.body) == value
            verify(request, body=value)
        assert len(receiver.requests[-1].body) < 1000


async def test_method_and_headers_are_those_configured() -> None:
    headers = {"X-Api-Key": secret("k3y"), "User-Agent": secret("mine")}
    async with receiving() as receiver, hooked(receiver.url, method="PUT", headers=headers) as sink:
        await send(sink, 1)
        (request,) = receiver.requests
        assert request.method == "PUT"
        assert request.headers["x-api-key"] == "k3y"
        assert request.headers["user-agent"] == "mine"


async def test_a_cookie_that_a_receiver_sets_is_not_sent_back() -> None:
    async with receiving(answer(200, set_cookie="a=b")) as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        await send(sink, 2)
        assert "cookie" not in receiver.requests[1].headers


async def test_every_attempt_has_the_same_id_and_a_signature_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter(range(10))
    start = int(time.time()) - 100
    monkeypatch.setattr("sinks.webhook.sender.time.time", lambda: start + 10.5 * next(moments))
    async with receiving(answer(503), hangs_up, answer(429)) as receiver, hooked(receiver.url) as sink:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await send(sink, 1)
        await send(sink, 1)
        assert len(receiver.requests) == 4
        assert set(receiver.ids) == {record(1).id}
        times = {request.headers["webhook-timestamp"] for request in receiver.requests}
        assert len(times) == len(receiver.requests) - 1, "the retry of a dead connection is the same attempt"
        for request in receiver.requests:
            verify(request)


@pytest.mark.parametrize(
    ("step", "reason", "words"),
    [
        (answer(500, b"oops"), "server_error", "answered 500 Internal Server Error: oops"),
        (answer(429, retry_after="9"), "throttled", "answered 429"),
        (answer(408), "timeout", "answered 408"),
        (answer(425), "too_early", "answered 425"),
        (answer(301, location="/login"), "redirect", "redirects are not followed"),
        (hangs_up, "connection", "closed the connection before it answered"),
        (says(b"HTTP/1.1 200"), "connection", "closed the connection before it answered"),
        (says(b"SSH-2.0-x\r\n\r\n"), "connection", "does not speak HTTP there: if it speaks TLS"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "connection", "before it answered|does not speak HTTP"),
        (says(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000), "connection", "does not speak HTTP there"),
        (says(b"HTTP/1.1 100 Continue\r\n\r\n"), "connection", "closed the connection before"),
    ],
)
async def test_what_is_no_final_answer_promises_nothing_and_comes_again(
    step: Step, reason: str, words: str
) -> None:
    async with receiving(step) as receiver, hooked(receiver.url) as sink:
        with pytest.raises(Unavailable, match=words) as caught:
            await send(sink, 1)
        assert caught.value.reason == reason
        assert caught.value.retry_after == (9.0 if reason == "throttled" else None)
        await send(sink, 1)
        assert receiver.ids == [record(1).id] * 2


async def test_a_redirect_is_never_followed() -> None:
    async with receiving() as other, receiving(answer(308, location=other.url)) as receiver:
        async with hooked(receiver.url) as sink:
            with pytest.raises(Unavailable, match=r"308 Permanent Redirect and points to 127\.0\.0\.1"):
                await send(sink, 1)
        assert other.requests == []


async def test_410_stops_the_sink() -> None:
    async with receiving(answer(410)) as receiver, hooked(receiver.url) as sink:
        with pytest.raises(Stopped, match="answered 410 Gone: it wants nothing more"):
            await send(sink, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 451])
async def test_any_other_4xx_rejects_that_record_and_no_other(status: int) -> None:
    async with receiving(ok, answer(status, b"why"), ok) as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        with pytest.raises(Rejected, match=f"answered {status} .*: why") as caught:
            await send(sink, 2)
        assert list(caught.value.reasons) == [0]
        await send(sink, 3)
        assert receiver.ids == [record(number).id for number in (1, 2, 3)]


# Answers that do not end, or not well


@pytest.mark.parametrize(
    "step",
    [silence, drips(b"", b"H"), drips(b"HTTP/1.1 200 OK\r\n", b"x"), drips(b"HTTP/1.1 2", b"0")],
)
async def test_a_receiver_that_does_not_come_to_an_answer_is_cut_off_in_time(
    step: Step,
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async with receiving(step) as receiver, hooked(receiver.url, timeout=20.0) as sink:
        begun = trio.current_time()
        with pytest.raises(Unavailable, match="did not answer within 20 s") as caught:
            await send(sink, 1)
        assert trio.current_time() - begun == pytest.approx(20.0)
        assert caught.value.reason == "timeout"
        await send(sink, 1)


@pytest.mark.parametrize(
    "step",
    [
        drips(HEAD, b"1\r\nx\r\n"),
        drips(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"),
        says(HEAD + b"zz\r\n"),
        says(HEAD),
        answer(204),
        says(b"HTTP/1.0 200 OK\r\n\r\nok"),
        says(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
            goes_on=True,
        ),
    ],
)
async def test_once_a_2xx_has_come_the_record_is_owned_whatever_follows(
    step: Step,
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async with receiving(step) as receiver, hooked(receiver.url) as sink:
        begun = trio.current_time()
        await send(sink, 1)
        assert trio.current_time() - begun < 3, "the rest of an answer is not worth a long wait"
        await send(sink, 2)
        assert receiver.ids == [record(1).id, record(2).id]


async def test_a_2xx_that_came_in_time_owns_the_record_though_the_deadline_comes_during_its_body(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async with receiving(drips(HEAD, b"1\r\nx\r\n")) as receiver, hooked(receiver.url, timeout=1.0) as sink:
        begun = trio.current_time()
        await send(sink, 1)
        assert trio.current_time() - begun == pytest.approx(1.0)
        await send(sink, 2)
        assert receiver.ids == [record(1).id, record(2).id]


@pytest.mark.parametrize("announced", [True, False])
async def test_of_a_gigabyte_in_answer_little_is_read(*, announced: bool) -> None:
    sent = 0
    piece = b"x" * 65_536

    async def gigabyte(_: Received, stream: trio.abc.Stream) -> bool:
        nonlocal sent
        size = 1 << 30
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size if announced else HEAD)
        while sent < size:
            await stream.send_all(piece if announced else b"10000\r\n%b\r\n" % piece)
            sent += len(piece)
        return False

    async with receiving(gigabyte) as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        await send(sink, 2)
        assert receiver.connections == 2
        assert sent < 16 << 20, "what the kernel buffers, and no more"


@pytest.mark.parametrize(("size", "connections"), [(MOST_BODY - 1, 1), (MOST_BODY + 1, 2)])
async def test_a_small_answer_is_read_to_its_end_so_that_the_connection_is_used_again(
    size: int, connections: int
) -> None:
    async with receiving(answer(200, b"x" * size)) as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        await send(sink, 2)
        assert receiver.connections == connections


async def test_a_connection_that_was_idle_and_died_is_replaced_at_once() -> None:
    """Nothing was answered, and the receiver may just have closed what it thought to be idle."""
    async with receiving(ok, hangs_up, ok) as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        await send(sink, 2)
        assert receiver.ids == [record(1).id, record(2).id, record(2).id]
        assert receiver.connections == 2


async def test_a_new_connection_that_died_is_not_tried_twice() -> None:
    async with receiving(always=hangs_up) as receiver, hooked(receiver.url) as sink:
        for tries in (1, 2):
            with pytest.raises(Unavailable):
                await send(sink, 1)
            assert len(receiver.requests) == tries


async def test_no_more_requests_than_configured_are_under_way() -> None:
    most = now = 0

    async def counting(_: Received, stream: trio.abc.Stream) -> bool:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await trio.testing.wait_all_tasks_blocked()
        now -= 1
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        return True

    async with receiving(always=counting) as receiver, hooked(receiver.url, concurrency=3) as sink:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(send, sink, number)
        assert most == 3
        assert receiver.connections == 3
        assert sorted(receiver.ids) == sorted(record(number).id for number in range(20))


async def test_closing_leaves_no_connection_open() -> None:
    async with receiving() as receiver:
        async with hooked(receiver.url) as sink:
            await send(sink, 1)
            assert receiver.open == 1
        await trio.testing.wait_all_tasks_blocked()
        assert receiver.open == 0


async def test_a_closed_sink_says_that_it_is_closed() -> None:
    with pytest.raises(InvariantError):
        await send(Webhook("http://h"), 1)
