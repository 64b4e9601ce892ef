"""A server on loopback that says exactly the bytes a test wants, with or without TLS; and their reader."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from bridge.kubernetes.apiserver import Stream

__all__ = ["Handler", "Peer", "Request", "chunked", "everything", "reply", "says", "serving"]


@dataclass
class Request:
    """One request as it was received."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name)


@dataclass
class Peer:
    """What the server saw, and how it is reached."""

    port: int = 0
    tls: bool = False
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"


Handler = Callable[[Request, trio.abc.Stream], Awaitable[bool | None]]
"""Answers one request; anything true ends the connection."""


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole response."""
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def chunked(*pieces: bytes, end: bool = True, **headers: str) -> bytes:
    """A chunked response."""
    fields = {"content-type": "application/json", "transfer-encoding": "chunked"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body + (b"0\r\n\r\n" if end else b"")


def says(*answers: bytes, close: bool = False) -> Handler:
    """Answers with the given bytes, one after the other, the last for ever."""
    waiting = list(answers)

    async def handler(_: Request, stream: trio.abc.Stream) -> bool:
        await stream.send_all(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        return close

    return handler


async def everything(stream: Stream) -> bytes:
    """Read a stream of ours to its end."""
    whole = b""
    while piece := await stream.read(5):
        whole += piece
    return whole


async def read_request(stream: trio.abc.Stream) -> Request | None:
    """Read one request with its body, or None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    request = Request(method, target, headers)
    while len(body) < int(request.header("content-length") or 0):
        body += await stream.receive_some()
    return request


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve until the block is left."""
    peer = Peer(tls=context is not None)

    async def connection(stream: trio.abc.Stream) -> None:
        peer.connections += 1
        peer.open += 1
        try:
            async with stream:
                while request := await read_request(stream):
                    peer.requests.append(request)
                    if await handler(request, stream):
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass
        finally:
            peer.open -= 1

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer.port = listeners[0].socket.getsockname()[1]
        served: list[trio.abc.Listener[trio.abc.Stream]] = list(listeners)
        if context:
            served = [trio.SSLListener(one, context, https_compatible=True) for one in listeners]
        nursery.start_soon(trio.serve_listeners, connection, served)
        yield peer
        nursery.cancel_scope.cancel()
