"""What the protocols have to tell, one noun for each method of the observer. No I/O here."""

from collections.abc import Sequence

import msgspec

from bridge.changes.change import Cause, Cursor, Event
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.transitions import Signal

__all__ = ["Began", "Changed", "Doing", "Items", "Listed", "Moved", "Poisoned", "Report", "Tally"]


class Began(msgspec.Struct, frozen=True):
    """A complete listing begins; an earlier unfinished one is void."""

    cause: Cause
    from_rv: str


class Items(msgspec.Struct, frozen=True):
    """Items of the listing."""

    events: Sequence[Event]


class Listed(msgspec.Struct, frozen=True):
    """The listing is complete."""

    rv: str


class Changed(msgspec.Struct, frozen=True):
    """Live events, and the cursor that is right once they are durable."""

    events: Sequence[Event]
    cursor: Cursor


class Moved(msgspec.Struct, frozen=True):
    """Progress without events."""

    cursor: Cursor


class Poisoned(msgspec.Struct, frozen=True):
    """A line that cannot be understood."""

    line: bytes
    error: str


class Doing(msgspec.Struct, frozen=True):
    """The watch does something else now."""

    phase: Phase
    reason: str


Report = Began | Items | Listed | Changed | Moved | Poisoned | Doing


class Tally(msgspec.Struct):
    """What one watch did so far, for metrics; read it at any time.

    Attributes:
        requests: watches and streaming lists asked for.
        received: bytes of watch bodies.
        listings: complete listings, by cause.
        signals: what happened, by signal.
    """

    requests: int = 0
    received: int = 0
    listings: dict[Cause, int] = msgspec.field(default_factory=dict)
    signals: dict[Signal, int] = msgspec.field(default_factory=dict)
