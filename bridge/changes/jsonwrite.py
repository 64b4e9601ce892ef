"""Small JSON texts written fast: strings and times. No I/O here."""

from time import gmtime, strftime

import msgspec

__all__ = ["Clock", "escape", "quote"]


class Clock:
    """RFC 3339 text of microseconds since the epoch; the part above the second is kept from call to call."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, time: int) -> str:
        """As `2026-11-21T09:00:00.123456Z`."""
        second, micros = divmod(time, 1_000_000)
        if second != self._second:
            self._second = second
            self._text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        # Cheaper than a format specification: a leading 1 keeps the zeros.
        return f"{self._text}.{str(1_000_000 + micros)[1:]}Z"


def quote(text: str) -> str:
    """A JSON string."""
    return f'"{escape(text)}"'


def escape(text: str) -> str:
    """The inside of a JSON string."""
    try:
        return msgspec.json.encode(text).decode()[1:-1]
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can carry as an escape and UTF-8 cannot.
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else escape(c) for c in text)
