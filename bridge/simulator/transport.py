"""The simulated server as an httpx transport: in memory, without a socket, on any clock of trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import trio

from bridge.simulator.messages import ConnectionCut, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.simulator.api import Api
    from bridge.simulator.messages import Body

__all__ = ["SimulatorTransport"]


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Answers requests of an `httpx.AsyncClient`, with httpx's errors for what breaks or lasts too long."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request; the host of its URL does not matter.

        Raises:
            httpx.ReadTimeout: no headers came in time.
        """
        asked = Request(
            request.method,
            request.url.path,
            {key: request.url.params[key] for key in request.url.params},
            {name.lower(): value for name, value in request.headers.items()},
            await request.aread(),
        )
        timeout = request.extensions.get("timeout", {}).get("read")
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                response = await self._api.handle(asked)
        except trio.TooSlowError as error:
            raise httpx.ReadTimeout("the simulated server sent no headers", request=request) from error
        headers = response.all_headers()
        if response.body.length is None:
            headers.append(("Transfer-Encoding", "chunked"))
        return httpx.Response(
            response.status, headers=headers, stream=_Stream(response.body, timeout), request=request
        )


class _Stream(httpx.AsyncByteStream):
    """The body; no generator, so that leaving it early abandons nothing."""

    def __init__(self, body: Body, timeout: float | None) -> None:
        self._body = body
        self._timeout = float("inf") if timeout is None else timeout

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with trio.fail_after(self._timeout):
                chunk = await self._body.receive()
        except trio.TooSlowError as error:
            raise httpx.ReadTimeout("the simulated server is silent") from error
        except ConnectionCut as cut:
            if cut.reset:
                raise httpx.ReadError("connection reset by peer") from cut
            message = "peer closed connection without sending complete message body (incomplete chunked read)"
            raise httpx.RemoteProtocolError(message) from cut
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Tells the server that nobody reads on."""
        self._body.close()
