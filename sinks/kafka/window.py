"""What is on its way to Kafka, and what must come again after a failure. No I/O here.

Kafka keeps the order of what we hand it, so several batches may be on their way at once. When one record
fails, everything behind it comes again: what of that was delivered is a repeated suffix, never a stale end.
"""

from collections.abc import Iterable
from typing import Final, Protocol

__all__ = ["Failure", "Slot", "Window"]

LIMIT: Final = 5000
"""Messages on their way: so many reports served in one go take the event loop about 5 ms."""


class Failure(Protocol):
    """An error of librdkafka (`KafkaError`)."""

    def name(self) -> str:
        """Its name, as `MSG_SIZE_TOO_LARGE`."""
        ...

    def str(self) -> str:
        """What it says."""
        ...


class Slot:
    """One record on its way; called by librdkafka once for each of its messages.

    It belongs to one window for ever: a report that comes late touches no other.
    """

    __slots__ = ("error", "left", "position", "topic", "window")

    def __init__(self, window: "Window", position: int, topic: str, messages: int) -> None:
        self.window = window
        self.position = position
        self.topic = topic
        self.left = messages
        self.error: Failure | None = None

    def __call__(self, error: Failure | None, _message: object) -> None:
        """Take the report of one message. Never raises and never calls the producer."""
        self.left -= 1
        window = self.window
        window.in_flight -= 1
        if error is None:
            window.delivered += 1
        else:
            window.failed(self, error)


class Window:
    """The records of one producer that are not owned yet, or owned and not yet asked for."""

    __slots__ = ("_newest", "delivered", "failed_at", "gap_at", "in_flight", "singly_through", "slots")

    def __init__(self) -> None:
        self.in_flight = 0
        self.delivered = 0  # messages, ever: that it grows is progress
        self.slots: dict[int, Slot] = {}
        self.failed_at: int | None = None
        self.gap_at: int | None = None
        self.singly_through = -1
        self._newest = -1

    def failed(self, slot: Slot, error: Failure) -> None:
        """This record will not arrive; what was sent behind it must come again."""
        slot.error = slot.error or error
        if self.failed_at is None or slot.position < self.failed_at:
            self.failed_at = slot.position

    def take(self, position: int, topic: str, messages: int) -> Slot:
        """A record that is about to be sent; whatever was sent behind it before must then come again too."""
        if position < self._newest:
            self.slots = {at: slot for at, slot in self.slots.items() if at < position}
        self._newest = position
        slot = self.slots[position] = Slot(self, position, topic, messages)
        self.in_flight += messages
        return slot

    def may_begin(self, first: int, *, alone: bool) -> bool:
        """Whether records from position `first` on keep the order.

        Behind a failure or a gap only who begins there, or who knows that nothing else is on its way.
        """
        stale = [at for at in (self.failed_at, self.gap_at) if at is not None]
        return alone or not stale or first <= min(stale)

    def begin_again(self) -> None:
        """Nothing is in flight: what was delivered before the failure is kept, the rest comes again."""
        if self.failed_at is not None:
            failed_at = self.failed_at
            self.slots = {at: slot for at, slot in self.slots.items() if at < failed_at}
        self.failed_at = self.gap_at = None

    def send_singly(self) -> None:
        """One of the records on their way spoils its whole batch: the next time each is sent alone."""
        self.singly_through = max(self.slots, default=self.singly_through)

    def forget(self, positions: Iterable[int]) -> None:
        """These are owned, and their owner knows."""
        for position in positions:
            self.slots.pop(position, None)
