"""How often a record was tried, and since when, also where it comes again in another delivery. No I/O."""

from typing import NamedTuple

from bridge.changes.record import Record
from bridge.delivery.sink import Delivery

__all__ = ["Parcel", "Tried", "Tries"]


class Parcel:
    """A delivery, and how often it was tried.

    Attributes:
        delivery: the same at each try, byte for byte.
        attempts: tries begun.
        first_at: when the first one began, microseconds since the Unix epoch.
        paced: whether the last failure was this lane's own, so that it waits for itself.
        seconds: how long the try took that was answered.
    """

    __slots__ = ("attempts", "delivery", "first_at", "paced", "seconds")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.attempts = 0
        self.first_at = 0
        self.paced = False
        self.seconds = 0.0


class Tried(NamedTuple):
    """What is known of one record.

    Attributes:
        attempts: how often it was handed over.
        first_at: when that was first, microseconds since the Unix epoch; 0 for never.
    """

    attempts: int = 0
    first_at: int = 0


class Tries:
    """The parcels of one sink that were tried and are not settled, and the records of those that come again.

    What comes again may be cut into other deliveries. It is noted by record only then: as long as all goes
    well this costs nothing for each record.
    """

    def __init__(self) -> None:
        self._begun: set[Parcel] = set()
        self._before: dict[int, Tried] = {}

    def begin(self, parcel: Parcel, now: int) -> None:
        """A try begins, at a time in microseconds since the Unix epoch."""
        parcel.attempts += 1
        parcel.first_at = parcel.first_at or now
        self._begun.add(parcel)

    def settle(self, parcel: Parcel) -> None:
        """Its records will not come again."""
        self._begun.discard(parcel)
        if self._before:
            for record in parcel.delivery.records:
                self._before.pop(record.position, None)

    def rewind(self) -> None:
        """Whatever is not settled will come again."""
        for parcel in self._begun:
            for record in parcel.delivery.records:
                self._before[record.position] = self.of(parcel, record)
        self._begun.clear()

    def clear(self) -> None:
        """Nothing that was tried will come again."""
        self._begun.clear()
        self._before.clear()

    def of(self, parcel: Parcel, record: Record) -> Tried:
        """All tries of one record of a parcel, those in other parcels included."""
        before = self._before.get(record.position, Tried())
        return Tried(before.attempts + parcel.attempts, before.first_at or parcel.first_at)
