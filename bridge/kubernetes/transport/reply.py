"""One answer while it arrives: status, headers, and the raw pieces of its body.

Pieces come from the connection's byte stream directly, not through a library's decoders ([C9], [A18]).
"""

from collections.abc import Mapping
from typing import Final

import httpcore
import trio

from bridge.kubernetes.failures import Idle, Interrupted
from bridge.kubernetes.transport.chunks import Dechunker
from bridge.kubernetes.transport.exchange import FAILURES, TIMEOUTS, Answer, Carrier, Request

__all__ = ["Reply", "send"]

_LAST_CHUNK: Final = b"0\r\n\r\n"


async def send(carrier: Carrier, request: Request) -> "Reply":
    """Send one request and wait for the headers of its answer; raises as `Carrier.send`."""
    # httpcore's own deadlines are per step, and a SOCKS handshake has none.
    with trio.fail_after(request.patience):
        return Reply(await carrier.send(request), raw=request.raw)


class Reply:
    """An answer whose body is still on its way. Must be closed, also when it was read to its end.

    Attributes:
        status: the HTTP status.
        headers: names in lower case; a repeated one is joined by commas.
    """

    def __init__(self, answer: Answer, *, raw: bool = False) -> None:
        """Take over an answer.

        Args:
            answer: whose head is there.
            raw: read its body past the HTTP library where it is chunked.
        """
        self.status: Final = answer.status
        self.headers: Final[Mapping[str, str]] = _headers(answer.headers)
        self._wire = answer.wire
        self._body = answer.body
        self._pieces = aiter(answer.body)
        self._started = self._ended = False
        chunked = self.headers.get("transfer-encoding", "").strip().lower() == "chunked"
        self._chunks = Dechunker() if raw and chunked and answer.wire is not None else None

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - an attribute of the socket, no cancel scope
        """Return the next piece as it came off the wire, b"" at the end of a whole body.

        Raises:
            Idle: nothing came for `timeout` seconds.
            Interrupted: the body was cut.
        """
        if self._chunks is not None:
            return await self._read_raw(self._chunks, timeout)
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
            await self._body.aclose()
            if self._started and not self._ended:
                await self._exhaust()

    async def _exhaust(self) -> None:
        """End httpcore's chain of generators, which closing the outermost would leave behind."""
        try:
            while True:
                # What is buffered, and then the closed socket's error.
                await anext(self._pieces)
        except (StopAsyncIteration, *FAILURES):
            self._ended = True

    async def _read_raw(self, chunks: Dechunker, timeout: float) -> bytes:  # noqa: ASYNC109 - as `read`
        """Read from the wire what the server sent in one go, however many events that is."""
        failure: BaseException
        try:
            while not chunks.complete:
                data = b""
                if self._wire is not None and chunks.broken is None:
                    data = await self._wire.receive(timeout)
                if not data:
                    raise httpcore.RemoteProtocolError
                piece = chunks.feed(data)
                if piece:
                    return piece
        except ValueError:
            failure = httpcore.RemoteProtocolError()
        except FAILURES as error:
            failure = error
        else:
            await self._hand_back(chunks)
            return b""
        raise _interrupted(failure, timeout)

    async def _hand_back(self, chunks: Dechunker) -> None:
        """Show the library the end of a body that it never saw, so that the connection serves again."""
        if self._ended or self._wire is None or chunks.rest:
            return
        self._wire.give_back(_LAST_CHUNK)
        self._started = True
        await self._exhaust()

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
    if isinstance(error, TIMEOUTS):
        return Idle(f"nothing was received for {timeout:g} s")
    # Their names tell what happened (ReadError, RemoteProtocolError); their texts may hold anything.
    return Interrupted(f"the body was cut ({type(error).__name__})")


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
