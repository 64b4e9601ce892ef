"""The control table of a watch: every state, every signal, what follows. No I/O here.

Two laws. Everything that moves a watch from one state to another is in `TABLE`; what stands neither
there nor in `IMPOSSIBLE` does not exist. And no move forgets the cursor: only a complete listing
replaces it.

Two states decide without asking the server: START says FRESH (to LISTING), RESUMABLE (to PROBING) or
EXPIRED (a checkpoint that is no revision; to LISTING); LISTING says STREAMABLE or PAGEABLE. The others each
have one request under way, or wait before making it (`~` a moment, `*` with backoff, `#` slowly):

```
signal        PROBING     CHECKING    STREAMING   PAGING      RESUMING    WATCHING
SOUND         RESUMING    LISTING     -           -           -           -
UNPROVEN      RESUMING    LISTING     -           -           -           -
REWOUND       LISTING     LISTING     LISTING     LISTING     -           -
OPENED        -           -           STREAMING   -           WATCHING    -
PAGED         -           -           -           PAGING      -           -
LISTED        -           -           WATCHING    RESUMING    -           -
INCONSISTENT  -           -           -           LISTING*    -           -
INEXACT       -           -           -           LISTING     -           -
STALLED       -           -           PAGING      -           -           -
ENDED         -           -           LISTING*    -           -           PROBING~
SHORT         -           -           -           -           -           PROBING*
SILENT        -           -           -           -           -           CHECKING*
IDLE          -           -           -           -           -           PROBING
CUT           PROBING*    CHECKING*   LISTING*    PAGING*     PROBING*    PROBING*
GARBLED       -           -           LISTING*    -           -           RESUMING~
POISONED      -           -           -           -           -           CHECKING
STUCK         -           -           -           -           -           CHECKING*
EXPIRED       LISTING~    -           LISTING*    LISTING*    CHECKING~   CHECKING~
EXPIRED_AGAIN -           -           -           -           CHECKING*   CHECKING*
TOO_LARGE     -           -           LISTING*    PAGING*     PROBING*    PROBING*
BUSY          PROBING*    -           LISTING*    PAGING*     PROBING*    PROBING*
FAILED        PROBING*    -           LISTING*    PAGING*     PROBING*    PROBING*
NONSENSE      PROBING*    -           LISTING*    PAGING*     PROBING*    PROBING*
UNSUPPORTED   -           -           PAGING      LISTING#    PROBING#    PROBING#
FORBIDDEN     PROBING#    -           PAGING      LISTING#    PROBING#    PROBING#
ABSENT        -           -           PAGING      LISTING#    PROBING#    PROBING#
DEMANDED      CHECKING    -           -           -           CHECKING    CHECKING
```
"""

from enum import StrEnum
from typing import Final, NamedTuple

from bridge.changes.change import Cause

__all__ = ["IMPOSSIBLE", "TABLE", "Move", "Pace", "Signal", "State"]


class State(StrEnum):
    """What a watch is about."""

    START = "START"
    """Nothing was asked yet."""
    PROBING = "PROBING"
    """Is the server's history at least as long as ours? A watch from the future is silence [B8]."""
    CHECKING = "CHECKING"
    """The same question, before a listing: has the server been rewound [A12]?"""
    LISTING = "LISTING"
    """A complete listing is due; decide how."""
    STREAMING = "STREAMING"
    """A streaming list (KEP-3157): initial events until the marker."""
    PAGING = "PAGING"
    """A list in pages."""
    RESUMING = "RESUMING"
    """A watch from the cursor was asked for."""
    WATCHING = "WATCHING"
    """Events flow."""


class Signal(StrEnum):
    """What happened."""

    FRESH = "FRESH"
    """There is no cursor."""
    RESUMABLE = "RESUMABLE"
    """There is a cursor that may be sent."""
    STREAMABLE = "STREAMABLE"
    """Try a streaming list."""
    PAGEABLE = "PAGEABLE"
    """Streaming is not supported here, did not work, or does not fit."""
    SOUND = "SOUND"
    """A consistent read is not older than what we have seen."""
    UNPROVEN = "UNPROVEN"
    """The probe could not be answered, and waiting for it would do more harm than going on."""
    REWOUND = "REWOUND"
    """A consistent read is older than what we have seen: restored from a backup, or another server."""
    OPENED = "OPENED"
    """200, and a body of the right kind begins."""
    PAGED = "PAGED"
    """A page was taken and another follows."""
    LISTED = "LISTED"
    """The listing is complete: last page, or the end marker of a streaming list."""
    INCONSISTENT = "INCONSISTENT"
    """The pages of one list contradict each other."""
    INEXACT = "INEXACT"
    """A list at exactly our revision is not to be had."""
    STALLED = "STALLED"
    """A streaming list whose marker does not come [F4], or which cannot be told from live events."""
    ENDED = "ENDED"
    """A clean end: the normal fate of a watch [B3]."""
    SHORT = "SHORT"
    """A clean end at once, without one event."""
    SILENT = "SILENT"
    """That again and again: probably a 410 that is not said [B4]."""
    IDLE = "IDLE"
    """Nothing came although bookmarks were regular, or the deadline passed [H1] [H3]."""
    CUT = "CUT"
    """No connection, or a body that ended before its end."""
    GARBLED = "GARBLED"
    """A line that cannot be understood; perhaps the transport's fault."""
    POISONED = "POISONED"
    """The same again from the same revision: the server's fault [C14]."""
    STUCK = "STUCK"
    """The server says twice that it cannot send what follows this revision [D16] [D17]."""
    EXPIRED = "EXPIRED"
    """410, in any of its forms, or a revision that the server cannot read."""
    EXPIRED_AGAIN = "EXPIRED_AGAIN"
    """410 right after a complete listing [B7]."""
    TOO_LARGE = "TOO_LARGE"
    """Our revision is in the server's future."""
    BUSY = "BUSY"
    """429."""
    FAILED = "FAILED"
    """Any other error that may pass by itself."""
    NONSENSE = "NONSENSE"
    """200, but not what a Kubernetes API server sends."""
    UNSUPPORTED = "UNSUPPORTED"
    """400, 405, 422: the request itself is refused."""
    FORBIDDEN = "FORBIDDEN"
    """401 or 403."""
    ABSENT = "ABSENT"
    """404; never a deletion [L3]."""
    DEMANDED = "DEMANDED"
    """Somebody wants a complete listing."""


class Pace(StrEnum):
    """How soon the next request may be made."""

    NOW = ""
    SOON = "~"
    BACKOFF = "*"
    SLOWLY = "#"


class Move(NamedTuple):
    """What follows: the next state, how soon, and why a listing is due (None keeps the reason)."""

    state: State
    pace: Pace = Pace.NOW
    cause: Cause | None = None


_NOW, _SOON, _BACKOFF, _SLOWLY = Pace.NOW, Pace.SOON, Pace.BACKOFF, Pace.SLOWLY

TABLE: Final = {
    State.START: {
        Signal.FRESH: Move(State.LISTING),
        Signal.RESUMABLE: Move(State.PROBING),
        Signal.EXPIRED: Move(State.LISTING, _NOW, Cause.EXPIRED),
    },
    State.PROBING: {
        Signal.SOUND: Move(State.RESUMING),
        Signal.UNPROVEN: Move(State.RESUMING),
        Signal.REWOUND: Move(State.LISTING, _NOW, Cause.EPOCH),
        Signal.EXPIRED: Move(State.LISTING, _SOON, Cause.EXPIRED),
        Signal.CUT: Move(State.PROBING, _BACKOFF),
        Signal.BUSY: Move(State.PROBING, _BACKOFF),
        Signal.FAILED: Move(State.PROBING, _BACKOFF),
        Signal.NONSENSE: Move(State.PROBING, _BACKOFF),
        Signal.FORBIDDEN: Move(State.PROBING, _SLOWLY),
        Signal.DEMANDED: Move(State.CHECKING),
    },
    State.CHECKING: {
        Signal.SOUND: Move(State.LISTING),
        Signal.UNPROVEN: Move(State.LISTING),
        Signal.REWOUND: Move(State.LISTING, _NOW, Cause.EPOCH),
        Signal.CUT: Move(State.CHECKING, _BACKOFF),
    },
    State.LISTING: {
        Signal.STREAMABLE: Move(State.STREAMING),
        Signal.PAGEABLE: Move(State.PAGING),
    },
    State.STREAMING: {
        Signal.OPENED: Move(State.STREAMING),
        Signal.LISTED: Move(State.WATCHING),
        Signal.REWOUND: Move(State.LISTING, _NOW, Cause.EPOCH),
        Signal.STALLED: Move(State.PAGING),
        Signal.ENDED: Move(State.LISTING, _BACKOFF),
        Signal.CUT: Move(State.LISTING, _BACKOFF),
        Signal.GARBLED: Move(State.LISTING, _BACKOFF),
        Signal.EXPIRED: Move(State.LISTING, _BACKOFF),
        Signal.TOO_LARGE: Move(State.LISTING, _BACKOFF),
        Signal.BUSY: Move(State.LISTING, _BACKOFF),
        Signal.FAILED: Move(State.LISTING, _BACKOFF),
        Signal.NONSENSE: Move(State.LISTING, _BACKOFF),
        Signal.UNSUPPORTED: Move(State.PAGING),
        Signal.FORBIDDEN: Move(State.PAGING),
        Signal.ABSENT: Move(State.PAGING),
    },
    State.PAGING: {
        Signal.PAGED: Move(State.PAGING),
        Signal.LISTED: Move(State.RESUMING),
        Signal.REWOUND: Move(State.LISTING, _NOW, Cause.EPOCH),
        Signal.INCONSISTENT: Move(State.LISTING, _BACKOFF),
        Signal.INEXACT: Move(State.LISTING),
        Signal.CUT: Move(State.PAGING, _BACKOFF),
        Signal.EXPIRED: Move(State.LISTING, _BACKOFF),
        Signal.TOO_LARGE: Move(State.PAGING, _BACKOFF),
        Signal.BUSY: Move(State.PAGING, _BACKOFF),
        Signal.FAILED: Move(State.PAGING, _BACKOFF),
        Signal.NONSENSE: Move(State.PAGING, _BACKOFF),
        Signal.UNSUPPORTED: Move(State.LISTING, _SLOWLY),
        Signal.FORBIDDEN: Move(State.LISTING, _SLOWLY),
        Signal.ABSENT: Move(State.LISTING, _SLOWLY),
    },
    State.RESUMING: {
        Signal.OPENED: Move(State.WATCHING),
        Signal.CUT: Move(State.PROBING, _BACKOFF),
        Signal.EXPIRED: Move(State.CHECKING, _SOON, Cause.EXPIRED),
        Signal.EXPIRED_AGAIN: Move(State.CHECKING, _BACKOFF, Cause.EXPIRED),
        Signal.TOO_LARGE: Move(State.PROBING, _BACKOFF),
        Signal.BUSY: Move(State.PROBING, _BACKOFF),
        Signal.FAILED: Move(State.PROBING, _BACKOFF),
        Signal.NONSENSE: Move(State.PROBING, _BACKOFF),
        Signal.UNSUPPORTED: Move(State.PROBING, _SLOWLY),
        Signal.FORBIDDEN: Move(State.PROBING, _SLOWLY),
        Signal.ABSENT: Move(State.PROBING, _SLOWLY),
        Signal.DEMANDED: Move(State.CHECKING),
    },
    State.WATCHING: {
        Signal.ENDED: Move(State.PROBING, _SOON),
        Signal.SHORT: Move(State.PROBING, _BACKOFF),
        Signal.SILENT: Move(State.CHECKING, _BACKOFF, Cause.EXPIRED),
        Signal.IDLE: Move(State.PROBING),
        Signal.CUT: Move(State.PROBING, _BACKOFF),
        Signal.GARBLED: Move(State.RESUMING, _SOON),
        Signal.POISONED: Move(State.CHECKING, _NOW, Cause.POISON),
        Signal.STUCK: Move(State.CHECKING, _BACKOFF, Cause.POISON),
        Signal.EXPIRED: Move(State.CHECKING, _SOON, Cause.EXPIRED),
        Signal.EXPIRED_AGAIN: Move(State.CHECKING, _BACKOFF, Cause.EXPIRED),
        Signal.TOO_LARGE: Move(State.PROBING, _BACKOFF),
        Signal.BUSY: Move(State.PROBING, _BACKOFF),
        Signal.FAILED: Move(State.PROBING, _BACKOFF),
        Signal.NONSENSE: Move(State.PROBING, _BACKOFF),
        Signal.UNSUPPORTED: Move(State.PROBING, _SLOWLY),
        Signal.FORBIDDEN: Move(State.PROBING, _SLOWLY),
        Signal.ABSENT: Move(State.PROBING, _SLOWLY),
        Signal.DEMANDED: Move(State.CHECKING),
    },
}

_CHOICES: Final = {Signal.FRESH, Signal.RESUMABLE, Signal.STREAMABLE, Signal.PAGEABLE}
_PROOFS: Final = {Signal.SOUND, Signal.UNPROVEN}
_LISTINGS: Final = {Signal.PAGED, Signal.LISTED, Signal.INCONSISTENT, Signal.INEXACT, Signal.STALLED}
_OF_A_WATCH: Final = {Signal.SHORT, Signal.SILENT, Signal.IDLE, Signal.POISONED, Signal.STUCK}
_OF_A_BODY: Final = {Signal.ENDED, Signal.GARBLED}
_REFUSALS: Final = {Signal.UNSUPPORTED, Signal.FORBIDDEN, Signal.ABSENT}
_PASSING: Final = {Signal.TOO_LARGE, Signal.BUSY, Signal.FAILED, Signal.NONSENSE}

IMPOSSIBLE: Final = {
    # No request is under way, so nothing can answer.
    State.START: frozenset(Signal) - {Signal.FRESH, Signal.RESUMABLE, Signal.EXPIRED},
    State.LISTING: frozenset(Signal) - {Signal.STREAMABLE, Signal.PAGEABLE},
    # A probe is one answer with a revision in it; what refuses it says nothing about the resource.
    State.PROBING: frozenset(
        _CHOICES
        | _LISTINGS
        | _OF_A_WATCH
        | _OF_A_BODY
        | {Signal.OPENED, Signal.EXPIRED_AGAIN, Signal.TOO_LARGE, Signal.UNSUPPORTED, Signal.ABSENT}
    ),
    # Before a listing an unanswered probe is UNPROVEN; a demand waits until a running listing is done.
    State.CHECKING: frozenset(
        _CHOICES
        | _LISTINGS
        | _OF_A_WATCH
        | _OF_A_BODY
        | _REFUSALS
        | _PASSING
        | {Signal.OPENED, Signal.EXPIRED, Signal.EXPIRED_AGAIN, Signal.DEMANDED}
    ),
    State.STREAMING: frozenset(
        _CHOICES
        | _PROOFS
        | _OF_A_WATCH
        | {Signal.PAGED, Signal.INCONSISTENT, Signal.INEXACT, Signal.EXPIRED_AGAIN, Signal.DEMANDED}
    ),
    # A page is read as a whole: it cannot end, it can only be cut or be nonsense.
    State.PAGING: frozenset(
        _CHOICES
        | _PROOFS
        | _OF_A_WATCH
        | _OF_A_BODY
        | {Signal.OPENED, Signal.STALLED, Signal.EXPIRED_AGAIN, Signal.DEMANDED}
    ),
    # No body yet.
    State.RESUMING: frozenset(_CHOICES | _PROOFS | _LISTINGS | _OF_A_WATCH | _OF_A_BODY | {Signal.REWOUND}),
    State.WATCHING: frozenset(_CHOICES | _PROOFS | _LISTINGS | {Signal.REWOUND, Signal.OPENED}),
}
