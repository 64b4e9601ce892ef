"""The first part of a streaming list: the items, and the events that overtook its end marker. No I/O here.

A server sends the items of one snapshot in key order, then what happened since, then the marker (KEP-3157).
What happened since is legal before the marker [F6], but it is no item: a DELETED given as part of a
listing would be lost if we crashed between the listing and it. So from the first such event on, everything
is held back, and the listing counts as complete at the revision just before that event, which is
exactly the state that the items show. The held events follow as ordinary changes, cursor at the marker.
"""

from typing import Final

import msgspec

from bridge.changes.change import Event, Type
from bridge.errors import BridgeError
from bridge.kubernetes.revision import compare, predecessor

__all__ = ["InitialEvents", "Unusable"]

_HELD_BYTES: Final = 16 << 20


class Unusable(BridgeError):
    """This streaming list cannot be told apart into items and events; the caller lists in pages."""


class Listed(msgspec.Struct, frozen=True):
    """A complete listing.

    Attributes:
        rv: the revision at which the items are complete.
        held: events after `rv`, up to and including the marker.
    """

    rv: str
    held: list[Event]


class InitialEvents:
    """Sorts what arrives before the marker.

    Args:
        held_bytes: how much may be held back; a conforming server sends its marker within about a second.
    """

    def __init__(self, held_bytes: int = _HELD_BYTES) -> None:
        self._held: list[Event] = []
        self._held_bytes = held_bytes
        self._last_key = ""
        self._newest = ""

    @property
    def overtaken(self) -> bool:
        """Whether events arrive already, so that only the marker is missing."""
        return bool(self._held)

    def items(self, events: list[Event]) -> list[Event]:
        """Take the next events; return those that are items of the listing, in their order.

        Raises:
            Unusable: more is held back than fits, or the revisions cannot be compared.
        """
        items: list[Event] = []
        for event in events:
            if self._is_item(event):
                items.append(event)
                self._last_key = _key(event)
                if not self._newest or compare(event.rv, self._newest) == 1:
                    self._newest = event.rv
            else:
                self._hold(event)
        return items

    def end(self, marker_rv: str) -> Listed:
        """The marker came: everything up to its revision was sent.

        Raises:
            Unusable: the held events have no revision to resume before.
        """
        if not self._held:
            return Listed(marker_rv, [])
        before = predecessor(self._held[0].rv)
        if before is None:
            raise Unusable("events before the end marker have revisions that are not numbers")
        return Listed(before, self._held)

    def _is_item(self, event: Event) -> bool:
        if event.type != Type.ADDED:
            return False
        if self._held:
            # Older than what overtook the marker: this server does not send its items in order.
            return compare(event.rv, self._held[0].rv) == -1
        if not self._newest or _key(event) > self._last_key:
            return True
        return compare(event.rv, self._newest) != 1

    def _hold(self, event: Event) -> None:
        self._held.append(event)
        self._held_bytes -= len(event.object)
        if self._held_bytes < 0:
            raise Unusable("too many events arrived before the end marker of the streaming list")


def _key(event: Event) -> str:
    """Servers list in the order of this text, not of namespaces: `a-b/x` stands before `a/x`."""
    return f"{event.namespace}/{event.name}"
