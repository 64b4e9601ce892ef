"""One answer while it arrives: status, headers, and the raw pieces of its body.

Pieces come from the response's byte stream directly, not through httpx's decoders ([C9], [A18]).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import httpx
import trio

from bridge.kubernetes.failures import Idle, Interrupted
from bridge.kubernetes.transport.pool import CONNECT_SECONDS, FAILURES, TIMEOUTS
from bridge.kubernetes.transport.wire import Wire

__all__ = ["Reply", "send"]

_WRITE_SECONDS: Final = 10.0


async def send(
    transport: httpx.AsyncBaseTransport,
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    body: bytes | None,
    *,
    headers_timeout: float,
) -> "Reply":
    """Send one request and wait for the headers of its answer.

    Args:
        transport: ours, or a test's.
        method: in capitals.
        url: with its query.
        headers: names may repeat.
        body: to send, if any.
        headers_timeout: seconds from the sent request to the answer's headers ([B20]).

    Raises:
        CredentialError: TLS material cannot be used.
        BaseException: one of `FAILURES`; it may hold the request and so must not be chained or shown.
    """
    timeouts = {
        "connect": CONNECT_SECONDS,
        "pool": None,
        "read": headers_timeout,
        "write": _WRITE_SECONDS,
    }
    # Bytes, because httpx would refuse a name outside of ASCII, with the name in its error.
    fields = [(name.encode(), value.encode()) for name, value in headers]
    request = httpx.Request(method, url, headers=fields, content=body, extensions={"timeout": timeouts})
    # httpcore's own deadlines are per step, and a SOCKS handshake has none.
    with trio.move_on_after(CONNECT_SECONDS + _WRITE_SECONDS + headers_timeout):
        return Reply(await transport.handle_async_request(request))
    raise TimeoutError


class Reply:
    """An answer whose body is still on its way. Must be closed, also when it was read to its end.

    Attributes:
        status: the HTTP status.
        headers: names in lower case; a repeated one is joined by commas.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.status: Final = response.status_code
        self.headers: Final[Mapping[str, str]] = dict(response.headers)
        self._response = response
        wire = response.extensions.get("network_stream")
        self._wire = wire if isinstance(wire, Wire) else None
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - narrows httpx's union of sync and async
        self._stream = stream
        self._pieces = aiter(stream)
        self._started = self._ended = False

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - an attribute of the socket, no cancel scope
        """Return the next piece as it came off the wire, b"" at the end of a whole body.

        Raises:
            Idle: nothing came for `timeout` seconds.
            Interrupted: the body was cut.
        """
        self._started = True
        if self._wire is None:
            return await self._read_foreign(timeout)
        self._wire.idle = timeout
        failure: BaseException
        try:
            while True:
                piece = await anext(self._pieces)
                if piece:
                    return piece
        except StopAsyncIteration:
            self._ended = True
            return b""
        except FAILURES as error:
            self._ended = True
            failure = error
        # Out here, so that the library's error and the request it holds are not chained to ours.
        raise _interrupted(failure, timeout)

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it ([H6], [J10])."""
        with trio.CancelScope(shield=True):
            if self._wire is not None:
                self._wire.idle = None
            await self._stream.aclose()
            if self._started and not self._ended:
                await self._exhaust()

    async def _exhaust(self) -> None:
        """End httpx's and httpcore's chain of generators, which closing the outermost would leave behind."""
        try:
            while True:
                # What is buffered, and then the closed socket's error.
                await anext(self._pieces)
        except (StopAsyncIteration, *FAILURES):
            self._ended = True

    async def _read_foreign(self, timeout: float) -> bytes:  # noqa: ASYNC109 - as `read`
        """Read under a test's transport, which has no socket to set a timeout on."""
        failure: BaseException = trio.TooSlowError()
        with trio.move_on_after(timeout):
            try:
                while True:
                    piece = await anext(self._pieces)
                    if piece:
                        return piece
            except StopAsyncIteration:
                self._ended = True
                return b""
            except FAILURES as error:
                failure = error
        raise _interrupted(failure, timeout)


def _interrupted(error: BaseException, timeout: float) -> Interrupted:
    if isinstance(error, (*TIMEOUTS, trio.TooSlowError)):
        return Idle(f"nothing was received for {timeout:g} s")
    # Their names tell what happened (ReadError, RemoteProtocolError); their texts may hold anything.
    return Interrupted(f"the body was cut ({type(error).__name__})")
