"""Bytes in, complete lines out: the framing of a watch body. No I/O here.

Chunk boundaries mean nothing [C1]. Only the byte 0A ends a line: a JSON string may hold U+0085 or U+007F as
they are, which every `str` method takes for a line end [C2]; so nothing here ever decodes [C3].
"""

import re
from typing import Final

__all__ = ["LINE_LIMIT", "Document", "Lines"]

LINE_LIMIT: Final = 16 << 20
"""What client-go accepts; a ConfigMap of 1 MiB of `<` makes a line of 6.2 MB (real-apiserver 12.10)."""


class Lines:
    """Splits a body into lines, whatever the pieces it arrives in.

    Args:
        limit: longest line in bytes, without its end.

    Attributes:
        overlong: the start of a line that is longer than `limit`, or None; nothing can be read behind it.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.overlong: bytes | None = None
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends and without blank ones."""
        if self.overlong is not None:
            return []
        rest = self._rest
        may_be_long = len(rest) + len(data) > self._limit
        lines = data.split(b"\n")
        tail = lines.pop()
        if rest and lines:
            rest += lines[0]
            lines[0] = bytes(rest)
            rest.clear()
        if tail:
            rest += tail
        if b"" in lines or b"\r" in data or (lines and lines[0].endswith(b"\r")):
            lines = [line for line in (line.rstrip(b"\r") for line in lines) if line]
        if may_be_long:
            self._cut(lines)
        return lines

    def tail(self) -> bytes:
        """What follows the last line end: a torn line, or a whole one whose end was not sent [C6] [C7]."""
        return bytes(self._rest).strip()

    def _cut(self, lines: list[bytes]) -> None:
        for index, line in enumerate(lines):
            if len(line) > self._limit:
                self.overlong = line[: self._limit]
                del lines[index:]
                return
        if len(self._rest) > self._limit:
            self.overlong = bytes(self._rest[: self._limit])
            self._rest.clear()


_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]"]', re.DOTALL)


class Document:
    """Gathers the lines of one pretty-printed JSON document.

    A newline is not the delimiter by contract [C4]: a server that prettifies, or a proxy, spreads
    one event over many lines. This is the slow way, taken only for a line that is not a whole event.

    Attributes:
        text: the lines so far.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.text = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._limit = limit

    def add(self, line: bytes) -> bool | None:
        """Take one more line.

        Returns:
            True when the document is complete, None when more lines must follow, False when these
            lines cannot be a document: a string holds a line end, or another document begins at the
            margin before this one has ended.
        """
        broken = bool(self._parts) and line.startswith(b'{"')
        self._parts.append(line)
        self._size += len(line) + 1
        for token in _TOKEN.finditer(line):
            match token[0]:
                case b"{" | b"[":
                    self._depth += 1
                case b"}" | b"]":
                    self._depth -= 1
                case b'"':
                    broken = True
        if broken or self._size > self._limit:
            self.text = b"\n".join(self._parts)
            return False
        if self._depth > 0:
            return None
        self.text = b"\n".join(self._parts)
        return self._depth == 0
