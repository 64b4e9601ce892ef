"""Bodies that go wrong: wrappers around a response's body, used by `faults.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING

import trio

from bridge.simulator.encode import dumps, event
from bridge.simulator.messages import Body, ConnectionCut

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.errors import ApiError

__all__ = ["AfterBytes", "AfterEvents", "Drip", "Edit", "Ending", "Spoil", "end_body", "error_line"]


class Ending(Enum):
    """How a body can end before its time."""

    CLEAN = "clean"
    CUT = "cut"
    RESET = "reset"
    SILENCE = "silence"


async def end_body(ending: Ending) -> bytes:
    """What `Body.receive` does at such an end; silence lasts until the client goes."""
    if ending is Ending.SILENCE:
        await trio.sleep_forever()
    if ending in {Ending.CUT, Ending.RESET}:
        raise ConnectionCut(reset=ending is Ending.RESET)
    return b""


def error_line(error: ApiError) -> bytes:
    """The ERROR event of a refusal."""
    return event("ERROR", dumps(error.status))


class Spoil(ABC):
    """Looks at each chunk; says what is sent in its place and, some time, how the body ends."""

    ending: Ending | None = None

    @abstractmethod
    def pass_on(self, chunk: bytes) -> bytes:
        """What to send for this chunk; called once with nothing before the first one."""

    def around(self, body: Body) -> Body:
        """The spoiled body."""
        return _Spoiled(body, self)


class _Spoiled(Body):
    def __init__(self, body: Body, spoil: Spoil) -> None:
        self._body = body
        self._spoil = spoil
        self._first = spoil.pass_on(b"")

    async def receive(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        while self._spoil.ending is None:
            chunk = await self._body.receive()
            if not chunk:
                return b""
            sent = self._spoil.pass_on(chunk)
            if sent:
                return sent
        return await end_body(self._spoil.ending)

    def close(self) -> None:
        self._body.close()


class AfterBytes(Spoil):
    """Ends when so many bytes were sent."""

    def __init__(self, count: int, ending: Ending) -> None:
        self._left = count
        self._then = ending

    def pass_on(self, chunk: bytes) -> bytes:
        """As much as is left."""
        sent = chunk[: self._left]
        self._left -= len(sent)
        if self._left <= 0:
            self.ending = self._then
        return sent


class AfterEvents(Spoil):
    """Ends after so many lines, with some last bytes or with the first bytes of the next line."""

    def __init__(self, count: int, ending: Ending, *, last: bytes = b"", keep: int = 0) -> None:
        self._left = count
        self._then = ending
        self._last = last
        self._keep = keep

    def pass_on(self, chunk: bytes) -> bytes:
        """Whole lines while there are some left."""
        lines = _lines(chunk)
        sent = b"".join(lines[: self._left])
        rest = b"".join(lines[self._left :])
        self._left = max(0, self._left - len(lines))
        if self._left == 0 and (rest or not self._keep):
            self.ending = self._then
            sent += self._last or rest[: self._keep]
        return sent


class Edit(Spoil):
    """Changes one line, counted from 1, or with 0 each."""

    def __init__(self, change: Callable[[bytes], bytes], number: int) -> None:
        self._change = change
        self._number = number
        self._seen = 0

    def pass_on(self, chunk: bytes) -> bytes:
        """The lines, one of them changed."""
        sent = []
        for line in _lines(chunk):
            self._seen += 1
            sent.append(self._change(line) if self._number in {0, self._seen} else line)
        return b"".join(sent)


class Drip(Body):
    """Sends a body in small pieces, with pauses."""

    def __init__(self, body: Body, size: int, seconds: float) -> None:
        self._body = body
        self._size = size
        self._seconds = seconds
        self._held = b""

    async def receive(self) -> bytes:
        """The next few bytes."""
        if not self._held:
            self._held = await self._body.receive()
        else:
            await trio.sleep(self._seconds)
        sent, self._held = self._held[: self._size], self._held[self._size :]
        return sent

    def close(self) -> None:
        """Passes on."""
        self._body.close()


def _lines(chunk: bytes) -> list[bytes]:
    return [line + b"\n" for line in chunk.split(b"\n")[:-1]]
