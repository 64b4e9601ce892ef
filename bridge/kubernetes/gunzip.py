"""gzip, decoded in bounded pieces and with proof that the end was reached. No I/O here.

httpx would do it, but takes half a gzip body for a whole one ([A18]) and forgets every member after the
first ([C9]); both were proved on loopback.
"""

import zlib
from typing import Final

__all__ = ["Gunzip"]

_GZIP: Final = 31
"""zlib's `wbits` for: gzip header and checksum, nothing else."""
_PIECE: Final = 1024 * 1024
"""Most bytes a step makes, so that a small answer cannot fill the memory."""


class Gunzip:
    """Feed it what arrives, take pieces until there are none, and ask `complete` at the end."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._input = b""
        self._full = False

    def feed(self, data: bytes) -> None:
        """Add bytes as they came."""
        self._input += data

    def take(self) -> bytes:
        """Return the next decoded piece, b"" when more input is needed.

        Raises:
            zlib.error: this is no gzip, or it is damaged.
        """
        while self._input or self._full:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            piece = self._member.decompress(self._input, _PIECE)
            self._full = len(piece) == _PIECE and not self._member.eof
            self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                return piece
        return b""

    @property
    def complete(self) -> bool:
        """Whether what was fed ends exactly with a member's checksum."""
        return self._member.eof and not self._input
