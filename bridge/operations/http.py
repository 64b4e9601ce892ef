"""A small read-only HTTP/1.1 server for probes and metrics: GET and HEAD, bounded in every direction.

h11 knows the protocol; here are the socket, the deadlines and the limits. Whoever talks to it gets what
an `App` returns or a short status line, never a trace or a path.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote

import h11
import trio

from bridge.logs import Incidents, log

__all__ = ["App", "Limits", "Request", "Response", "serve"]

_READ_SIZE: Final = 8192
_TEXT: Final = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        path: decoded, without the query.
        query: each parameter with its last value; "" where it has none.
        headers: names in lower case.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Response(NamedTuple):
    """What is answered; the body of a HEAD is left away by the server."""

    status: int
    body: bytes
    content_type: str = _TEXT


App = Callable[[Request], Response]
"""Answers at once: it runs on the event loop and must not block."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take from the others.

    Attributes:
        connections: open at once; a further one is closed at once, with 503.
        header_bytes: of one request's head.
        request_seconds: from the first byte of a request to the last byte of its answer.
        idle_seconds: between two requests of one connection.
    """

    connections: int = 64
    header_bytes: int = 16 * 1024
    request_seconds: float = 10.0
    idle_seconds: float = 75.0


async def serve(
    host: str,
    port: int,
    app: App,
    *,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; open connections end with it.

    Args:
        host: address to listen on; "" for every address of the machine.
        port: 0 lets the system choose, one for each address.
        app: answers requests.
        limits: of what one client may take.
        task_status: is told the port once connections are accepted.

    Raises:
        OSError: the address cannot be listened on.
    """
    listeners = await trio.open_tcp_listeners(port, host=host or None)
    bound: int = listeners[0].socket.getsockname()[1]
    server = _Server(app, limits or Limits())
    task_status.started(bound)  # the kernel queues who comes before the next line
    await trio.serve_listeners(server.connection, listeners)


class _Server:
    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._open = 0
        self._incidents = Incidents(log)

    async def connection(self, stream: trio.SocketStream) -> None:
        """One client from its first to its last byte; nothing of it can end the server."""
        self._open += 1
        try:
            client = _Client(stream, self._limits)
            if self._open > self._limits.connections:
                with trio.move_on_after(self._limits.request_seconds):
                    await client.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            while await self._exchange(client):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass  # the client went away, or talks something else: its own loss
        except Exception as error:  # noqa: BLE001 - a defect here must not end the bridge
            self._incidents.report("http", "error", "a connection failed", error=repr(error))
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _exchange(self, client: "_Client") -> bool:
        """One request and its answer; whether the connection may go on."""
        began = False
        with trio.move_on_after(self._limits.idle_seconds):
            began = await client.wait()
        if not began:
            return False
        with trio.move_on_after(self._limits.request_seconds):
            try:
                request = await client.request()
            except h11.RemoteProtocolError as error:
                await client.refuse(HTTPStatus(error.error_status_hint))
                return False
            if request.method not in (b"GET", b"HEAD"):
                await client.refuse(HTTPStatus.METHOD_NOT_ALLOWED)
                return False
            await client.answer(self._ask(request))
            return client.next()
        return False  # too slow

    def _ask(self, request: h11.Request) -> Response:
        target, _, query = request.target.decode("ascii", "replace").partition("?")
        parameters = parse_qs(query, keep_blank_values=True)
        asked = Request(
            unquote(target),
            {name: values[-1] for name, values in parameters.items()},
            {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
        )
        try:
            return self._app(asked)
        except Exception as error:  # noqa: BLE001 - a defect of one page must not end the bridge, nor show itself to a client
            self._incidents.report("app", "error", "a page failed", page=asked.path, error=repr(error))
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")


class _Client:
    """One connection, as bytes and h11 events."""

    def __init__(self, stream: trio.SocketStream, limits: Limits) -> None:
        self._stream = stream
        self._is_head = False
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)

    async def wait(self) -> bool:
        """Wait for the first byte of a request; False at the end of the connection."""
        if self._http.trailing_data[0]:
            return True
        return await self._receive()

    async def request(self) -> h11.Request:
        """The next request's head; a GET or HEAD has nothing more.

        Raises:
            h11.RemoteProtocolError: what came is no HTTP, is too large, or has a body where none belongs.
        """
        while (event := self._http.next_event()) is h11.NEED_DATA:
            await self._receive()
        if not isinstance(event, h11.Request):
            raise h11.RemoteProtocolError("no request")
        self._is_head = event.method == b"HEAD"
        if event.method in (b"GET", b"HEAD") and not isinstance(self._http.next_event(), h11.EndOfMessage):
            raise h11.RemoteProtocolError("a body", error_status_hint=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return event

    async def answer(self, response: Response) -> None:
        await self._send(response.status, response.content_type, response.body)

    async def refuse(self, status: HTTPStatus) -> None:
        """A status and nothing more; the connection ends with it."""
        further = [("connection", "close")]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            further.append(("allow", "GET, HEAD"))
        await self._send(status, _TEXT, f"{status.phrase.lower()}\n".encode(), further)

    def next(self) -> bool:
        """Whether another request may come on this connection."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _send(
        self, status: int, content_type: str, body: bytes, further: list[tuple[str, str]] | None = None
    ) -> None:
        headers = [
            ("date", formatdate(time.time(), usegmt=True)),
            ("content-type", content_type),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            *(further or ()),
        ]
        answer = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)
        parts = [self._http.send(answer)]
        if not self._is_head:
            parts.append(self._http.send(h11.Data(data=body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        await self._stream.send_all(b"".join(part for part in parts if part))

    async def _receive(self) -> bool:
        data = await self._stream.receive_some(_READ_SIZE)
        self._http.receive_data(data)
        return bool(data)
