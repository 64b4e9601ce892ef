"""Requests go through HTTP, HTTPS and SOCKS5 proxies, with the same options and TLS names as without."""

import base64
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trustme

from bridge.kubernetes.apiserver import ApiServer, Unreachable
from bridge.kubernetes.auth import Secret
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.proxies import Proxy
from bridge.kubernetes.transport import Reply, Transport
from bridge.kubernetes.transport.wire import Wire
from tests.kubernetes.wire import Request, chunked, read_request, reply, serving


async def ok(_: Request, stream: trio.abc.Stream) -> None:
    await stream.send_all(reply(200, b"{}"))


async def pump(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
    async with target:
        try:
            async for piece in source:
                await target.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def join(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, one, other)
        nursery.start_soon(pump, other, one)


@dataclass
class Middle:
    """A proxy, and what it was asked."""

    scheme: str
    port: int = 0
    asked: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


async def http_proxy(middle: Middle, stream: trio.abc.Stream) -> None:
    request = await read_request(stream)
    if request is None:
        return
    middle.asked.append(f"{request.method} {request.target}")
    middle.users.append(request.header("proxy-authorization"))
    if request.method != "CONNECT":
        await stream.send_all(reply(200, b'"forwarded"'))
        return
    host, _, port = request.target.rpartition(":")
    target = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    await join(stream, target)


async def refusing_proxy(middle: Middle, stream: trio.abc.Stream) -> None:
    middle.asked.append("")
    await read_request(stream)
    await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")


async def socks_proxy(middle: Middle, stream: trio.abc.Stream) -> None:
    """RFC 1928 and 1929."""
    greeting = await stream.receive_some()
    if 2 in greeting[2:]:
        await stream.send_all(b"\x05\x02")
        pair = await stream.receive_some()
        user = pair[2 : 2 + pair[1]]
        middle.users.append(f"{user.decode()}:{pair[3 + pair[1] :].decode()}")
        await stream.send_all(b"\x01\x00")
    else:
        await stream.send_all(b"\x05\x00")
    request = await stream.receive_some()
    host = request[5:-2].decode() if request[3] == 3 else socket.inet_ntoa(request[4:8])
    (port,) = struct.unpack(">H", request[-2:])
    middle.asked.append(host)
    target = await trio.open_tcp_stream(host, port)
    await stream.send_all(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    await join(stream, target)


async def babbling_proxy(middle: Middle, stream: trio.abc.Stream) -> None:
    middle.asked.append("")
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def silent_proxy(middle: Middle, stream: trio.abc.Stream) -> None:
    middle.asked.append("")
    await stream.receive_some()
    await trio.sleep_forever()


KINDS = {
    "http": http_proxy,
    "socks5": socks_proxy,
    "407": refusing_proxy,
    "babble": babbling_proxy,
    "silent": silent_proxy,
}


@asynccontextmanager
async def proxying(kind: str, context: ssl.SSLContext | None = None) -> AsyncIterator[Middle]:
    scheme = {"407": "http", "babble": "socks5", "silent": "socks5"}.get(kind, kind)
    middle = Middle("https" if context else scheme)

    async def connection(stream: trio.abc.Stream) -> None:
        try:
            async with stream:
                await KINDS[kind](middle, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        middle.port = listeners[0].socket.getsockname()[1]
        served: list[trio.abc.Listener[trio.abc.Stream]] = list(listeners)
        if context:
            served = [trio.SSLListener(one, context, https_compatible=True) for one in listeners]
        nursery.start_soon(trio.serve_listeners, connection, served)
        yield middle
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, name: str | None = None) -> Tls:
    return Tls(authority.cert_pem.bytes().decode(), server_name=name)


def context_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("name", [None, "kubernetes"])
async def test_a_server_is_reached_through_a_tunnel_under_the_name_it_has(
    authority: trustme.CA, kind: str, name: str | None
) -> None:
    """[J4] [J6]"""
    user, password = Secret("me"), Secret("pass")
    server = serving(ok, context_for(authority, name or "127.0.0.1"))
    async with server as peer, proxying(kind) as middle:
        connection = Connection(
            peer.url, tls=tls_of(authority, name), proxy=Proxy(middle.url, user, password)
        )
        async with ApiServer(connection) as api:
            assert (await api.get("/x")).status == 200
            assert (await api.get("/x")).status == 200
        assert peer.connections == 1
        host = f"127.0.0.1:{peer.port}"
        assert middle.asked == [f"CONNECT {host}" if kind == "http" else "127.0.0.1"]
        basic = "Basic " + base64.b64encode(b"me:pass").decode()
        assert middle.users == [basic if kind == "http" else "me:pass"]


async def test_a_proxy_may_itself_speak_tls_and_is_not_trusted_by_the_cluster_s_ca(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = trustme.CA()
    async with (
        serving(ok, context_for(authority, "kubernetes")) as peer,
        proxying("http", context_for(public, "localhost")) as middle,
    ):
        connection = Connection(peer.url, tls=tls_of(authority, "kubernetes"), proxy=Proxy(middle.url))
        async with ApiServer(connection) as api:
            with pytest.raises(Unreachable, match=r"the proxy refused .its certificate is not trusted: "):
                await api.get("/x")
        with public.cert_pem.tempfile() as bundle:
            monkeypatch.setenv("SSL_CERT_FILE", bundle)
            async with ApiServer(connection) as api:
                assert (await api.get("/x")).status == 200


async def test_a_plain_server_is_asked_for_through_a_forward_proxy() -> None:
    async with proxying("http") as middle:
        async with ApiServer(Connection("http://api.invalid:8001/pre", proxy=Proxy(middle.url))) as api:
            assert (await api.get("/x")).body == b'"forwarded"'
        assert middle.asked == ["GET http://api.invalid:8001/pre/x"]


async def test_an_untrusted_server_is_named_also_behind_a_proxy(authority: trustme.CA) -> None:
    async with serving(ok, context_for(trustme.CA(), "127.0.0.1")) as peer, proxying("socks5") as middle:
        connection = Connection(peer.url, tls=tls_of(authority), proxy=Proxy(middle.url))
        async with ApiServer(connection) as api:
            with pytest.raises(
                Unreachable, match=r"is not trusted: .*It shows a certificate of .*127\.0\.0\.1"
            ):
                await api.get("/x")
            # Failed tunnels must not stay in httpcore's pool.
            assert isinstance(api._carrier, Transport)
            assert api._carrier._pool is None
        assert peer.requests == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "407",
            r"through the proxy http://localhost:\d+ .* refused \(407 Proxy Authentication Required\)",
        ),
        ("babble", r"through the proxy socks5://localhost:\d+ cannot be reached: the proxy refused"),
    ],
)
async def test_a_proxy_that_refuses_is_told(authority: trustme.CA, kind: str, words: str) -> None:
    async with proxying(kind) as middle:
        proxy = Proxy(middle.url, Secret("me"), Secret("s3ntinel"))
        async with ApiServer(Connection("https://c:1", tls=tls_of(authority), proxy=proxy)) as api:
            with pytest.raises(Unreachable, match=words) as caught:
                await api.get("/x")
        assert "s3ntinel" not in str(caught.value)


async def test_a_proxy_that_is_not_there_is_told(authority: trustme.CA) -> None:
    for scheme in ("http", "socks5"):
        proxy = Proxy(f"{scheme}://127.0.0.1:1")
        async with ApiServer(Connection("https://c", tls=tls_of(authority), proxy=proxy)) as api:
            with pytest.raises(
                Unreachable, match=r"https://c through the proxy \w+://127.0.0.1:1 \(connection"
            ):
                await api.get("/x")


async def test_a_proxy_that_says_nothing_does_not_hold_us_for_ever(authority: trustme.CA) -> None:
    async with proxying("silent") as middle:
        connection = Connection("https://c:1", tls=tls_of(authority), proxy=Proxy(middle.url))
        async with ApiServer(connection) as api:
            with pytest.raises(Unreachable, match=r"was not answered within 0.2 s"):
                await api.get("/x", timeout=0.2)


@pytest.mark.parametrize("kind", ["http", "socks5", None])
async def test_keepalive_is_on_for_every_socket(authority: trustme.CA, kind: str | None) -> None:
    """[H2]"""

    async def handler(_: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(chunked(b"x", end=False))
        await trio.sleep_forever()

    async with (
        serving(handler, context_for(authority, "127.0.0.1")) as peer,
        proxying(kind or "http") as middle,
    ):
        proxy = Proxy(middle.url) if kind else None
        connection = Connection(peer.url, tls=tls_of(authority), proxy=proxy)
        async with ApiServer(connection) as api, api.stream("/w", {"watch": "1"}) as stream:
            reply_below: Reply = stream._reply
            wire = reply_below._wire
            assert isinstance(wire, Wire)
            below = wire.get_extra_info("socket")
            assert below.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert below.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert below.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
