"""From the bytes of a watch body to events, bookmarks and errors, or to the bad line. No I/O here."""

import msgspec

from bridge.changes.change import Event
from bridge.kubernetes.lines import LINE_LIMIT, Document, Lines
from bridge.kubernetes.scan import Bookmark, Failure, Malformed, Shape, read_line

__all__ = ["DocumentReader", "Fault"]


class Fault(msgspec.Struct, frozen=True):
    """Where reading had to stop.

    Attributes:
        line: the bytes that could not be understood; of an overlong line its start.
        error: one sentence.
        foreign: it is a whole JSON document, but of another conversation: a list, say [B15].
    """

    line: bytes
    error: str
    foreign: bool


class DocumentReader:
    """Reads one body; after a fault it reads nothing more.

    Args:
        shape: what the watch expects.
        limit: longest line, and longest document of several lines, in bytes.

    Attributes:
        fault: why reading stopped, or None; what was returned before stays good.
    """

    def __init__(self, shape: Shape, limit: int = LINE_LIMIT) -> None:
        self.fault: Fault | None = None
        self._shape = shape
        self._limit = limit
        self._lines = Lines(limit)
        self._document: Document | None = None

    def receive(self, data: bytes) -> list[Event | Bookmark | Failure]:
        """Take the next bytes; return what they complete, in order."""
        if self.fault is not None:
            return []
        shape = self._shape
        lines = self._lines.feed(data)
        documents: list[Event | Bookmark | Failure] = []
        if self._document is None:
            for index, line in enumerate(lines):
                try:
                    documents.append(read_line(line, shape))
                except Malformed as error:
                    self._gather(lines[index:], documents, error)
                    break
        else:
            self._gather(lines, documents, None)
        if self._lines.overlong is not None and self.fault is None:
            why = f"a line is longer than {self._limit} bytes"
            self.fault = Fault(self._lines.overlong, why, foreign=False)
        return documents

    def end(self) -> list[Event | Bookmark | Failure]:
        """The body ended cleanly: a whole document without a line end counts, a torn one never was."""
        tail = self._lines.tail()
        if self.fault is not None or self._document is not None or not tail:
            return []
        try:
            return [read_line(tail, self._shape)]
        except Malformed as error:
            if _is_foreign(tail):
                self.fault = Fault(tail, str(error), foreign=True)
            return []

    def _gather(
        self, lines: list[bytes], documents: list[Event | Bookmark | Failure], error: Malformed | None
    ) -> None:
        """The slow way: a document may take several lines."""
        why = error
        for line in lines:
            if line.isspace():
                continue
            document = self._document or Document(self._limit)
            self._document = document
            complete = document.add(line)
            if complete is None:
                continue
            self._document = None
            try:
                if not complete:
                    raise why or Malformed("several lines that are not one JSON document")
                documents.append(read_line(document.text, self._shape))
            except Malformed as malformed:
                foreign = complete and _is_foreign(document.text)
                self.fault = Fault(document.text, str(malformed), foreign=foreign)
                return
            why = None


class _Head(msgspec.Struct):
    type: msgspec.Raw | None = None
    kind: str = ""


def _is_foreign(document: bytes) -> bool:
    try:
        head = msgspec.json.decode(document, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return head.type is None
