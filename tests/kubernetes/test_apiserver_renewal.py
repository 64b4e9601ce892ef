"""A credential that is refused is renewed once, and named when that does not help."""

import pytest
import trio
import trio.testing

from bridge.kubernetes.apiserver import ApiError, ApiServer
from bridge.kubernetes.auth import Anonymous
from bridge.kubernetes.connection import Connection
from tests.kubernetes.wire import Request, reply, serving


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
