"""A watch or streaming list that was asked for: how long to wait for it. No I/O here."""

from typing import Final

import msgspec

from bridge.kubernetes.watch_body import Harvest, WatchBody

__all__ = ["STALL", "OpenWatch"]

STALL: Final = 30.0
"""Seconds without a byte after which a streaming list is given up [F4]."""
_GRACE: Final = 30.0
_SILENCE: Final = 200.0
_REGULAR_BOOKMARKS: Final = 2
_HEALTHY: Final = 120.0


class OpenWatch(msgspec.Struct):
    """One request for a stream, and its body once there is one.

    Attributes:
        ends: when the server should end it.
        body: None until it was answered with 200.
        opened_at: when it was answered.
        bookmarks: how many came.
        empty: no event or bookmark moved the cursor.
        overtaken_at: when a streaming list began to send live events before its marker.
    """

    ends: float
    body: WatchBody | None = None
    opened_at: float = 0.0
    bookmarks: int = 0
    empty: bool = True
    overtaken_at: float | None = None

    def open(self, body: WatchBody, now: float) -> None:
        """It was answered."""
        self.body = body
        self.opened_at = now

    def deadline(self, now: float, *, streaming: bool) -> float:
        """When to give up waiting for the next bytes.

        A healthy watch may be silent: no bookmark is sent while the server's revision equals the one the
        watch began at (121 s seen, real-apiserver 2.3), and some kinds never have any [E7]. Only after
        bookmarks came on this very body, which then come each minute even if they repeat themselves
        (real-apiserver 2.4), silence of more than three intervals means something [H3].
        """
        until = self.ends + _GRACE
        if streaming:
            return min(until, now + STALL)
        return min(until, now + _SILENCE) if self.bookmarks >= _REGULAR_BOOKMARKS else until

    def note(self, harvest: Harvest, now: float) -> None:
        """Remember what tells a healthy body from a sick one."""
        self.bookmarks += harvest.bookmarks
        if harvest.moved:
            self.empty = False
        if self.overtaken_at is None and self.body is not None and self.body.overtaken:
            self.overtaken_at = now

    def overdue(self, now: float) -> bool:
        """Whether live events have come for so long that the marker will not."""
        return self.overtaken_at is not None and now - self.overtaken_at >= STALL

    def healthy(self, now: float) -> bool:
        """Whether it lived so long that failures before it are another story [I2]."""
        return self.body is not None and now - self.opened_at >= _HEALTHY
