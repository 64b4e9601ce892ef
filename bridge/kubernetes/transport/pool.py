"""Connections to an API server: one pool for each generation of TLS material.

One HTTP/1.1 connection per watch ([J1]), no cap on them ([J2]); TLS and proxies are httpcore's.
"""

import logging
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpcore
import trio

from bridge.kubernetes.connection import Connection
from bridge.kubernetes.failures import CredentialError
from bridge.kubernetes.tls import (
    Stamp,
    build_context,
    context_trusting,
    describe_certificate,
    material_stamp,
)
from bridge.kubernetes.transport.exchange import CONNECT_SECONDS, FAILURES, Answer, Request
from bridge.kubernetes.transport.wire import Backend, TlsName, Wire

__all__ = ["Transport"]

KEEPALIVE_SECONDS: Final = 30.0
"""How long an idle connection is kept for the next request; shorter than any load balancer's patience."""
_STAMP_SECONDS: Final = 5.0
# At DEBUG it writes the password of a SOCKS proxy.
logging.getLogger("httpcore").setLevel(logging.WARNING)


class _Pool:
    """The connections of one generation of TLS material; closed when retired and no longer in use."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        backend = Backend(TlsName(context, connection.tls.server_name))
        self.http = httpcore.AsyncConnectionPool(
            ssl_context=context,
            proxy=_proxy(connection),
            max_connections=None,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=backend,
        )
        self._users = 0
        self._retired = False

    def enter(self) -> None:
        self._users += 1

    async def leave(self) -> None:
        self._users -= 1
        await self._close_if_unused()

    async def retire(self) -> None:
        self._retired = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._retired and not self._users:
            await self.http.aclose()


class _Body:
    """A response's body as it comes off the wire, and what gives its connection back."""

    def __init__(self, answer: httpcore.Response, release: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer
        self._release = release
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._answer.stream
        assert isinstance(stream, AsyncIterable)  # noqa: S101 - narrows httpcore's union of sync and async
        return aiter(stream)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._answer.aclose()
            await self._release()


class Transport:
    """Connections to one API server, over the TLS material and the proxy of one `Connection`.

    Certificate files that were replaced, and a client certificate that an exec plugin renewed, are used
    for every new request; streams that run go on over the connection they have ([K4], [K5], [K6]).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pool: _Pool | None = None
        self._stamp: tuple[int, Stamp] = (-1, ())
        self._stamped_at = -float("inf")

    async def send(self, request: Request) -> Answer:
        """See `Carrier.send`."""
        pool = await self._current_pool()
        opened: list[httpcore.AsyncNetworkStream] = []
        pool.enter()
        try:
            answer = await pool.http.handle_async_request(_to_httpcore(request, opened))
        except BaseException:
            with trio.CancelScope(shield=True):
                for stream in opened:
                    await stream.aclose()
                if opened and self._connection.proxy and self._pool is pool:
                    # httpcore keeps tunnels whose handshake failed in its pool for ever.
                    await self._retire()
                await pool.leave()
            raise
        wire = answer.extensions.get("network_stream")
        body = _Body(answer, pool.leave)
        return Answer(answer.status, answer.headers, body, wire if isinstance(wire, Wire) else None)

    async def aclose(self) -> None:
        """Close what is idle now, and the rest when its streams are closed."""
        await self._retire()

    async def peer_certificate(self) -> str:
        """Look at the certificate of the server, sending nothing; "" when it cannot be had."""
        try:
            with trio.move_on_after(CONNECT_SECONDS):
                tls = await self._look(context_trusting(None))
                encoded = tls.getpeercert(binary_form=True)
                if encoded:
                    tls = await self._look(context_trusting(encoded))
                    return describe_certificate(tls.getpeercert() or {})
        except (*FAILURES, ValueError):
            pass
        return ""

    async def _look(self, context: ssl.SSLContext) -> ssl.SSLObject:
        """Make a TLS handshake on the same way as a request would, and hang up."""
        pool = _Pool(self._connection, context).http
        seen: list[ssl.SSLObject] = []

        async def trace(name: str, info: dict[str, Any]) -> None:
            # The tunnel's own TLS, to an https proxy, is another context.
            if name.endswith("start_tls.complete"):
                stream: httpcore.AsyncNetworkStream = info["return_value"]
                tls: ssl.SSLObject = stream.get_extra_info("ssl_object")
                if tls.context is context:
                    seen.append(tls)
                    await stream.aclose()
                    raise httpcore.ConnectError("enough was seen")

        try:
            extensions = {"trace": trace, "timeout": {"connect": CONNECT_SECONDS, "read": CONNECT_SECONDS}}
            await pool.handle_async_request(
                httpcore.Request("GET", self._connection.server, extensions=extensions)
            )
        except httpcore.ConnectError:
            if not seen:
                raise
        finally:
            await pool.aclose()
        return seen[0]

    async def _current_pool(self) -> _Pool:
        connection, now = self._connection, trio.current_time()
        certificate = connection.credentials.certificate or connection.tls.certificate
        stamp = self._stamp
        if now - self._stamped_at >= _STAMP_SECONDS or stamp[0] != connection.credentials.generation:
            stamp = (connection.credentials.generation, material_stamp(connection.tls, certificate))
            self._stamped_at = now
        if self._pool is None or stamp != self._stamp:
            try:
                context = build_context(connection.tls, certificate)
            except CredentialError:
                # Half of a rotation: what worked until now works a little longer.
                if self._pool is None:
                    raise
                return self._pool
            former, self._pool, self._stamp = self._pool, _Pool(connection, context), stamp
            if former:
                await former.retire()
        return self._pool

    async def _retire(self) -> None:
        pool, self._pool = self._pool, None
        if pool:
            await pool.retire()


def _to_httpcore(request: Request, opened: list[httpcore.AsyncNetworkStream]) -> httpcore.Request:
    """Translate; every socket that is opened for the request is put into the list."""

    async def trace(name: str, info: dict[str, Any]) -> None:
        if name.endswith("connect_tcp.complete"):
            opened.append(info["return_value"])

    return httpcore.Request(
        request.method,
        request.url,
        headers=request.headers,
        content=request.body,
        extensions={**request.extensions, "trace": trace},
    )


def _proxy(connection: Connection) -> httpcore.Proxy | None:
    proxy = connection.proxy
    if proxy is None:
        return None
    auth = None
    if proxy.username:
        password = proxy.password.reveal() if proxy.password else ""
        auth = (proxy.username.reveal().encode(), password.encode())
    # A proxy is trusted by the system's CAs, never by the cluster's.
    context = ssl.create_default_context() if proxy.url.startswith("https:") else None
    return httpcore.Proxy(proxy.url, auth=auth, ssl_context=context)
