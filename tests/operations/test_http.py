"""The server answers GET and HEAD, keeps its limits against every client, and shows nothing of its inside."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.operations.http import App, Limits, Request, Response, serve


def echo(request: Request) -> Response:
    body = {"path": request.path, "query": dict(request.query), "host": request.headers.get("host")}
    return Response(200, json.dumps(body).encode(), "application/json")


def broken(request: Request) -> Response:
    raise ZeroDivisionError(f"/etc/secret {request.path}")


@asynccontextmanager
async def server(app: App = echo, limits: Limits | None = None) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(
            lambda task_status: serve("127.0.0.1", 0, app, limits=limits, task_status=task_status)
        )
        yield port
        nursery.cancel_scope.cancel()


async def raw(port: int, data: bytes) -> bytes:
    """Everything that the server says to these bytes until it closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        with trio.fail_after(60):
            try:
                await stream.send_all(data)
                await stream.send_eof()
                return b"".join([part async for part in stream])
            except trio.BrokenResourceError:
                return b""


def get(port: int, path: str, **options: object) -> Callable[[], httpx.Response]:
    return lambda: httpx.get(f"http://127.0.0.1:{port}{path}", **options)  # type: ignore[arg-type]  # what a test asks


async def test_a_get_is_answered_by_the_app() -> None:
    async with server() as port:
        answer = await trio.to_thread.run_sync(get(port, "/a%20b?x=1&verbose&x=2"))
    assert answer.status_code == 200
    assert answer.json() == {"path": "/a b", "query": {"x": "2", "verbose": ""}, "host": f"127.0.0.1:{port}"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "date" in answer.headers


async def test_a_head_has_the_headers_of_the_get_and_no_body() -> None:
    async with server() as port:
        said = await raw(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        asked = await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert body == b""
    headers = [
        line for line in asked.partition(b"\r\n\r\n")[0].split(b"\r\n") if not line.startswith(b"date")
    ]
    assert [line for line in head.split(b"\r\n") if not line.startswith(b"date")] == headers


async def test_a_connection_is_kept_for_many_requests_also_pipelined_ones() -> None:
    async with server() as port:
        said = await raw(port, b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answers = [await client.get(f"/{n}") for n in range(5)]
            assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]  # what it kept
    assert said.count(b"HTTP/1.1 200 OK") == 2
    assert said.index(b'"/1"') < said.index(b'"/2"')
    assert [answer.json()["path"] for answer in answers] == [f"/{n}" for n in range(5)]


async def test_http_1_0_is_answered_and_closed() -> None:
    async with server() as port:
        said = await raw(port, b"GET / HTTP/1.0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"X"])
async def test_every_other_method_is_refused_without_reading_its_body(method: bytes) -> None:
    async with server(broken) as port:
        said = await raw(port, method + b" / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 405 Method Not Allowed")
    assert b"allow: GET, HEAD" in said
    assert b"connection: close" in said


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000, b"431"),
        (b"GET /" + b"a" * 20_000, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n broken\r\n\r\n", b""),
    ],
    ids=["no host", "a body", "a chunked body", "large headers", "a large target", "TLS", "folded"],
)
async def test_what_is_not_a_bounded_get_is_refused(request_bytes: bytes, status: bytes) -> None:
    async with server() as port:
        said = await raw(port, request_bytes)
        assert said.startswith(b"HTTP/1.1 " + status)
        assert (await trio.to_thread.run_sync(get(port, "/"))).status_code == 200


async def test_a_page_that_fails_says_so_once_and_nothing_of_its_inside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with server(broken) as port:
        answers = [await trio.to_thread.run_sync(get(port, "/")) for _ in range(3)]
    for answer in answers:
        assert (answer.status_code, answer.text) == (500, "internal error\n")
        assert "secret" not in str(answer.headers)
    assert capsys.readouterr().err.count("a page failed") == 1


async def test_a_client_that_does_not_finish_its_request_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits(request_seconds=10, idle_seconds=75)
    async with server(limits=limits) as port:
        begin = autojump_clock.current_time()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HT")
            assert await stream.receive_some() == b""
        assert autojump_clock.current_time() - begin == pytest.approx(10, abs=0.1)


async def test_a_client_that_drips_bytes_gains_no_time(autojump_clock: trio.testing.MockClock) -> None:
    async with server(limits=Limits(request_seconds=10)) as port:
        begin = autojump_clock.current_time()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with suppress(trio.BrokenResourceError):
                for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100:
                    await stream.send_all(bytes([byte]))
                    await trio.sleep_until(autojump_clock.current_time() + 1)
        assert autojump_clock.current_time() - begin < 13


async def test_an_idle_connection_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with server(limits=Limits(idle_seconds=75)) as port:
        begin = autojump_clock.current_time()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await stream.receive_some() == b""
        assert autojump_clock.current_time() - begin == pytest.approx(75, abs=0.1)


async def test_a_client_that_does_not_read_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    def large(_: Request) -> Response:
        return Response(200, b"x" * 30_000_000)

    async with server(large, Limits(request_seconds=10)) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await trio.sleep_until(autojump_clock.current_time() + 11)
            got = 0
            with suppress(trio.BrokenResourceError):
                while part := await stream.receive_some(1 << 20):
                    got += len(part)
        assert got < 30_000_000


async def test_one_client_too_many_is_told_and_the_others_stay() -> None:
    async with server(limits=Limits(connections=2)) as port:
        first = await trio.open_tcp_stream("127.0.0.1", port)
        second = await trio.open_tcp_stream("127.0.0.1", port)
        for stream in (first, second):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert (await raw(port, b"")).startswith(b"HTTP/1.1 503 Service Unavailable")
        await first.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await first.receive_some()).startswith(b"HTTP/1.1 200")
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await second.aclose()


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"GET / HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"]), max_size=6
    )
)
@settings(max_examples=60, deadline=None)
def test_no_bytes_can_end_the_server(parts: list[bytes]) -> None:
    async def scenario() -> None:
        async with server() as port:
            await raw(port, b"".join(parts))
            said = await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200 OK")

    trio.run(scenario)
