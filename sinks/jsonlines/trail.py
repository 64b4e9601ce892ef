"""All that was written, over the rotated files and the current one, as one run of bytes to look into.

Offset 0 is the beginning of the current file, so offsets in it are what they are; what was rotated away lies
before it. Rotated files are opened when they are needed, the newest first. Everything here blocks.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Final

from bridge.logs import log
from sinks.jsonlines.appendfile import SEARCHED, AppendFile
from sinks.jsonlines.rotation import PACKED, RotatedFile

__all__ = ["Trail"]

_CHUNK: Final = 1 << 20
_FRAME_HEADER: Final = 18
"""At most so many bytes say how long the content is."""


class Damaged(Exception):
    """A compressed file is shorter than it says, or is none; `str()` names it and says why."""


class Trail:
    """The current file and what came before it."""

    def __init__(self, file: AppendFile, rotated: Sequence[RotatedFile] = ()) -> None:
        """Nothing is opened here.

        Args:
            file: the current file.
            rotated: those before it, the oldest first.
        """
        self._file = file
        self._unopened = list(rotated)
        self._segments: list[_Segment] = []  # the newest first
        self._start = 0  # offset of the oldest segment that is open

    def close(self) -> None:
        """Close the rotated files; the current one stays open."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()

    def find_last(self, line: bytes) -> int | None:
        """Offset of the last place where this line (with its line end) stands as a whole line, or None."""
        found = self._file.find_last(line)
        if found is None:
            try:
                found = self._find_before(line)
            except Damaged as error:
                log(
                    "warning",
                    "a damaged rotated file: replayed records are not looked for there",
                    error=str(error),
                )
        return found

    def _find_before(self, line: bytes) -> int | None:
        left = SEARCHED - self._file.end
        while left > 0 and (segment := self._open_next()) is not None:
            left -= segment.length
            at = segment.find_last(line)
            if at is not None:
                return self._start + at
        return None

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`, fewer only at the end of the current file."""
        parts = []
        begin = 0
        for segment in self._segments:
            begin -= segment.length
        for segment in reversed(self._segments):
            at = offset - begin
            if size and 0 <= at < segment.length:
                part = segment.read(at, min(size, segment.length - at))
                parts.append(part)
                offset += len(part)
                size -= len(part)
            begin += segment.length
        if size:
            parts.append(self._file.read(offset, size))
        return b"".join(parts)

    def _open_next(self) -> "_Segment | None":
        if not self._unopened:
            return None
        try:
            segment = _Segment(self._unopened.pop().path)
        except FileNotFoundError:
            self._unopened.clear()  # taken away, and those before it are no neighbours
            return None
        self._segments.append(segment)
        self._start -= segment.length
        return segment


class _Segment:
    """One rotated file, read forwards; going back in a compressed one begins anew."""

    def __init__(self, path: str) -> None:
        # In this order: the compressed one is there before the other one goes.
        try:
            self._raw: IO[bytes] = open(path, "rb")  # noqa: PTH123, SIM115 - closed by close()
            self.path, self._packed = path, False
            self.length = self._raw.seek(0, io.SEEK_END)
        except FileNotFoundError:
            self.path, self._packed = path + PACKED, True
            self._raw = open(self.path, "rb")  # noqa: PTH123, SIM115 - as above
            self.length = self._content_size()
        self._rewind()

    def close(self) -> None:
        self._raw.close()

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes.

        Raises:
            Damaged: there are fewer.
        """
        if offset < self._at:
            self._rewind()
        while self._at < offset:
            self._take(min(offset - self._at, _CHUNK))
        return self._take(size)

    def find_last(self, line: bytes) -> int | None:
        needle = b"\n" + line
        block, begin, found = b"\n", -1, None  # as if a line ended before the first one
        for part in self._blocks():
            block += part
            at = block.rfind(needle)
            if at >= 0:
                found = begin + at + 1
            kept = block[-(len(needle) - 1) :]
            begin += len(block) - len(kept)
            block = kept
        return found

    def _blocks(self) -> Iterator[bytes]:
        self._rewind()
        while self._at < self.length:
            yield self._take(min(self.length - self._at, _CHUNK))

    def _take(self, size: int) -> bytes:
        from zstandard import ZstdError  # noqa: PLC0415 - a `watch` that rotates nothing starts without it

        parts = []
        while size:
            try:
                part = self._stream.read(size)
            except ZstdError as error:
                raise Damaged(f"{self.path}: {error}") from error
            if not part:
                raise Damaged(f"{self.path}: it ends before its time")
            parts.append(part)
            size -= len(part)
            self._at += len(part)
        return b"".join(parts)

    def _rewind(self) -> None:
        self._raw.seek(0)
        self._at = 0
        self._stream: IO[bytes] = self._raw
        if self._packed:
            from zstandard import ZstdDecompressor  # noqa: PLC0415 - as above

            self._stream = ZstdDecompressor().stream_reader(self._raw, closefd=False)

    def _content_size(self) -> int:
        from zstandard import ZstdError, frame_content_size  # noqa: PLC0415 - as above

        size = -1
        with suppress(ZstdError):
            size = frame_content_size(self._raw.read(_FRAME_HEADER))
        if size < 0:
            self._raw.close()
            raise Damaged(f"{self.path}: it does not begin as we write them")
        return size
