"""The bridge's own log: stderr, readable on a terminal, JSON lines otherwise.

`log` may be called from the event loop: it never waits for whoever reads stderr. A line that cannot be
written at once is dropped and counted, and the next line that gets through says how many were.
What can repeat goes through `Incidents`, so that a server that is down for a night costs a line each
five minutes, not one for each retry.
"""

import json
import logging
import math
import os
import re
import select
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TextIO

import msgspec

__all__ = ["Incidents", "Level", "Log", "Logger", "configure", "log", "wants_color"]

Level = Literal["debug", "info", "warning", "error"]

_RANK: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOR: dict[str, str] = {"debug": "\x1b[2m", "info": "\x1b[36m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = re.compile(r"[^\s\"'=\\]+")
# POLLOUT on a pipe promises room for PIPE_BUF bytes: a longer line could wait for the reader.
_LONGEST_LINE = select.PIPE_BUF
_LONGEST_VALUE = 1000


def wants_color(stream: TextIO) -> bool:
    """Whether colour may be written there: a terminal, not a dumb one, and NO_COLOR is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Logger(Protocol):
    """What takes a line of the log."""

    def __call__(self, level: Level, event: str, /, **fields: object) -> None:
        """Log that `event` happened; `fields` say to what and why."""
        ...


class Log:
    """Writes lines to one stream."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        form: Literal["auto", "text", "json"] = "auto",
        level: Level = "info",
        now: Callable[[], float] = time.time,
    ) -> None:
        """Decide form and colour once.

        Args:
            stream: where to; stderr as it is at the time of the call.
            form: `auto` is text on a terminal and JSON elsewhere.
            level: the least level that is written.
            now: seconds since the Unix epoch.
        """
        self._stream = stream if stream is not None else sys.stderr  # None if started with stderr closed
        terminal = self._stream is not None and self._stream.isatty()
        self._text = form == "text" or (form == "auto" and terminal)
        self._color = self._stream is not None and wants_color(self._stream)
        self._least = _RANK[level]
        self._now = now
        self._dropped = 0

    def __call__(self, level: Level, event: str, /, **fields: object) -> None:
        """Write one line, or drop and count it if stderr cannot take it now.

        Args:
            level: debug, info, warning or error.
            event: what happened, in a few words that are always the same.
            fields: to what, and why; None is left out. Never a credential.
        """
        if _RANK[level] < self._least:
            return
        if self._dropped:
            fields["dropped"] = self._dropped
        line = self._line(level, event, {key: value for key, value in fields.items() if value is not None})
        if self._write(line):
            self._dropped = 0
        else:
            self._dropped += 1

    def _line(self, level: Level, event: str, fields: dict[str, object]) -> bytes:
        at = datetime.fromtimestamp(self._now(), UTC)
        encode = self._as_text if self._text else _as_json
        longest = _LONGEST_VALUE
        while True:
            short = {key: _shorten(value, longest) for key, value in fields.items()}
            line = encode(at, level, event, short)
            if len(line) <= _LONGEST_LINE:
                return line
            if not longest:
                return encode(at, level, event[:500], {})
            longest //= 4

    def _as_text(self, at: datetime, level: Level, event: str, fields: dict[str, object]) -> bytes:
        word = f"{level.upper():<7}"
        if self._color:
            word = f"{_COLOR[level]}{word}\x1b[0m"
        pairs = "".join(f"  {key}={_plain(value)}" for key, value in fields.items())
        clock = at.astimezone().strftime("%H:%M:%S")
        return f"{clock} {word} {_printable(event)}{pairs}\n".encode(errors="backslashreplace")

    def _write(self, line: bytes) -> bool:
        """Whether the line got through. A stream that is gone, or full, is no reason to stop the bridge."""
        if self._stream is None:
            return False
        try:
            number = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # no file behind it, as in tests
            try:
                self._stream.write(line.decode())
            except (OSError, ValueError):
                return False
            return True
        try:
            poll = select.poll()
            poll.register(number, select.POLLOUT)
            ready = poll.poll(0)
            return bool(ready) and os.write(number, line) == len(line)
        except OSError:
            return False


def _as_json(at: datetime, level: Level, event: str, fields: dict[str, object]) -> bytes:
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = fields | {"time": stamp, "level": level, "event": event}
    ordered = {key: record.pop(key) for key in ("time", "level", "event")} | record
    return json.dumps(ordered, default=str).encode() + b"\n"


def _shorten(value: object, longest: int) -> object:
    """As JSON may have it: a word or a number, or a list of such."""
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if not isinstance(value, list | tuple):
        return _word(value, longest)
    words: list[object] = []
    room = longest
    for item in value:
        words.append(_word(item, longest))
        room -= len(str(words[-1]))
        if room < 0 and len(words) < len(value):
            return [*words[:-1], f"... ({len(value)} in all)"]
    return words


def _word(value: object, longest: int) -> str | float:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        return str(value)  # JSON has no NaN
    if not isinstance(value, str):
        try:
            value = msgspec.json.encode(value).decode()
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
            value = str(value)
    return value if len(value) <= longest else f"{value[:longest]}... ({len(value)} characters)"


def _plain(value: object) -> str:
    string = _printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))
    return string if _PLAIN.fullmatch(string) else json.dumps(string, ensure_ascii=False)


def _printable(string: str) -> str:
    """No control character reaches a terminal: what a server sends must not steer it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in string)


class Incidents:
    """At most one line per incident and stream, with counts.

    An incident is known by its key. Its first occurrence is logged at once; further ones are counted, and
    summed up in a line each `every` seconds, when it gets worse or another one, and when it ends.
    """

    def __init__(
        self, logger: Logger, *, every: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with no incident.

        Args:
            logger: takes the lines.
            every: seconds between two lines of an incident that goes on.
            clock: seconds, from any start, never back.
        """
        self._logger = logger
        self._every = every
        self._clock = clock
        self._open: dict[object, _Incident] = {}

    def report(self, key: object, level: Level, event: str, why: str = "", /, **fields: object) -> None:
        """It happened: logged if it is new, else counted.

        Args:
            key: which incident: say, ("watch", stream).
            level: of its lines.
            event: as for `log`; of several under one key the latest is shown.
            why: sort of its reason; each sort is told at once when it is the first of this incident.
            fields: of this occurrence; of several the latest are shown.
        """
        now = self._clock()
        known = self._open.get(key)
        if known is None:
            self._open[key] = _Incident(level, event, fields, {why}, since=now, told_at=now, count=1, told=1)
            self._logger(level, event, **fields)
            return
        news = _RANK[level] > _RANK[known.level] or why not in known.reasons
        known.reasons.add(why)
        known.level, known.event, known.fields = level, event, fields
        known.count += 1
        self._sum_up(known, now, at_once=news)

    def end(self, key: object, event: str, /, **fields: object) -> None:
        """It is over: one line with how often and how long, at info. Nothing if it was not open."""
        known = self._open.pop(key, None)
        if known is None:
            return
        seconds = round(self._clock() - known.since, 1)
        self._logger("info", event, **fields, times=known.count, seconds=seconds)

    def tick(self) -> None:
        """Sum up what is due though nothing new happened; call it now and then."""
        now = self._clock()
        for known in self._open.values():
            self._sum_up(known, now)

    def _sum_up(self, known: "_Incident", now: float, *, at_once: bool = False) -> None:
        if known.count == known.told or (now - known.told_at < self._every and not at_once):
            return
        known.told_at = now
        times, known.told = known.count - known.told, known.count
        seconds = round(now - known.since, 1)
        self._logger(
            known.level, known.event, **known.fields, again=times, times=known.count, seconds=seconds
        )


class _Incident(msgspec.Struct):
    level: Level
    event: str
    fields: dict[str, object]
    reasons: set[str]
    since: float
    told_at: float
    count: int
    told: int


class _Forward(logging.Handler):
    """Warnings of libraries, in the form of our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        log(level, record.getMessage(), logger=record.name)


_current: Log | None = None


def log(level: Level, event: str, /, **fields: object) -> None:
    """Write one line to the log of this process (`Log.__call__`)."""
    (_current or Log())(level, event, **fields)


def configure(**options: Any) -> Log:
    """Make the log of this process anew (`Log.__init__`), and let warnings of libraries go there too."""
    global _current  # noqa: PLW0603  # one process, one stderr
    _current = Log(**options)
    root = logging.getLogger()
    if not any(isinstance(handler, _Forward) for handler in root.handlers):
        root.addHandler(_Forward(logging.WARNING))
    return _current
