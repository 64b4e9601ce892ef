"""The chunked transfer coding of a body (RFC 9112, 7.1), decoded a read at a time. No I/O here."""

from typing import Final

__all__ = ["Dechunker"]

_HEX: Final = b"0123456789abcdefABCDEF"
_LINE_END: Final = b"\r\n"
_LONGEST_LINE: Final = 4096
"""Bytes that a chunk's size with its extensions, or a trailer, may have."""


class Dechunker:
    """Finds the content between the chunk sizes, wherever reads cut it.

    Attributes:
        complete: the body is at its end, trailers included; they are not looked at.
        broken: why what follows the content returned so far is no chunked body, or None.
    """

    def __init__(self) -> None:
        self.complete = False
        self.broken: ValueError | None = None
        self._kept = b""
        self._left = 0
        self._ending = False
        self._trailing = False

    @property
    def rest(self) -> bytes:
        """What was received behind the end of the body."""
        return self._kept if self.complete else b""

    def feed(self, data: bytes) -> bytes:
        """Content of what was received; what is good before a broken place comes first.

        Raises:
            ValueError: this is no chunked body.
        """
        if self.broken is not None:
            raise self.broken
        if self._kept:
            data = self._kept + data
        content: list[bytes] = []
        try:
            self._kept = data[self._take(data, content) :]
        except ValueError as error:
            self.broken = error
            if not content:
                raise
        return content[0] if len(content) == 1 else b"".join(content)

    def _take(self, data: bytes, content: list[bytes]) -> int:
        """Move the content of whole and begun chunks; returns where what is left begins."""
        at, end, left = 0, len(data), self._left
        while not self.complete:
            if left:
                piece = data[at : at + left]
                content.append(piece)
                at += len(piece)
                left -= len(piece)
                self._ending = True
            if left or (self._ending and end - at < len(_LINE_END)):
                break
            if self._ending:
                if not data.startswith(_LINE_END, at):
                    raise ValueError("a chunk is longer than its size")
                at += len(_LINE_END)
                self._ending = False
            line = data.find(_LINE_END, at)
            if line < 0:
                break
            left = self._read_line(data[at:line])
            at = line + len(_LINE_END)
        if not left and end - at > _LONGEST_LINE and not self.complete:
            raise ValueError("a chunk has no size, or a trailer no end")
        self._left = left
        return at

    def _read_line(self, line: bytes) -> int:
        """Size of the chunk that follows, 0 for the last one and behind it."""
        if self._trailing:
            self.complete = not line
            return 0
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(_HEX):  # int() would take a sign, an underscore or 0x
            raise ValueError("a chunk has no size")
        size = int(digits, 16)
        self._trailing = not size
        return size
