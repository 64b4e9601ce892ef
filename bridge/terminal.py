"""The view for a person: one line for a change, and below a MODIFIED what changed, from what to what.

Text in, text out: whoever calls writes it. Nothing that a server sends reaches the terminal as a control
character.
"""

import json
import unicodedata
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bridge.changes.change import Change, Gone, StreamInfo, Type
from bridge.changes.difference import ABSENT, Difference, differences, news, path_text
from bridge.changes.summary import summary

__all__ = ["View"]

MOST_DIFFERENCES = 12
_MOST_NAME = 0.45
_LONGEST_VALUE = 400
_CONTEXT = 6
_MARGIN = len("00:00:00  MODIFIED  ")
_INDENT = " " * _MARGIN
_RESET = "\x1b[0m"
_STYLES = {
    "dim": "\x1b[2m",
    "bold": "\x1b[1m",
    "old": "\x1b[31m",
    "new": "\x1b[32m",
    Type.ADDED.value: "\x1b[32m",
    Type.MODIFIED.value: "\x1b[33m",
    Type.DELETED.value: "\x1b[31m",
    Type.RESYNC.value: "\x1b[35m",
    Type.POISON.value: "\x1b[35m",
}
Piece = tuple[str, str]
"""Text and the name of its style, "" for none."""


class View:
    """Shows changes as aligned, coloured lines, and remembers objects to say what changed in them."""

    def __init__(
        self,
        width: Callable[[], int],
        *,
        color: bool,
        resources: bool = False,
        memory: int = 16 << 20,
        local: Callable[[datetime], datetime] = datetime.astimezone,
    ) -> None:
        """Start with nothing remembered.

        Args:
            width: columns of the terminal, asked again for each `show`.
            color: whether to colour (`bridge.logs.wants_color`).
            resources: name the resource in each line: more than one is watched.
            memory: most bytes to keep of earlier versions; the least recently seen are forgotten, and
                their next change is shown without what changed.
            local: from UTC to the time zone of the reader.
        """
        self._width = width
        self._color = color
        self._resources = resources
        self._memory = _Memory(memory)
        self._local = local
        self._name_width = 0

    def show(self, stream: StreamInfo, changes: Sequence[Change]) -> str:
        """Lines for these changes, each with its newline."""
        columns = max(self._width(), 40)
        names = [self._name(stream, change) for change in changes]
        longest = max((_cells(name) for name in names), default=0)
        self._name_width = min(max(self._name_width, longest), int(columns * _MOST_NAME))
        lines: list[str] = []
        for name, change in zip(names, changes, strict=True):
            lines += self._lines(stream, change, name, columns)
        return "".join(lines)

    def _name(self, stream: StreamInfo, change: Change) -> str:
        parts = (stream.full_resource if self._resources else "", change.namespace, change.name)
        return _printable("/".join(part for part in parts if part)) or stream.full_resource

    def _lines(self, stream: StreamInfo, change: Change, name: str, columns: int) -> Iterator[str]:
        moment = self._local(datetime.fromtimestamp(change.time / 1e6, UTC)).strftime("%H:%M:%S")
        short = _cut(name, self._name_width)
        padding = " " * (self._name_width - _cells(short) + 2)
        head = [(moment, "dim"), ("  ", ""), (f"{change.type:<8}", change.type), ("  ", ""), (short, "bold")]
        about, changed = self._said(stream, change)
        room = columns - _MARGIN - self._name_width - 2
        if len(changed) == 1 and _needs(changed[0]) <= room:
            yield self._line([*head, (padding, ""), *_pieces(changed[0], room)], columns)
            return
        yield self._line(
            [*head, (padding, ""), (about, "dim" if change.type == Type.DELETED else "")], columns
        )
        for difference in changed[:MOST_DIFFERENCES]:
            yield self._line([(_INDENT, ""), *_pieces(difference, columns - len(_INDENT))], columns)
        if len(changed) > MOST_DIFFERENCES:
            yield self._line([(_INDENT, ""), (f"and {len(changed) - MOST_DIFFERENCES} more", "dim")], columns)

    def _said(self, stream: StreamInfo, change: Change) -> tuple[str, list[Difference]]:
        """What there is to say beside the name, and below it."""
        if change.type in (Type.RESYNC, Type.POISON):
            return _control(change), []
        before = self._memory.take((stream.name, change.uid))
        if change.type == Type.DELETED:
            return _gone(change), []
        self._memory.put((stream.name, change.uid), change.object)
        try:
            new = _parse(change.object)
            about = _printable(summary(stream, new))
            if change.type != Type.MODIFIED or before is None:
                return about, []
            changed = news(differences(_parse(before), new))
        except RecursionError:
            return "too deep to be read", []
        return about if changed else "nothing but bookkeeping", changed

    def _line(self, pieces: Sequence[Piece], columns: int) -> str:
        """Cut to the width, coloured, without blanks at the end."""
        shown: list[str] = []
        left = columns
        for text, style in pieces:
            part = _cut(text, left)
            left -= _cells(part)
            code = _STYLES.get(style, "") if self._color and part.strip() else ""
            shown.append(f"{code}{part}{_RESET}" if code else part)
            if left <= 0:
                break
        return "".join(shown).rstrip(" ") + "\n"


def _needs(difference: Difference) -> int:
    """Columns to show it whole."""
    return _cells(_printable(path_text(difference.path))) + _value_cells(difference)


def _value_cells(difference: Difference) -> int:
    values = [value for value in (difference.old, difference.new) if value is not ABSENT]
    return sum(_cells(_value(value)) for value in values) + (
        len(": + ") if len(values) == 1 else len(":  -> ")
    )


def _pieces(difference: Difference, room: int) -> list[Piece]:
    """Path and values, cut so that both are still told."""
    for_values = min(_value_cells(difference), room // 2)
    path = _cut_middle(_printable(path_text(difference.path)), room - for_values) + ": "
    left = room - _cells(path)
    if difference.old is ABSENT:
        return [(path, ""), ("+ " + _cut(_value(difference.new), left - 2), "new")]
    if difference.new is ABSENT:
        return [(path, ""), ("- " + _cut(_value(difference.old), left - 2), "old")]
    old, new = _fit(_value(difference.old), _value(difference.new), left - 4)
    return [(path, ""), (old, "old"), (" -> ", "dim"), (new, "new")]


def _fit(old: str, new: str, room: int) -> tuple[str, str]:
    """Both values within `room` columns, so that what differs is still seen."""
    if _cells(old) + _cells(new) <= room:
        return old, new
    same = next(
        (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    if same > 2 * _CONTEXT:
        old, new = (f"…{value[same - _CONTEXT :]}" for value in (old, new))
    half = max(room // 2, 2)
    spare = max(half - _cells(old), half - _cells(new), 0)
    return _cut(old, half + spare), _cut(new, half + spare)


def _value(value: Any) -> str:
    """A JSON value on one line: plain text where that cannot be mistaken for anything else."""
    if isinstance(value, str):
        head = value[:_LONGEST_VALUE]
        clear = head.isprintable() and head.strip() == head and head not in ("", "true", "false", "null")
        if clear and head[0] not in "\"'[{" and not head.isdigit():
            return head
        return _printable(json.dumps(head, ensure_ascii=False))
    if (
        isinstance(value, dict)
        and isinstance(value.get("type"), str)
        and isinstance(value.get("status"), str)
    ):
        reason = value.get("reason")  # a condition
        return _value(value["status"]) + (f" ({_value(reason)})" if reason else "")
    try:
        return _printable(json.dumps(value, ensure_ascii=False, separators=(",", ":"))[:_LONGEST_VALUE])
    except RecursionError:
        return "…"


def _gone(change: Change) -> str:
    extra = change.extra or {}
    why = {Gone.UNSELECTED: "no longer selected", Gone.UNKNOWN: "deleted, or no longer selected"}.get(
        extra.get("gone", ""), ""
    )
    return "; ".join(part for part in ("found missing" if extra.get("synthetic") else "", why) if part)


def _control(change: Change) -> str:
    """RESYNC and POISON: their members, as `phase=end  cause=expired  counts=3 added, 1 deleted`."""
    members = []
    for key, value in (change.extra or {}).items():
        if key == "counts" and isinstance(value, dict):
            counts = ", ".join(f"{count} {what}" for what, count in value.items() if count)
            members.append(f"{key}={counts or 'none'}")
        elif key != "raw":
            members.append(f"{key}={_value(value)}")
    return _printable("  ".join(members))


def _parse(body: bytes) -> Any:
    """The object, by the standard parser: it keeps integers whole.

    Raises:
        RecursionError: it is too deep, or has an integer too long, to be worth showing.
    """
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise RecursionError from error


def _printable(text: str) -> str:
    """No control character, no bidirectional override, no half surrogate."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cells(text: str) -> int:
    """Columns that a terminal needs: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, cells: int) -> str:
    """At most so many columns, with an ellipsis where something is missing."""
    if _cells(text) <= cells:
        return text
    left = cells - 1
    for index, character in enumerate(text):
        left -= _cell(character)
        if left < 0:
            return text[:index] + "…" if cells > 0 else ""
    return text


def _cut_middle(text: str, cells: int) -> str:
    """At most so many columns; both ends of a path tell more than its middle."""
    if _cells(text) <= cells:
        return text
    head = _cut(text, cells // 2)
    tail = text[::-1]
    while _cells(tail) > cells - _cells(head):
        tail = tail[:-1]
    return head + tail[::-1]


class _Memory:
    """The latest version of each object, compressed, least recently seen first; bounded in bytes."""

    _OVERHEAD = 300  # of an entry: key, bytes object, table

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self.size = 0

    def take(self, key: tuple[str, str]) -> bytes | None:
        packed = self._kept.pop(key, None)
        if packed is None:
            return None
        self.size -= len(packed) + self._OVERHEAD
        return zlib.decompress(packed)

    def put(self, key: tuple[str, str], body: bytes) -> None:
        packed = zlib.compress(body, 1)
        self._kept[key] = packed
        self.size += len(packed) + self._OVERHEAD
        while self.size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= len(oldest) + self._OVERHEAD
