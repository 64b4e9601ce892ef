"""Requests carried by an httpx transport instead of sockets: for tests, and for the simulator of `demo`.

httpx is imported here only and so only then; for real clusters httpcore, the layer below it, is enough,
and a tenth of the time to start is saved.
"""

import httpcore
import httpx

from bridge.kubernetes.transport.exchange import Answer, Request

__all__ = ["Foreign"]


class Foreign:
    """Carries requests by an `httpx.AsyncBaseTransport`."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Answer:
        """See `Carrier.send`."""
        translated = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.body,
            extensions=request.extensions,
        )
        try:
            response = await self._transport.handle_async_request(translated)
        except httpx.TransportError as error:
            # Its twin, without the request that httpx hangs on its errors.
            kind = getattr(httpcore, type(error).__name__, httpcore.NetworkError)
        else:
            stream = response.stream
            assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - narrows a union of sync and async
            return Answer(response.status_code, response.headers.raw, stream)
        raise kind

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
