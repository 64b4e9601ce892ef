"""Requests, bodies and errors of the HTTP seam, against a server that says exactly what a test wants."""

import gc
import gzip
import os
import random

import httpx
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bridge.kubernetes.apiserver import (
    ApiError,
    ApiServer,
    Idle,
    Interrupted,
    RateLimiter,
    Stream,
    Unreachable,
)
from bridge.kubernetes.auth import Anonymous
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.explain import retry_after
from tests.kubernetes.wire import Handler, Request, chunked, reply, serving


def says(*answers: bytes, close: bool = False) -> Handler:
    """Answers with the given bytes, one after the other, the last for ever."""
    waiting = list(answers)

    async def handler(_: Request, stream: trio.abc.Stream) -> bool:
        await stream.send_all(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        return close

    return handler


async def everything(stream: Stream) -> bytes:
    whole = b""
    while piece := await stream.read(5):
        whole += piece
    return whole


async def test_a_get_returns_status_headers_and_body_and_reuses_its_connection() -> None:
    async with (
        serving(says(reply(200, b"{}", x_Two="a"))) as peer,
        ApiServer(Connection(peer.url + "/pre")) as api,
    ):
        for _ in range(2):
            await api.get("/api", {"limit": "5", "continue": "a b"})
        response = await api.get("/api")
        assert (response.status, response.headers["x-two"], response.body) == (200, "a", b"{}")
        assert peer.connections == 1
        assert peer.requests[0].target == "/pre/api?limit=5&continue=a+b"
        assert peer.requests[0].header("user-agent").startswith("kube-bridge/")
        assert peer.requests[0].header("authorization") == ""


async def test_impersonation_headers_are_sent_each_on_its_own() -> None:
    groups = (("Impersonate-User", "jäne"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    async with (
        serving(says(reply(200))) as peer,
        ApiServer(Connection(peer.url, impersonation=groups)) as api,
    ):
        await api.get("/")
        sent = [pair for pair in peer.requests[0].headers if pair[0].startswith("Impersonate")]
        assert sent == [(name, value.encode().decode("latin-1")) for name, value in groups]


async def test_any_status_is_given_to_the_caller_and_can_be_made_an_error() -> None:
    body = b'{"kind":"Status","message":"pods \\"x\\" not found","reason":"NotFound","code":404}'
    async with serving(says(reply(404, body))) as peer, ApiServer(Connection(peer.url)) as api:
        response = await api.get("/x")
        assert (response.status, response.body) == (404, body)
        with pytest.raises(ApiError, match=r'/x answered 404: pods "x" not found$') as caught:
            response.checked()
        assert (caught.value.status, caught.value.reason) == (404, "NotFound")
        async with api.stream("/x", {"watch": "1"}) as stream:
            assert stream.status == 404
            assert (await stream.error()).message == 'pods "x" not found'


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"null", b"[]", b'"x"', b"{", b'{"kind":"Status","message":7}', b"[" * 60000]
)
async def test_no_error_body_can_break_the_error_path(body: bytes) -> None:
    """[G17]"""
    async with serving(says(reply(500, body))) as peer, ApiServer(Connection(peer.url)) as api:
        assert (await api.get("/x")).error().status == 500


async def test_server_words_are_one_printable_short_line() -> None:
    words = "bad\n\x1b[2Jthing " + "x" * 5000
    async with serving(says(reply(503, words.encode()))) as peer, ApiServer(Connection(peer.url)) as api:
        message = str((await api.get("/x")).error())
    assert "answered 503: bad [2Jthing xxx" in message
    assert message.isprintable()
    assert len(message) < 600


@pytest.mark.parametrize(
    ("header", "document", "seconds"),
    [
        ("7", {}, 7.0),
        ("", {"details": {"retryAfterSeconds": 3}}, 3.0),
        ("2", {"details": {"retryAfterSeconds": 3}}, 2.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", {}, 0.0),
        ("soon", {}, None),
        ("-1", {}, None),
        ("", {"details": {"retryAfterSeconds": "3"}}, None),
        ("", {"details": []}, None),
        ("", {}, None),
    ],
)
def test_retry_after_is_read_in_each_form(
    header: str, document: dict[str, object], seconds: float | None
) -> None:
    """[I3]"""
    assert retry_after({"retry-after": header}, document) == seconds


@pytest.mark.parametrize("status", [200, 401, 403])
async def test_a_login_page_is_told_as_such(status: int) -> None:
    """[A17]"""
    page = reply(status, b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html; charset=utf-8")
    async with serving(says(page)) as peer, ApiServer(Connection(peer.url)) as api:
        with pytest.raises(
            ApiError, match="with a web page, not as a Kubernetes API server: is it a login page"
        ):
            (await api.get("/api")).checked()
        with pytest.raises(ApiError, match="with a web page"):
            async with api.stream("/api") as stream:
                raise await stream.error()


async def test_a_redirect_is_not_followed_and_named_without_its_query() -> None:
    """[B16]"""
    answer = reply(302, b"", location="https://sso.example/login?token=s3ntinel")
    async with serving(says(answer)) as peer, ApiServer(Connection(peer.url)) as api:
        with pytest.raises(
            ApiError, match=r"answered 302 with a web page and points to sso.example,"
        ) as caught:
            await api.get("/api")
        assert "s3ntinel" not in str(caught.value)
        assert len(peer.requests) == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, br"])
async def test_a_foreign_encoding_is_refused(encoding: str) -> None:
    """[C10]"""
    async with (
        serving(says(reply(200, b"{}", content_encoding=encoding))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(ApiError, match="something between us and the API server meddles"):
            await api.get("/x")
        with pytest.raises(ApiError, match="meddles"):
            async with api.stream("/x", {"watch": "1"}):
                pass


async def test_a_watch_asks_for_identity_and_a_list_may_ask_for_gzip() -> None:
    """[C9]"""
    async with serving(says(chunked())) as peer, ApiServer(Connection(peer.url)) as api:
        async with api.stream("/x", {"watch": "1"}) as stream:
            await everything(stream)
        async with api.stream("/x", accept_encoding="gzip") as stream:
            await everything(stream)
        assert [one.header("accept-encoding") for one in peer.requests] == ["identity", "gzip"]


async def test_a_watch_gives_all_bytes_ends_clean_and_leaves_its_connection_to_the_next() -> None:
    pieces = [b'{"a":"', "\u0085".encode()[:1], "\u0085".encode()[1:], b'"}\n', b"\r\n", b"tail"]
    async with serving(says(chunked(*pieces))) as peer, ApiServer(Connection(peer.url)) as api:
        async with api.stream("/w", {"watch": "1"}) as stream:
            seen = [await stream.read(5) for _ in range(len(pieces) + 2)]
        assert b"".join(seen) == b"".join(pieces)
        assert seen[-1] == b""
        await api.get("/w")
        assert peer.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        chunked(b"whole\n", end=False),
        chunked(b"whole\n", end=False) + b"ff\r\nhalf",
        chunked(b"whole\n", end=False) + b"not a chunk\r\n",
        reply(200, b"whole\n", content_length="100"),
    ],
)
async def test_a_cut_body_is_interrupted_after_its_good_part(answer: bytes) -> None:
    """[C6]"""
    async with (
        serving(says(answer, close=True)) as peer,
        ApiServer(Connection(peer.url)) as api,
        api.stream("/w", {"watch": "1"}) as stream,
    ):
        assert (await stream.read(5)).startswith(b"whole\n")
        with pytest.raises(Interrupted, match="the body was cut"):
            await everything(stream)


async def test_a_close_delimited_body_ends_clean() -> None:
    """[A16]"""
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}"
    async with serving(says(answer, close=True)) as peer, ApiServer(Connection(peer.url)) as api:
        assert (await api.get("/x")).body == b"{}"


async def test_silence_is_idle_and_each_read_has_its_own_patience() -> None:
    """[H5]"""
    spoken = trio.Event()

    async def handler(_: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(chunked(b"one", end=False))
        await spoken.wait()
        await stream.send_all(b"3\r\ntwo\r\n")
        await trio.sleep_forever()

    async with (
        serving(handler) as peer,
        ApiServer(Connection(peer.url)) as api,
        api.stream("/w", {"watch": "1"}) as stream,
    ):
        assert await stream.read(0.05) == b"one"
        spoken.set()
        assert await stream.read(60) == b"two"
        with pytest.raises(Idle, match=r"nothing was received for 0\.05 s"):
            await stream.read(0.05)


async def test_a_kept_connection_has_no_patience_of_an_earlier_stream() -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        if request.target == "/slow":
            await trio.sleep(0.2)
        await stream.send_all(chunked(b"x"))

    async with serving(handler) as peer, ApiServer(Connection(peer.url)) as api:
        async with api.stream("/fast") as stream:
            while await stream.read(0.1):
                pass
        assert (await api.get("/slow")).status == 200
        assert peer.connections == 1


async def test_a_stream_that_is_left_closes_its_connection() -> None:
    """[J10]"""
    async with (
        serving(says(chunked(b"one", b"two", end=False))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        for _ in range(2):
            async with api.stream("/w", {"watch": "1"}) as stream:
                assert await stream.read(5)
        assert peer.connections == 2


async def test_a_stream_that_is_never_read_is_closed_too() -> None:
    async with (
        serving(says(chunked(b"one", end=False), reply(200))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        async with api.stream("/w", {"watch": "1"}):
            pass
        await api.get("/x")
        assert peer.connections == 2


async def test_cancelled_streams_leak_neither_descriptors_nor_generators() -> None:
    """[H6]"""
    async with serving(says(chunked(b"one", end=False))) as peer, ApiServer(Connection(peer.url)) as api:
        before = None
        for turn in range(60):
            with trio.CancelScope() as scope:
                async with api.stream("/w", {"watch": "1"}) as stream:
                    await stream.read(5)
                    if turn % 3 == 0:
                        scope.cancel()
                        await stream.read(5)
                    if turn % 3 == 1:
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
                    await trio.testing.wait_all_tasks_blocked()
            if turn == 10:
                before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - counts, needs no paths
        # Warnings are errors here: a generator that is left behind would fail the test.
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()
        assert before is not None
        assert len(os.listdir("/dev/fd")) <= before  # noqa: PTH208 - as above


async def test_a_connection_that_was_closed_while_kept_costs_nothing() -> None:
    requests = 0

    async def handler(_: Request, stream: trio.abc.Stream) -> bool:
        nonlocal requests
        requests += 1
        if requests == 2:
            return True
        await stream.send_all(reply(200, b"{}"))
        return False

    async with serving(handler) as peer, ApiServer(Connection(peer.url)) as api:
        await api.get("/x")
        assert (await api.get("/x")).status == 200
        assert requests == 3


@pytest.mark.parametrize("members", [1, 3])
async def test_gzip_is_decoded_over_all_members_and_any_cut_of_chunks(members: int) -> None:
    """[A18]"""
    whole = random.Random(1).randbytes(3_000_000) + b"x" * 5_000_000
    size = len(whole) // members + 1
    packed = b"".join(gzip.compress(whole[at : at + size], 1) for at in range(0, len(whole), size))
    pieces = [packed[at : at + 70_001] for at in range(0, len(packed), 70_001)]
    async with (
        serving(says(chunked(*pieces, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        assert (await api.get("/x")).body == whole
        async with api.stream("/x", accept_encoding="gzip") as stream:
            largest, total = 0, 0
            while piece := await stream.read(5):
                largest, total = max(largest, len(piece)), total + len(piece)
            assert total == len(whole)
            assert largest <= 1024 * 1024


@pytest.mark.parametrize("cut", [1, 8, 9, 2000, 30_000])
async def test_a_gzip_body_without_its_end_is_interrupted(cut: int) -> None:
    """[A18]"""
    packed = gzip.compress(random.Random(1).randbytes(60_000))[:-cut]
    async with (
        serving(says(chunked(packed, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(Interrupted, match="the gzip body ended before its end"):
            await api.get("/x")


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip at all",
        gzip.compress(b"x" * 1000, mtime=0)[:-4] + b"abcd",
        gzip.compress(b"x", mtime=0) + b"y",
    ],
)
async def test_a_damaged_gzip_body_is_interrupted(packed: bytes) -> None:
    async with (
        serving(says(chunked(packed, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(Interrupted, match="gzip body"):
            await api.get("/x")


async def test_an_answer_larger_than_the_limit_is_refused_also_when_gzip_hid_it() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with (
        serving(says(reply(200, bomb, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(ApiError, match="more than 1000000 bytes"):
            await api.get("/x", limit=1_000_000)


class Renewable(Anonymous):
    description = "the test's token"

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.refreshes = 0

    async def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[0]}"}

    async def refresh(self) -> bool:
        self.refreshes += 1
        if len(self.tokens) > 1:
            self.tokens.pop(0)
            return True
        return False


async def only_good(request: Request, stream: trio.abc.Stream) -> None:
    good = request.header("authorization") == "Bearer good"
    unauthorized = b'{"kind":"Status","message":"Unauthorized","reason":"Unauthorized","code":401}'
    await stream.send_all(reply(200, b"{}") if good else reply(401, unauthorized))


async def test_a_401_renews_the_credential_and_repeats_the_request_once() -> None:
    """[K1]"""
    credentials = Renewable("old", "good")
    async with serving(only_good) as peer, ApiServer(Connection(peer.url, credentials)) as api:
        assert (await api.get("/x")).status == 200
        async with api.stream("/x", {"watch": "1"}) as stream:
            assert stream.status == 200
        assert credentials.refreshes == 1
        assert len(peer.requests) == 3


async def test_a_second_401_is_an_error_that_names_the_credential() -> None:
    credentials = Renewable("old", "older", "good")
    async with serving(only_good) as peer, ApiServer(Connection(peer.url, credentials)) as api:
        with pytest.raises(
            ApiError, match=r"does not accept the test's token \(401 Unauthorized\): it is wrong"
        ) as caught:
            async with api.stream("/x", {"watch": "1"}):
                pass
        assert caught.value.status == 401
        assert len(peer.requests) == 2


async def test_a_credential_that_somebody_else_renewed_is_used_without_another_renewal() -> None:
    credentials = Renewable("old", "good")

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        credentials.tokens = ["good"]
        await only_good(request, stream)

    async with serving(handler) as peer, ApiServer(Connection(peer.url, credentials)) as api:
        assert (await api.get("/x")).status == 200
        assert credentials.refreshes == 0


async def test_a_refused_connection_is_one_sentence() -> None:
    async with ApiServer(Connection("http://127.0.0.1:1")) as api:
        with pytest.raises(
            Unreachable, match=r"nothing answers at .*127.0.0.1:1 \(connection refused\): is it running"
        ):
            await api.get("/x")


async def test_an_unknown_name_is_one_sentence() -> None:
    async with ApiServer(Connection("http://no-such-host.invalid", source="context x")) as api:
        with pytest.raises(
            Unreachable, match=r'"no-such-host.invalid" cannot be resolved: .* the server in context x'
        ):
            await api.get("/x")


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH\r\n\r\n"])
async def test_what_speaks_no_http_is_one_sentence(words: bytes) -> None:
    async with serving(says(words, close=True)) as peer, ApiServer(Connection(peer.url)) as api:
        with pytest.raises(Unreachable, match="closed the connection without an answer"):
            await api.get("/x")


async def test_an_answer_that_does_not_come_is_one_sentence(
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with ApiServer(Connection("http://x"), transport=httpx.MockTransport(handler)) as api:
        with pytest.raises(Unreachable, match="/x was not answered within 30 s"):
            await api.get("/x")
        with pytest.raises(Unreachable, match="did not answer in time"):
            async with api.stream("/x", {"watch": "1"}):
                pass


async def test_another_transport_can_stand_in_and_has_the_same_idle_timeout(
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async def body() -> object:
        yield b"one"
        await trio.sleep_forever()

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body())  # type: ignore[arg-type] # an async generator is one

    async with (
        ApiServer(Connection("http://x"), transport=httpx.MockTransport(handler)) as api,
        api.stream("/x", {"watch": "1"}) as stream,
    ):
        assert await stream.read(60) == b"one"
        with pytest.raises(Idle, match="for 60 s"):
            await stream.read(60)


async def test_the_limiter_allows_a_burst_and_then_a_rate_in_order(autojump_clock: MockClock) -> None:
    limiter, times = RateLimiter(qps=10, burst=3), []
    start = autojump_clock.current_time()

    async def ask(index: int) -> None:
        await limiter.acquire()
        times.append((index, round(autojump_clock.current_time() - start, 3)))

    async with trio.open_nursery() as nursery:
        for index in range(6):
            nursery.start_soon(ask, index)
            await trio.testing.wait_all_tasks_blocked(0)
    assert [time for _, time in sorted(times)] == [0, 0, 0, 0.1, 0.2, 0.3]
    await trio.sleep(100)
    before = autojump_clock.current_time()
    for _ in range(3):
        await limiter.acquire()
    assert autojump_clock.current_time() == before


async def test_a_cancelled_turn_goes_back(autojump_clock: MockClock) -> None:
    limiter = RateLimiter(qps=1, burst=1)
    await limiter.acquire()
    for _ in range(5):
        with trio.move_on_after(0.1):
            await limiter.acquire()
    before = autojump_clock.current_time()
    await limiter.acquire()
    assert autojump_clock.current_time() - before <= 1


async def test_watches_do_not_wait_behind_lists(autojump_clock: MockClock) -> None:
    """[B21]"""

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={})

    limiter = RateLimiter(qps=0.001, burst=1)
    async with ApiServer(
        Connection("http://x"), limiter=limiter, transport=httpx.MockTransport(handler)
    ) as api:
        await api.get("/x")
        before = autojump_clock.current_time()
        async with api.stream("/x", {"watch": "true"}):
            assert autojump_clock.current_time() == before
        async with api.stream("/x", {"limit": "5"}):
            assert autojump_clock.current_time() - before > 900
