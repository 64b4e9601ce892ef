"""The simulated server on a real TCP socket of the loopback interface, HTTP/1.1, with or without TLS."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import trio

from bridge.simulator.messages import ConnectionCut, Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from bridge.simulator.api import Api
    from bridge.simulator.messages import Response

__all__ = ["serve"]

_READ = 64 * 1024
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@asynccontextmanager
async def serve(api: Api, *, port: int = 0, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Listens while the block runs, and gives the base URL.

    Connections that are open at its end are closed.

    Raises:
        OSError: the port is taken.
    """
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    scheme = "http" if ssl_context is None else "https"
    number = listeners[0].socket.getsockname()[1]

    async def connection(stream: trio.SocketStream) -> None:
        secure = stream if ssl_context is None else trio.SSLStream(stream, ssl_context, server_side=True)
        with suppress(*_BROKEN):
            await _Connection(api, stream, secure).run()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, connection, listeners)
        try:
            yield f"{scheme}://127.0.0.1:{number}"
        except Exception as error:  # noqa: BLE001 - the block's own, raised below, not in a group of the nursery
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Connection:
    def __init__(self, api: Api, transport: trio.SocketStream, stream: trio.abc.Stream) -> None:
        self._api = api
        self._transport = transport
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        """Answers one request after the other until one side closes."""
        try:
            while await self._answer_next():
                self._http.start_next_cycle()
        except ConnectionCut as cut:
            self._break(reset=cut.reset)
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _answer_next(self) -> bool:
        request = await self._request()
        if request is None:
            return False
        response = await self._api.handle(request)
        try:
            await self._send(response)
        finally:
            response.body.close()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _request(self) -> Request | None:
        event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        body = bytearray()
        while isinstance(data := await self._next_event(), h11.Data):
            body += data.data
        target = urlsplit(event.target.decode("ascii"))
        query = parse_qs(target.query, keep_blank_values=True)
        return Request(
            event.method.decode("ascii"),
            unquote(target.path),
            {key: values[0] for key, values in query.items()},
            {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
            bytes(body),
        )

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            self._http.receive_data(bytes(await self._stream.receive_some(_READ)))

    async def _send(self, response: Response) -> None:
        headers = response.all_headers()
        if response.body.length is None:
            headers.append(("Transfer-Encoding", "chunked"))
        await self._write(h11.Response(status_code=response.status, headers=headers))
        broken: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice_close, nursery.cancel_scope)
            try:
                await self._send_body(response)
            except (ConnectionCut, *_BROKEN) as error:
                broken = error  # raised below, not in a group of the nursery
            nursery.cancel_scope.cancel()
        if broken is not None:
            raise broken

    async def _send_body(self, response: Response) -> None:
        while chunk := await response.body.receive():
            await self._write(h11.Data(data=chunk))
        await self._write(h11.EndOfMessage())

    async def _notice_close(self, scope: trio.CancelScope) -> None:
        """Ends a response whose reader has gone; a watch could otherwise wait for an hour."""
        while True:
            try:
                data = bytes(await self._stream.receive_some(_READ))
            except _BROKEN:
                data = b""
            if not data:
                scope.cancel()
                return
            self._http.receive_data(data)

    async def _write(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        await self._stream.send_all(self._http.send(event) or b"")

    def _break(self, *, reset: bool) -> None:
        """Closes the socket below TLS: no last chunk, no close_notify; with `reset` an RST."""
        if reset:
            self._transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.socket.close()
