"""A stream gives all its bytes or says why not, with a patience of its own, and leaves nothing behind."""

import gc
import os

import httpx
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bridge.kubernetes.apiserver import ApiServer, Idle, Interrupted
from bridge.kubernetes.connection import Connection
from tests.kubernetes.wire import Request, chunked, everything, reply, says, serving


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
