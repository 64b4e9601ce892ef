"""A webhook receiver on loopback that answers as a script says, and what the sink under test is made of."""

import base64
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import h11
import msgspec
import standardwebhooks
import trio

from bridge.changes.record import Record
from bridge.delivery.sink import Context, Delivery, Resume
from bridge.secret import Secret
from sinks.webhook.sink import Webhook
from tests.delivery.fakes import PODS, change

SECRET = "whsec_" + base64.b64encode(b"a key of the tests, 32 bytes ok").decode()
OTHER = "whsec_" + base64.b64encode(b"another key, which is older....").decode()
Admit = Callable[[int, int], Awaitable[None]]
CONTEXT = Context("hook", "c", "cluster-uid")
START = Resume("log", 1, 0)


@dataclass
class Received:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Step = Callable[[Received, trio.abc.Stream], Awaitable[bool]]
"""Answers one request; False ends the connection."""


@dataclass
class Receiver:
    """What it saw, and how it is reached."""

    script: deque[Step]
    always: Step
    port: int = 0
    scheme: str = "http"
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.requests]


def answer(status: int, body: bytes = b"", **headers: str) -> Step:
    """A whole answer, after which the connection goes on."""
    fields = {"content-length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
    reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "X"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return says(f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode() + body, goes_on=True)


def says(data: bytes, *, goes_on: bool = False) -> Step:
    """Exactly these bytes."""

    async def step(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.send_all(data)
        return goes_on

    return step


def drips(start: bytes, endless: bytes = b"x", seconds: float = 1.0) -> Step:
    """A beginning, and then a byte every so often, for ever."""

    async def step(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.send_all(start)
        while True:
            await trio.sleep(seconds)
            await stream.send_all(endless)

    return step


async def silence(_: Received, __: trio.abc.Stream) -> bool:
    """No answer, ever."""
    await trio.sleep_forever()
    return False


async def hangs_up(_: Received, __: trio.abc.Stream) -> bool:
    """The connection ends instead of an answer."""
    await trio.lowlevel.checkpoint()
    return False


ok = answer(200, b"ok")


@asynccontextmanager
async def receiving(
    *script: Step, always: Step = ok, context: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Serve until the block is left: the steps of the script, then always the same."""
    receiver = Receiver(deque(script), always, scheme="https" if context else "http")

    async def connection(stream: trio.abc.Stream) -> None:
        receiver.connections += 1
        receiver.open += 1
        number = receiver.connections
        try:
            async with stream:
                while request := await _read(stream, number):
                    receiver.requests.append(request)
                    step = receiver.script.popleft() if receiver.script else receiver.always
                    if not await step(request, stream):
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            receiver.open -= 1

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        receiver.port = listeners[0].socket.getsockname()[1]
        served: list[trio.abc.Listener[trio.abc.Stream]] = list(listeners)
        if context:
            served = [trio.SSLListener(one, context, https_compatible=True) for one in listeners]
        nursery.start_soon(trio.serve_listeners, connection, served)
        yield receiver
        nursery.cancel_scope.cancel()


async def _read(stream: trio.abc.Stream, connection: int) -> Received | None:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    request: h11.Request | None = None
    body = b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            headers = {name.decode().lower(): value.decode() for name, value in request.headers}
            assert len(headers) == len(request.headers), "a header was sent twice"
            return Received(request.method.decode(), request.target.decode(), headers, body, connection)
        else:
            return None


def verify(request: Received, secret: str = SECRET, body: bytes | None = None) -> Any:
    """What the official package makes of a request: its JSON; it raises when the signature is wrong."""
    return standardwebhooks.Webhook(secret).verify(request.body if body is None else body, request.headers)


def record(number: int, value: bytes | None = None, **more: Any) -> Record:
    """A record whose id is like ours."""
    body = b'{"type":"MODIFIED","n":%d}' % number if value is None else value
    return Record(
        number, body, f"k{number}", f"c-uid/pods/u{number}/1%2E5/U", "1", change(number), PODS, **more
    )


def batch(records: Iterable[Record]) -> Delivery:
    items = list(records)
    return Delivery(items[-1].position, items, sum(len(each.value) for each in items))


def secret(text: str) -> Secret:
    return Secret(value=text.encode())


@asynccontextmanager
async def hooked(
    url: str, *, together: int = 1, admit: Admit | None = None, **options: Any
) -> AsyncIterator[Webhook]:
    """An open sink that signs."""
    options.setdefault("signing_secret", (secret(SECRET),))
    sink = Webhook(url, **options)
    async with sink:
        context = Context("hook", "c", "cluster-uid", max_records=together)
        if admit is not None:
            context = msgspec.structs.replace(context, admit=admit)
        assert await sink.open(START, context) == START
        yield sink


async def send(sink: Webhook, *numbers: int) -> None:
    await sink.deliver(batch(map(record, numbers)))
