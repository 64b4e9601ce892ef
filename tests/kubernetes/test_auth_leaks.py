"""Whatever fails, no credential is in an error, its causes, a repr or a log line, even if it is echoed."""

import base64
import gc
import io
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import trio

from bridge.errors import BridgeError
from bridge.kubernetes import transport
from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.auth import Basic, ClientCertificate, Credentials, Secret, StaticToken
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.proxies import Proxy
from tests.kubernetes.wire import Handler, Request, chunked, reply, serving

SENTINEL = "s3ntinel-t0ken-value"
ENCODED = base64.b64encode(f"me:{SENTINEL}".encode()).decode()


@pytest.fixture(autouse=True)
def logged() -> Iterator[io.StringIO]:
    """Everything that anybody logs, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def everything_said_by(error: BaseException) -> str:
    """The error, its traceback, and every error it hangs on, shown or suppressed."""
    said, seen, waiting = "", set(), [error]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        said += f"{current!s}\n{current!r}\n{current.__dict__!r}\n"
        waiting += [one for one in (current.__cause__, current.__context__) if one]
        waiting += current.exceptions if isinstance(current, BaseExceptionGroup) else []
    return said + "".join(traceback.format_exception(error))


def echo(status: int, content_type: str = "text/plain") -> Handler:
    """A server that sends back all headers of the request, as debug pages of proxies do."""

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        page = "\n".join(f"{name}: {value}" for name, value in request.headers).encode()
        await stream.send_all(
            reply(status, page, content_type=content_type, location=f"http://x/?{SENTINEL}")
        )

    return handler


async def refuse(_: Request, stream: trio.abc.Stream) -> None:
    await stream.send_all(reply(403, b"{}"))


async def cut(_: Request, stream: trio.abc.Stream) -> bool:
    await stream.send_all(chunked(b"{", end=False))
    return True


async def hang_up(_: Request, __: trio.abc.Stream) -> bool:
    return True


async def nonsense(request: Request, stream: trio.abc.Stream) -> bool:
    await stream.send_all(f"{request.header('authorization')}\r\n\r\n".encode())
    return True


async def bad_encoding(request: Request, stream: trio.abc.Stream) -> None:
    await stream.send_all(reply(200, b"{}", content_encoding=request.header("authorization")))


async def fail(api: ApiServer) -> None:
    """Read a stream until something is wrong with it."""
    async with api.stream("/x", {"watch": "1"}) as stream:
        assert SENTINEL not in repr(stream)
        if stream.status != 200:
            raise await stream.error()
        while await stream.read(1):
            pass


CREDENTIALS = [
    lambda: StaticToken(Secret(SENTINEL), "user u"),
    lambda: Basic("me", Secret(SENTINEL), "user u"),
]
SERVERS = {
    **{f"echo {status}": echo(status) for status in (302, 400, 401, 403, 404, 429, 500, 503)},
    "page": echo(200, "text/html"),
    "page 401": echo(401, "text/html"),
    "cut": cut,
    "hang up": hang_up,
    "nonsense": nonsense,
    "encoding": bad_encoding,
}


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("server", SERVERS)
async def test_no_error_path_shows_a_credential(
    server: str, credentials: Any, logged: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    identity: Credentials = credentials()
    async with serving(SERVERS[server]) as peer:
        connection = Connection(peer.url, identity)
        said = f"{connection!r}"
        async with ApiServer(connection) as api:
            said += f"{api!r}"
            with pytest.raises(BridgeError) as caught:
                (await api.get("/x")).checked()
            said += everything_said_by(caught.value)
            with pytest.raises(BridgeError) as caught:
                await fail(api)
            said += everything_said_by(caught.value)
        # The credential did go out; otherwise this test would prove nothing.
        assert any(
            SENTINEL in one.header("authorization") or ENCODED in one.header("authorization")
            for one in peer.requests
        )
    gc.collect()
    said += logged.getvalue() + "".join(capfd.readouterr())
    assert SENTINEL not in said
    assert ENCODED not in said


async def test_neither_a_request_nor_its_answer_shows_the_credential_when_printed() -> None:
    token = StaticToken(Secret(SENTINEL), "user u")
    sent = transport.Request("GET", "http://x/", [(b"authorization", SENTINEL.encode())], None, 1.0)
    async with serving(refuse) as peer, ApiServer(Connection(peer.url, token)) as api:
        answer = await api.get("/x")
    assert SENTINEL not in repr(sent) + repr(answer)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://no-such.invalid"])
async def test_no_failing_connection_shows_a_credential(address: str, logged: io.StringIO) -> None:
    pair = ClientCertificate("crt", Secret(SENTINEL))
    proxies = [
        None,
        *(Proxy(f"{one}://127.0.0.1:1", Secret("me"), Secret(SENTINEL)) for one in ("http", "socks5")),
    ]
    said = ""
    for proxy in proxies:
        for tls in (Tls(), Tls(certificate=pair)):
            connection = Connection(address, StaticToken(Secret(SENTINEL), "u"), tls, proxy)
            async with ApiServer(connection) as api:
                with pytest.raises(BridgeError) as caught:
                    await api.get("/x")
            said += f"{connection!r}{everything_said_by(caught.value)}"
    assert SENTINEL not in said + logged.getvalue()


@pytest.mark.parametrize(
    "kind", [httpx.ConnectError, httpx.ReadError, httpx.LocalProtocolError, httpx.ProxyError]
)
async def test_what_the_library_says_is_not_repeated(kind: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise kind(f"Illegal header value {request.headers['authorization']}", request=request)

    connection = Connection("http://x", StaticToken(Secret(SENTINEL), "u"))
    async with ApiServer(connection, transport=httpx.MockTransport(handler)) as api:
        with pytest.raises(BridgeError) as caught:
            await api.get("/x")
    assert SENTINEL not in everything_said_by(caught.value)
