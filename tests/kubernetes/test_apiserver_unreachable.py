"""Each way in which an API server cannot be reached is one sentence."""

import httpx
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bridge.kubernetes.apiserver import ApiServer, Unreachable
from bridge.kubernetes.connection import Connection
from tests.kubernetes.wire import says, serving


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
