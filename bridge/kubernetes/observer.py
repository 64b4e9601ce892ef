"""What a watcher tells whoever listens. No I/O here; the runtime implements it over the log."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from bridge.changes.change import Cause, Cursor, Event

__all__ = ["Observer", "Phase"]


class Phase(StrEnum):
    """What a watch is doing, for readiness, metrics and the person who waits."""

    CONNECTING = "connecting"
    LISTING = "listing"
    LIVE = "live"
    BACKOFF = "backoff"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"
    REFUSED = "refused"
    """The server will not answer such a request, as with a field selector it does not know."""


class Observer(Protocol):
    """Called in order, one call at a time; each call may wait (backpressure) and then nothing is read."""

    async def listing(self, cause: Cause, from_rv: str) -> None:
        """A complete listing begins; an earlier unfinished one is void. `from_rv` is "" when unknown."""
        ...

    async def page(self, events: Sequence[Event]) -> None:
        """Items of the listing, in the order the server sent them (normally `namespace/name` bytes)."""
        ...

    async def listed(self, rv: str) -> None:
        """The listing is complete and consistent at `rv`: what it passed over may have been deleted."""
        ...

    async def changes(self, events: Sequence[Event], cursor: Cursor) -> None:
        """Live events in order, replays already dropped; `cursor` is right once they are durable."""
        ...

    async def bookmark(self, cursor: Cursor) -> None:
        """Progress without events."""
        ...

    async def poison(self, line: bytes, error: str) -> None:
        """A line of the stream that could not be understood; a listing (cause POISON) follows."""
        ...

    def phase(self, phase: Phase, reason: str) -> None:
        """The watch does something else now; `reason` is one sentence, "" when all is well."""
        ...
