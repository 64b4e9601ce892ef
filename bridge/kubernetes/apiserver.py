"""Requests to one API server: credentials, rate limit, errors as sentences, bodies as bytes.

```
async with ApiServer(connection, limiter=RateLimiter(20, 40)) as api:
    response = await api.get("/api/v1/namespaces/kube-system")
    async with api.stream("/api/v1/pods", {"watch": "1"}) as stream:
        while piece := await stream.read(150):
            ...
```

A 401 renews the credential once and repeats the request once. Nothing else is repeated here, but for a
request that met a kept connection in the moment the server closed it: retry and backoff are the caller's.
"""

import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode, urlsplit

import msgspec
import orjson
import trio

from bridge import __version__
from bridge.errors import InvariantError
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.explain import api_error, root_cause, unreachable, wrong_body
from bridge.kubernetes.failures import ApiError, CredentialError, Idle, Interrupted, Unreachable
from bridge.kubernetes.gunzip import Gunzip
from bridge.kubernetes.ratelimit import RateLimiter
from bridge.kubernetes.transport import FAILURES, Carrier, Reply, Request, Transport, send

if TYPE_CHECKING:
    import httpx

__all__ = [
    "ApiError",
    "ApiServer",
    "CredentialError",
    "Idle",
    "Interrupted",
    "RateLimiter",
    "Response",
    "Stream",
    "Unreachable",
]

USER_AGENT: Final = f"kube-bridge/{__version__}"
BODY_LIMIT: Final = 64 * 1024 * 1024
_ERROR_LIMIT: Final = 64 * 1024
_ERROR_SECONDS: Final = 10.0
_UNAUTHORIZED: Final = 401
_CLOSED: Final = ("RemoteProtocolError", "ReadError", "WriteError")
_REDIRECTS: Final = range(300, 400)
_SUCCESS: Final = range(200, 300)
_Headers = Mapping[str, str]


class Response(msgspec.Struct, frozen=True):
    """A whole answer.

    Attributes:
        status: any but 401 and redirects.
        headers: names in lower case.
        body: decoded and complete; of an error, its first 64 KiB.
    """

    status: int
    headers: _Headers
    body: bytes
    describe: "_Describe"

    def error(self) -> ApiError:
        """Make this answer an error with a sentence."""
        return self.describe(self.status, self.headers, self.body)

    def checked(self) -> "Response":
        """Return this answer if it is 2xx.

        Raises:
            ApiError: it is not.
        """
        if self.status not in _SUCCESS:
            raise self.error()
        return self


class Stream:
    """An answer that is read piece by piece; made by `ApiServer.stream`.

    Attributes:
        status: of the answer, any but 401 and redirects; the caller judges it.
        headers: names in lower case.
    """

    def __init__(self, reply: Reply, describe: "_Describe") -> None:
        self.status: Final = reply.status
        self.headers: Final = reply.headers
        self._reply = reply
        self._describe = describe
        gzipped = "gzip" in reply.headers.get("content-encoding", "").lower()
        self._gunzip = Gunzip() if gzipped else None

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - set on the socket, no cancel scope
        """Return the next piece, b"" at the end of a complete body.

        Pieces are what the socket gave, with any chunk borders; of a gzip body, its content. Cancelled, the
        stream is over.

        Args:
            timeout: seconds that may pass without a byte.

        Raises:
            Idle: they passed; the connection may be half-open: close it and go on from the cursor.
            Interrupted: the body was cut or is damaged; go on from the cursor.
        """
        if self._gunzip is None:
            return await self._reply.read(timeout)
        return await self._read_gzip(self._gunzip, timeout)

    async def error(self) -> ApiError:
        """Read the rest as an error, for an answer whose status or form is not the wanted one."""
        return self._describe(self.status, self.headers, await self.excerpt())

    async def excerpt(self) -> bytes:
        """Read the rest, but no more than an error needs, and without failing."""
        body = bytearray()
        try:
            with trio.move_on_after(_ERROR_SECONDS):
                while len(body) < _ERROR_LIMIT and (piece := await self.read(_ERROR_SECONDS)):
                    body += piece
        except Interrupted:
            pass
        return bytes(body)

    async def _read_gzip(self, gunzip: Gunzip, timeout: float) -> bytes:  # noqa: ASYNC109 - as `read`
        while True:
            try:
                piece = gunzip.take()
            except zlib.error:
                raise Interrupted("the gzip body is damaged") from None
            if piece:
                return piece
            raw = await self._reply.read(timeout)
            if not raw and gunzip.complete:
                return b""
            if not raw:
                raise Interrupted("the gzip body ended before its end")
            gunzip.feed(raw)


class ApiServer:
    """A client of one API server, for many tasks at once. An async context manager."""

    def __init__(
        self,
        connection: Connection,
        *,
        limiter: RateLimiter | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            connection: where to, and as whom.
            limiter: shared by all who talk to this cluster; default 20 a second, bursts of 40.
            transport: instead of sockets, for tests.
        """
        self.connection: Final = connection
        self._limiter = limiter or RateLimiter()
        self._carrier = Transport(connection) if transport is None else _carried_by(transport)
        self._host = urlsplit(connection.server).netloc

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            await self._carrier.aclose()

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        timeout: float = 30.0,  # noqa: ASYNC109 - part of what is told when it passes
        limit: int = BODY_LIMIT,
    ) -> Response:
        """GET a whole document.

        Args:
            path: from the root of the API, with a slash.
            params: the query.
            accept: what to ask for; the answer must be JSON in any case.
            timeout: seconds for all of it.
            limit: bytes that the decoded body may have.

        Raises:
            ApiError: a 401 that a renewed credential did not change, a redirect, a web page, a foreign
                encoding, or more than `limit` bytes. Any other answer is returned, see `Response.checked`.
            Unreachable: no answer, no credential, or not in time.
            Interrupted: the body was cut.
        """
        headers = {"accept": accept, "accept-encoding": "gzip"}
        return await self._whole("GET", path, params, headers, None, timeout=timeout, limit=limit)

    async def post(
        self,
        path: str,
        document: Any,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - as `get`
        limit: int = BODY_LIMIT,
    ) -> Response:
        """POST a JSON document; as `get`."""
        headers = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "content-type": "application/json",
        }
        body = orjson.dumps(document)
        return await self._whole("POST", path, None, headers, body, timeout=timeout, limit=limit)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        accept_encoding: str = "identity",
        headers_timeout: float = 60.0,
    ) -> AsyncIterator[Stream]:
        """GET something long and read it piece by piece.

        Leaving the block, cancelled or not, closes the connection unless the body was read to its end.

        Args:
            path: from the root of the API, with a slash.
            params: the query; with `watch` in it the request is not held back by the rate limiter ([B21]).
            accept: what to ask for.
            accept_encoding: identity for watches ([C9]); gzip is decoded here.
            headers_timeout: seconds until the answer begins; some proxies hold it back until the first
                event ([B20]).

        Raises:
            ApiError: a 401 that a renewed credential did not change, a redirect, a web page or a foreign
                encoding. Any other answer is given to the caller.
            Unreachable: no answer, or no credential.
        """
        watch = (params or {}).get("watch", "false") not in {"0", "false"}
        if not watch:
            await self._limiter.acquire()
        headers = {"accept": accept, "accept-encoding": accept_encoding}
        reply, sent = await self._request("GET", path, params, headers, None, headers_timeout, raw=watch)
        try:
            stream = Stream(reply, _Describe(self.connection, path, sent))
            if stream.status == _UNAUTHORIZED or stream.status in _REDIRECTS:
                raise await stream.error()
            wrong = wrong_body(self.connection, path, stream.status, stream.headers)
            if wrong and stream.status in _SUCCESS:
                raise wrong
            yield stream
        finally:
            await reply.aclose()

    async def _whole(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: _Headers,
        body: bytes | None,
        *,
        timeout: float,  # noqa: ASYNC109 - as `get`
        limit: int,
    ) -> Response:
        await self._limiter.acquire()
        with trio.move_on_after(timeout):
            reply, sent = await self._request(method, path, params, headers, body, timeout)
            try:
                return await self._collect(reply, _Describe(self.connection, path, sent), timeout, limit)
            finally:
                await reply.aclose()
        raise Unreachable(f"{self.connection.server}{path} was not answered within {timeout:g} s")

    async def _collect(self, reply: Reply, describe: "_Describe", timeout: float, limit: int) -> Response:  # noqa: ASYNC109 - as `get`
        stream = Stream(reply, describe)
        if stream.status == _UNAUTHORIZED or stream.status in _REDIRECTS:
            raise await stream.error()
        if stream.status not in _SUCCESS:
            return Response(stream.status, stream.headers, await stream.excerpt(), describe)
        wrong = wrong_body(self.connection, describe.path, stream.status, stream.headers)
        if wrong:
            raise wrong
        pieces, size = [], 0
        while piece := await stream.read(timeout):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                sentence = f"{self.connection.server}{describe.path} answered with more than {limit} bytes"
                raise ApiError(sentence, status=stream.status, reason="TooLarge")
        return Response(stream.status, stream.headers, b"".join(pieces), describe)

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: _Headers,
        body: bytes | None,
        headers_timeout: float,
        *,
        raw: bool = False,
    ) -> tuple[Reply, _Headers]:
        """Send, with a renewed credential once more after a 401; also return the credential that was sent."""
        credentials = self.connection.credentials
        query = f"?{urlencode(params)}" if params else ""
        url = f"{self.connection.server}{path}{query}"
        sent = await credentials.headers()
        generation = credentials.generation
        for last in (False, True):
            fields = [*headers.items(), *sent.items(), *self.connection.impersonation]
            encoded = [*self._own_headers(body), *((name.encode(), value.encode()) for name, value in fields)]
            reply = await self._exchange(Request(method, url, encoded, body, headers_timeout, raw))
            if last or reply.status != _UNAUTHORIZED or not await self._renewed(reply, sent, generation):
                return reply, sent
            await reply.aclose()
            sent = await credentials.headers()
        raise InvariantError("a request went into a third round")

    async def _renewed(self, reply: Reply, sent: _Headers, generation: int) -> bool:
        """Whether there is a better credential than the refused one, perhaps got by somebody else already."""
        credentials = self.connection.credentials
        try:
            if (await credentials.headers(), credentials.generation) != (sent, generation):
                return True
            return await credentials.refresh()
        except BaseException:
            await reply.aclose()
            raise

    def _own_headers(self, body: bytes | None) -> list[tuple[bytes, bytes]]:
        headers = [(b"host", self._host.encode()), (b"user-agent", USER_AGENT.encode())]
        return headers if body is None else [*headers, (b"content-length", b"%d" % len(body))]

    async def _exchange(self, request: Request) -> Reply:
        failure: BaseException = TimeoutError()
        for _ in range(2):
            try:
                return await send(self._carrier, request)
            except FAILURES as error:
                failure = error
            # A kept connection that the server closed as we wrote: seen by nobody, so asked again.
            if request.method != "GET" or type(failure).__name__ not in _CLOSED:
                break
        raise await self._explain(failure)

    async def _explain(self, failure: BaseException) -> Unreachable:
        certificate = ""
        distrusted = isinstance(root_cause(failure), ssl.SSLCertVerificationError)
        if distrusted and isinstance(self._carrier, Transport) and type(failure).__name__ != "ProxyError":
            certificate = await self._carrier.peer_certificate()
        return unreachable(self.connection, failure, certificate)


def _carried_by(transport: "httpx.AsyncBaseTransport") -> Carrier:
    from bridge.kubernetes.transport.foreign import Foreign  # noqa: PLC0415 - httpx takes its time to import

    return Foreign(transport)


class _Describe(msgspec.Struct, frozen=True):
    """Makes the error of an answer to one request; holds its credential, so no repr."""

    connection: Connection
    path: str
    sent: _Headers

    def __repr__(self) -> str:
        return f"<_Describe {self.path}>"

    def __call__(self, status: int, headers: _Headers, body: bytes) -> ApiError:
        return api_error(self.connection, self.path, status, headers, body, self.sent)
