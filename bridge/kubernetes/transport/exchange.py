"""One request and the head of its answer, as carriers take and give them: sockets, or a test's stand-in."""

from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import httpcore
import msgspec
import socksio
import trio

from bridge.kubernetes.transport.wire import Wire

__all__ = ["CONNECT_SECONDS", "FAILURES", "TIMEOUTS", "Answer", "Body", "Carrier", "Request"]

CONNECT_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 10.0
TIMEOUTS: Final = (httpcore.TimeoutException, trio.TooSlowError)
FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    *TIMEOUTS,
    # What httpcore lets through of the layers below it, in SOCKS handshakes and while closing.
    socksio.SOCKSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
)
"""Everything a request or a read can end with, but for cancellation."""


class Request(msgspec.Struct, frozen=True):
    """A request, complete.

    Attributes:
        url: with its query, in ASCII.
        headers: names may repeat; may hold credentials, so no repr.
        headers_timeout: seconds from the sent request to the headers of the answer.
        raw: the body is read past the HTTP library, for speed.
    """

    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | None
    headers_timeout: float
    raw: bool = False

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    @property
    def patience(self) -> float:
        """Seconds that may pass until the headers of the answer are there, connecting included."""
        return CONNECT_SECONDS + _WRITE_SECONDS + self.headers_timeout

    @property
    def extensions(self) -> dict[str, Any]:
        """The timeouts of each step, as httpcore and httpx both take them."""
        read = self.headers_timeout
        return {"timeout": {"connect": CONNECT_SECONDS, "write": _WRITE_SECONDS, "read": read, "pool": None}}


class Body(Protocol):
    """A body as it comes off the wire."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield its pieces; raises one of `FAILURES` when it is cut."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body is not at its end."""
        ...


class Answer(msgspec.Struct, frozen=True):
    """An answer whose headers are there.

    Attributes:
        wire: the socket under it, None where there is none.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: Body
    wire: Wire | None = None


class Carrier(Protocol):
    """What takes requests to a server."""

    async def send(self, request: Request) -> Answer:
        """Send one request and return when the headers of its answer are there.

        Raises:
            CredentialError: the TLS material cannot be used.
            BaseException: one of `FAILURES`; it may hold the request, so it must not be shown or chained.
        """
        ...

    async def aclose(self) -> None:
        """Close what is idle."""
        ...
