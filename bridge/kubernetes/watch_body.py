"""One open watch body: bytes become items of a listing, live events, progress, an end. No I/O here."""

import msgspec

from bridge.changes.change import Event
from bridge.kubernetes.diagnosis import Diagnosis
from bridge.kubernetes.documents import DocumentReader, Fault
from bridge.kubernetes.initial_events import InitialEvents, Listed, Unusable
from bridge.kubernetes.revision import LaggingCursor, OutOfOrder, compare, is_sendable
from bridge.kubernetes.scan import Bookmark, Failure
from bridge.kubernetes.transitions import Signal

__all__ = ["Harvest", "WatchBody"]


class Harvest(msgspec.Struct):
    """What some bytes held, in the order in which it happened: fields from top to bottom.

    Attributes:
        items: items of the streaming list.
        listed: set when its end marker came.
        events: live events; replays are dropped already.
        bookmarks: how many bookmarks came.
        moved: the cursor moved; an event that came again does not move it.
        refusal: why this streaming list cannot be used; nothing behind its items was read.
        failure: the ERROR that ended the body; nothing behind it was read [B17].
        fault: the line that could not be understood; nothing behind it was read.
    """

    items: list[Event] = msgspec.field(default_factory=list)
    listed: Listed | None = None
    events: list[Event] = msgspec.field(default_factory=list)
    bookmarks: int = 0
    moved: bool = False
    refusal: Diagnosis | None = None
    failure: Failure | None = None
    fault: Fault | None = None


class WatchBody:
    """Reads one body, from initial events to live ones where it has both.

    Args:
        reader: of this body.
        cursor: of the watch; moves with what is harvested.
        initial: set for a streaming list.
        floor: greatest revision seen before a streaming list, which must not end below it; "" for none.
    """

    def __init__(
        self, reader: DocumentReader, cursor: LaggingCursor, initial: InitialEvents | None, floor: str
    ) -> None:
        self._reader = reader
        self._cursor = cursor
        self._initial = initial
        self._floor = floor

    @property
    def overtaken(self) -> bool:
        """Whether a streaming list sends live events already, so that only its marker is missing."""
        return self._initial is not None and self._initial.overtaken

    def receive(self, data: bytes) -> Harvest:
        """Take the next bytes."""
        return self._harvest(self._reader.receive(data))

    def end(self) -> Harvest:
        """The body ended cleanly."""
        return self._harvest(self._reader.end())

    def _harvest(self, documents: list[Event | Bookmark | Failure]) -> Harvest:
        harvest = Harvest()
        start = 0
        if self._initial is not None:
            try:
                start = self._take_initial(self._initial, documents, harvest)
            except Unusable as error:
                harvest.refusal = Diagnosis(Signal.STALLED, str(error))
        if harvest.refusal is not None or harvest.failure is not None:
            return harvest
        if self._initial is not None or self._take_live(documents[start:] if start else documents, harvest):
            harvest.fault = self._reader.fault
        return harvest

    def _take_initial(
        self, initial: InitialEvents, documents: list[Event | Bookmark | Failure], harvest: Harvest
    ) -> int:
        events: list[Event] = []
        for index, document in enumerate(documents):
            if isinstance(document, Event):
                events.append(document)
            elif isinstance(document, Failure):
                harvest.failure = document
                break
            elif document.initial_events_end:
                harvest.items = initial.items(events)
                self._mark(initial, document.rv, harvest)
                return index + 1
            # Any other bookmark before the marker neither ends nor moves anything [F6].
        harvest.items = initial.items(events)
        return len(documents)

    def _mark(self, initial: InitialEvents, marker: str, harvest: Harvest) -> None:
        if not is_sendable(marker):
            raise Unusable(f"the streaming list ended at the revision {marker[:40]!r}, which is none")
        if self._floor and compare(marker, self._floor) == -1:
            why = f"the streaming list is of revision {marker}, but {self._floor} was seen before"
            harvest.refusal = Diagnosis(Signal.REWOUND, why)
            return
        harvest.listed = initial.end(marker)
        self._initial = None
        self._cursor.complete(marker)

    def _take_live(self, documents: list[Event | Bookmark | Failure], harvest: Harvest) -> bool:
        """Take live documents; False when one of them ends the body."""
        admit, events = self._cursor.admit, harvest.events
        line = b""
        moves = self._cursor.moves
        try:
            for document in documents:
                if isinstance(document, Event):
                    line = document.object
                    if admit(document):
                        events.append(document)
                elif isinstance(document, Bookmark):
                    line = document.rv.encode()
                    harvest.bookmarks += 1
                    self._cursor.bookmark(document.rv)
                else:
                    harvest.failure = document
                    return False
        except OutOfOrder as error:
            harvest.fault = Fault(line, str(error), foreign=False)
            return False
        finally:
            harvest.moved = self._cursor.moves != moves
        return True
