"""How much of a snapshot one listing addresses, so that a slow sink need not keep all of it. No I/O here."""

from collections.abc import Sequence

import msgspec

from bridge.changes.change import Event
from bridge.changes.reconcile import object_key

__all__ = ["Portion", "Progress"]


class Progress(msgspec.Struct, frozen=True):
    """How far a snapshot has come.

    Attributes:
        after: objects up to this key were addressed; b"" for none.
        added: how many.
        end: where the last portion ends in the log.
    """

    after: bytes = b""
    added: int = 0
    end: int = 0


class Portion:
    """The objects of one listing between two keys: as many as there is room for, and at least one.

    Pages come in the order of keys as a rule. Where they do not, whatever lies between the two keys is in
    the portion wherever it comes in the listing.

    Args:
        after: objects up to this key were in earlier portions.

    Attributes:
        full: there is more, for the next one.
        through: the greatest key so far.
    """

    def __init__(self, after: bytes) -> None:
        self.full = False
        self.through = after
        self._after = after

    def take(self, events: Sequence[Event], room: int) -> list[Event]:
        """What of a page is in the portion, with `room` bytes left for it."""
        taken: list[Event] = []
        for event in events:
            key = object_key(event.namespace, event.name)
            if key <= self._after:
                continue
            room -= len(event.object)
            if room < 0 and self.through > self._after:
                self.full = True
            if not self.full:
                self.through = max(self.through, key)
            if key <= self.through:
                taken.append(event)
        return taken

    def covers(self, event: Event) -> bool:
        """Whether an object is in the portion, once the listing has ended."""
        key = object_key(event.namespace, event.name)
        return key > self._after and (key <= self.through or not self.full)
