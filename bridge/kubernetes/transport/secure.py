"""TLS over any byte stream, reading as many records at once as have arrived.

An API server writes one TLS record per event. A library that hands on one record per read makes each
event a task's turn, a timeout and a few calls; here a read drains what the socket gave.
"""

import ssl
from typing import Final, Protocol

import trio

__all__ = ["MOST_BYTES", "Layer", "SecureStream", "socket_below"]

MOST_BYTES: Final = 256 << 10
"""Bytes that one read returns at most, about."""
_RECORD_BYTES: Final = 64 << 10


class Layer(Protocol):
    """A byte stream; `trio.SocketStream` is one, and so is what this module puts on top."""

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Bytes that have arrived, waiting for some; b"" at the end."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Send everything."""
        ...

    async def aclose(self) -> None:
        """Close; again is harmless."""
        ...


class SecureStream:
    """The client's side of TLS. `handshake` comes first; one task reads while another may write.

    Args:
        below: carries the encrypted bytes; closed with this.
        context: what the peer must prove.
        name: of the peer, None where the context does not ask for it.
    """

    def __init__(self, below: Layer, context: ssl.SSLContext, name: str | None) -> None:
        self.below: Final = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls: Final = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def handshake(self) -> None:
        """Agree with the peer.

        Raises:
            ssl.SSLError: it cannot be agreed with, or does not prove what it must.
            trio.BrokenResourceError: the stream below broke.
        """
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                await self._flush()  # the alert that tells the peer why
                raise
            else:
                await self._flush()
                return

    async def receive_some(self, max_bytes: int = MOST_BYTES) -> bytes:
        """Decrypted bytes of all records that have arrived, waiting for some; b"" at the end.

        A peer that hangs up without saying so in TLS is an end too: HTTP has its own proof of a whole body.

        Raises:
            ssl.SSLError: what arrived is no TLS.
            trio.BrokenResourceError: the stream below broke.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                while size < max_bytes:
                    piece = self.tls.read(min(_RECORD_BYTES, max_bytes - size))
                    if not piece:
                        return b"".join(pieces)
                    pieces.append(piece)
                    size += len(piece)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b"".join(pieces)
            if self._outgoing.pending:  # a key update wants its answer
                await self._flush()
            if pieces:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            await self._fill()

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send everything; raises as `receive_some`."""
        self.tls.write(data)
        await self._flush()

    async def aclose(self) -> None:
        """Close the stream below, without a goodbye that nobody waits for."""
        await self.below.aclose()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.below.send_all(self._outgoing.read())

    async def _fill(self) -> None:
        data = await self.below.receive_some(MOST_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def socket_below(layer: Layer) -> trio.SocketStream:
    """The socket under all TLS."""
    while isinstance(layer, SecureStream):
        layer = layer.below
    if not isinstance(layer, trio.SocketStream):
        raise TypeError(f"there is no socket below {type(layer).__name__}")
    return layer
