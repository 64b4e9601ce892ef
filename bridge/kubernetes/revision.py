"""What resourceVersions mean to a watch: which may be sent, and the cursor that lags behind. No I/O here.

Revisions of one resource are decimal numbers that only grow (KEP-5504). A few aggregated servers use
other strings; of those only equality is known, and order is the order of arrival.
"""

from bridge.changes.change import Cursor, Event
from bridge.changes.revision import compare, is_revision
from bridge.errors import BridgeError

__all__ = ["LaggingCursor", "OutOfOrder", "compare", "is_revision", "is_sendable", "predecessor"]


class OutOfOrder(BridgeError):
    """A revision decreased within one watch, or is none; the caller treats the event as poison [D12]."""


def is_sendable(rv: str) -> bool:
    """Whether a stored revision may be sent as a place to resume from.

    A server answers nonsense with a 500 that looks transient, and "" or "0" with a restart that
    nobody notices, so what cannot be a revision is never sent. Foreign, non-numeric ones may be.
    """
    if is_revision(rv):
        return True
    return rv.isprintable() and rv.isascii() and " " not in rv and any(map(str.isalpha, rv))


def predecessor(rv: str) -> str | None:
    """The revision just before a numeric one: resuming there repeats the events of `rv`; None otherwise."""
    return str(int(rv) - 1) if is_revision(rv) and rv != "1" else None


class LaggingCursor:
    """Follows one watch and says where it may be resumed.

    Several events may share one revision, and a bookmark may even fall between them (kubernetes#110210),
    so a revision counts as complete only when a greater one has arrived on the same watch. A complete
    list is complete at its own revision at once.

    Args:
        cursor: where the previous process got to, or None before the first complete listing.

    Attributes:
        late: events at or below the revision that the watch was started from; passed on all the same.
        replayed: events dropped because they were taken before.
        moves: how often the cursor changed; what is passed on without a move is no progress.
        backward_bookmarks: bookmarks below a revision already seen; ignored.
    """

    def __init__(self, cursor: Cursor | None = None) -> None:
        self.moves = 0
        self.late = 0
        self.replayed = 0
        self.backward_bookmarks = 0
        self._rv = cursor.rv if cursor else ""
        self._newest = cursor.newest if cursor else ""
        self._seen: dict[str, None] = dict.fromkeys(cursor.seen) if cursor else {}
        self._last = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to resume from."""
        return bool(self._rv)

    @property
    def rv(self) -> str:
        """The revision to resume from, "" when unknown."""
        return self._rv

    @property
    def newest(self) -> str:
        """The greatest revision seen, "" when unknown."""
        return self._newest

    def snapshot(self) -> Cursor:
        """What to store beside the events taken so far."""
        return Cursor(self._rv, self._newest, tuple(self._seen))

    def complete(self, rv: str) -> None:
        """A listing was complete at `rv`: resume there, whatever was seen before."""
        self._rv = self._newest = rv
        self._last = ""
        self._seen = {}

    def start(self) -> str:
        """A new watch begins: forget the order of the previous one. Returns the revision to send."""
        self._last = ""
        return self._rv

    def admit(self, event: Event) -> bool:
        """Take the next event of this watch; False when it is a replay to be dropped.

        Raises:
            OutOfOrder: its revision is below that of the event before it, or is none; nothing was changed.
        """
        rv = event.rv
        if rv == self._newest:
            self._last = rv
            return self._admit_shared(event)
        if not self._advances(rv):
            if self._last and compare(rv, self._last) == -1:
                raise OutOfOrder(f"revision {rv} was sent after revision {self._last} on the same watch")
            self._last = rv
            return self._admit_late(event)
        self._last = rv
        self.moves += 1
        self._rv = self._newest or rv
        self._newest = rv
        self._seen = {f"{event.uid}/{event.type}": None}
        return True

    def bookmark(self, rv: str) -> bool:
        """Everything below `rv` has been sent; says whether that moved the cursor.

        Equal bookmarks are normal on an idle resource, lower ones were a bug of etcd (etcd#15220).

        Raises:
            OutOfOrder: this is no revision; nothing was changed.
        """
        if rv == self._newest:
            return False
        if not self._advances(rv):
            self.backward_bookmarks += 1
            return False
        self.moves += 1
        self._rv = self._newest or rv
        self._newest = rv
        self._seen = {}
        return True

    def _advances(self, rv: str) -> bool:
        """Whether `rv`, which is not the newest, is newer; a foreign revision is, by order of arrival."""
        newest = self._newest
        if is_revision(rv):
            return (len(rv), rv) > (len(newest), newest) or not is_revision(newest)
        if is_revision(newest) or not is_sendable(rv):
            raise OutOfOrder(f"{rv[:40]!r} is not a revision from which a watch could go on")
        return True

    def _admit_shared(self, event: Event) -> bool:
        key = f"{event.uid}/{event.type}"
        if key in self._seen:
            self.replayed += 1
            return False
        if self._rv == self._newest:
            self.late += 1
        else:
            self.moves += 1
        self._seen[key] = None
        return True

    def _admit_late(self, event: Event) -> bool:
        if compare(event.rv, self._rv) != 1:
            self.late += 1
            return True
        if f"{event.uid}/{event.type}" in self._seen:
            self.replayed += 1
            return False
        return True
