"""One destination's connections: a request out, the beginning of its answer back, all within a deadline.

httpx is used at its transport: no cookies that a receiver could plant, no redirects, no netrc and no proxy of
the environment. Each line is a pool of one connection that serves one request at a time and is thrown away
when one fails: when requests that share a pool of httpcore 1.0 are cancelled while others wait for it, their
slots are lost for ever (https://github.com/encode/httpcore/issues/1093); here no two requests share one.
"""

import math
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self
from urllib.parse import unquote_to_bytes

import httpcore
import httpx
import msgspec
import socksio
import trio

from sinks.webhook.answers import Answer
from sinks.webhook.failures import Target, too_late, unreachable
from sinks.webhook.secrets import Kept
from sinks.webhook.tls import Trust
from sinks.webhook.url import no_host

__all__ = ["Client", "parse_proxy"]

MOST_BODY: Final = 16 << 10
_BODY_SECONDS: Final = 2.0
"""For the rest of an answer whose status is known: worth a wait only to keep the connection."""
_CONNECT_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 30.0
_LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)
_FAILURES: Final = (httpx.HTTPError, socksio.SOCKSError)  # the latter comes through httpcore as it is
_DEAD: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)

_ROTATIONS: Final = 8
"""So many passwords of a proxy are known to be secret: more than are on their way at once."""

Headers = Sequence[tuple[bytes, bytes]]


class Client:
    """Asks one destination; at most `limit` requests at once, others wait."""

    def __init__(
        self, target: Target, url: str, limit: int, trust: Trust, proxy: Kept[httpx.Proxy] | None
    ) -> None:
        """Nothing is connected before the first request.

        Args:
            target: the destination, for sentences.
            url: the destination.
            limit: connections at most.
            trust: makes the TLS contexts.
            proxy: which one leads there.
        """
        self._target = target
        self._url = httpx.URL(url)
        self._host = self._url.netloc
        self._trust = trust
        self._proxy = proxy
        self._room = trio.Semaphore(limit, max_value=limit)
        self._idle: list[_Line] = []
        self._pairs: deque[tuple[bytes, bytes]] = deque(maxlen=_ROTATIONS)

    @property
    def passwords(self) -> list[bytes]:
        """What proxies were sent so that they know who we are, in each form that they may repeat."""
        return [form for pair in self._pairs for form in (pair[1], b64encode(b":".join(pair)))]

    @property
    def query(self) -> list[bytes]:
        """Values in the query of the address, as sent and as read: each may be a key that nobody must see."""
        sent = [pair.partition(b"=")[2] for pair in self._url.query.split(b"&")]
        return [form for value in sent for form in (value, unquote_to_bytes(value.replace(b"+", b" ")))]

    async def ask(self, method: str, headers: Headers, body: bytes, timeout: float) -> Answer:  # noqa: ASYNC109 - in all, over several tries
        """Send, and return the beginning of the answer.

        Args:
            method: as POST.
            headers: beside `host` and `content-length`.
            body: as it goes out.
            timeout: seconds for all of it, once there is a free connection.

        Raises:
            Unavailable: no answer; the message says why, `reason` in one word.
        """
        request = self._request(method, headers, body, timeout)
        async with self._room:
            with trio.move_on_after(timeout) as until:
                return await self._insist(request, until)
        raise too_late(self._target, timeout)

    async def reach(self, timeout: float) -> None:  # noqa: ASYNC109 - as above
        """Connect as `ask` does, through the proxy and with TLS, and send no request.

        Raises:
            Unavailable: it does not get that far.
        """
        request = self._request("HEAD", (), b"", timeout)
        with trio.move_on_after(timeout):
            line = await self._line(fresh=True)
            try:
                return await line.reach(request)
            except _FAILURES as error:
                raise unreachable(self._target, error, connected=line.connected) from error
            finally:
                await line.aclose()
        raise too_late(self._target, timeout)

    async def aclose(self) -> None:
        """Close every connection that nobody uses; also when cancelled."""
        lines, self._idle = self._idle, []
        for line in lines:
            await line.aclose()

    def _request(self, method: str, headers: Headers, body: bytes, timeout: float) -> httpx.Request:
        # Per read, a timeout would let a receiver drip for ever: one deadline around everything does not.
        limits = {"connect": min(timeout, _CONNECT_SECONDS), "read": None, "write": None, "pool": None}
        framing = [(b"host", self._host), (b"content-length", str(len(body)).encode())]
        return httpx.Request(
            method,
            self._url,
            headers=[*framing, *headers],
            stream=_Body(body),
            extensions={"timeout": limits},
        )

    async def _insist(self, request: httpx.Request, until: trio.CancelScope) -> Answer:
        line = await self._line()
        try:
            return await self._on(line, request, until)
        except _FAILURES as error:
            # A receiver may close a connection that was idle just as we use it; that says nothing of it.
            if line.connected or not isinstance(error, _DEAD):
                raise unreachable(self._target, error, connected=line.connected) from error
        line = await self._line(fresh=True)
        try:
            return await self._on(line, request, until)
        except _FAILURES as error:
            raise unreachable(self._target, error, connected=line.connected) from error

    async def _line(self, *, fresh: bool = False) -> "_Line":
        context = await self._trust.context()
        proxy = self._proxy.value() if self._proxy else None
        while self._idle and not fresh:
            line = self._idle.pop()
            if line.context is context and line.proxy is proxy:
                return line
            await line.aclose()
        if proxy:
            self._target = msgspec.structs.replace(self._target, proxy=str(proxy.url))
            if proxy.raw_auth and proxy.raw_auth not in self._pairs:
                self._pairs.append(proxy.raw_auth)
        return _Line(httpx.AsyncHTTPTransport(verify=context, limits=_LIMITS, proxy=proxy), context, proxy)

    async def _on(self, line: "_Line", request: httpx.Request, until: trio.CancelScope) -> Answer:
        whole = False
        try:
            answer, whole = await line.ask(request, until)
            return answer
        finally:
            if whole:
                self._idle.append(line)
            else:
                await line.aclose()


class _Line:
    """A pool of one connection; `connected` when its last request had to make it."""

    def __init__(
        self, transport: httpx.AsyncHTTPTransport, context: object, proxy: httpx.Proxy | None
    ) -> None:
        self.context = context
        self.proxy = proxy
        self.connected = False
        self._transport = transport
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def ask(self, request: httpx.Request, until: trio.CancelScope) -> tuple[Answer, bool]:
        """The answer, and whether all of it was read, so that another request may follow.

        Once its status has come, `until` ends the reading of its body only: the status decides.
        """
        self.connected = False
        request.extensions["trace"] = self._trace
        response = await self._transport.handle_async_request(request)
        deadline, until.deadline = until.deadline, math.inf
        body, whole = await _beginning(response, min(deadline, trio.current_time() + _BODY_SECONDS))
        return Answer(response.status_code, response.headers, body), whole

    async def reach(self, request: httpx.Request) -> None:
        """All that comes before a request."""
        request.extensions["trace"] = self._trace_reach
        try:
            await self._transport.handle_async_request(request)
        except _Connected:
            return

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._transport.aclose()
            if self._stream is not None:
                # Cancelled during a handshake of TLS or SOCKS, httpcore forgets it open.
                await self._stream.aclose()

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            self.connected = True
            self._stream = info["return_value"]

    async def _trace_reach(self, event: str, info: dict[str, Any]) -> None:
        await self._trace(event, info)
        # A proxy's CONNECT is part of connecting.
        if event == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
            raise _Connected


async def _beginning(response: httpx.Response, deadline: float) -> tuple[bytes, bool]:
    """At most 16 KiB of the body, and none of it after the deadline; whether that is all of it."""
    body, whole = b"", False
    if _length(response) > MOST_BODY:
        return body, whole
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
    with trio.move_on_at(deadline) as enough:
        try:
            async for piece in response.stream:
                body = (body + piece)[:MOST_BODY]
                if len(body) == MOST_BODY:
                    # From within, it unwinds all of httpcore's nested generators, which `break` would leave
                    # to the garbage collector.
                    enough.cancel()
            await response.stream.aclose()
            whole = not enough.cancel_called
        except httpx.HTTPError:
            pass  # the status has come, and it decides
    return body, whole


def _length(response: httpx.Response) -> int:
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


class _Body(httpx.AsyncByteStream):
    """One piece; httpx's own is a generator, which a cancelled request leaves to the garbage collector."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces((self._data,))


class _Pieces:
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class _Connected(Exception):
    """There is a connection, and nothing was sent over it."""


def parse_proxy(value: bytes) -> httpx.Proxy:
    """The proxy that a text names.

    Raises:
        ValueError: it names none; the message holds nothing of it, it may have a password.
    """
    try:
        proxy = httpx.Proxy(value.decode("ascii").strip(), ssl_context=None)
    except (ValueError, httpx.InvalidURL):
        proxy = None
    if proxy is None or no_host(proxy.url.host):
        raise ValueError(
            "is not the address of a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
        )
    return proxy
