"""One answer while it arrives: status, headers, and the raw pieces of its body.

Pieces come from the connection's byte stream directly, not through a library's decoders ([C9], [A18]).
"""

from collections.abc import Mapping
from typing import Final

import trio

from bridge.kubernetes.failures import Idle, Interrupted
from bridge.kubernetes.transport.exchange import FAILURES, TIMEOUTS, Answer, Carrier, Request

__all__ = ["Reply", "send"]


async def send(carrier: Carrier, request: Request) -> "Reply":
    """Send one request and wait for the headers of its answer; raises as `Carrier.send`."""
    # httpcore's own deadlines are per step, and a SOCKS handshake has none.
    with trio.fail_after(request.patience):
        return Reply(await carrier.send(request))


class Reply:
    """An answer whose body is still on its way. Must be closed, also when it was read to its end.

    Attributes:
        status: the HTTP status.
        headers: names in lower case; a repeated one is joined by commas.
    """

    def __init__(self, answer: Answer) -> None:
        self.status: Final = answer.status
        self.headers: Final[Mapping[str, str]] = _headers(answer.headers)
        self._wire = answer.wire
        self._body = answer.body
        self._pieces = aiter(answer.body)
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
