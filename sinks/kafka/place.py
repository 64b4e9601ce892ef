"""What Kafka has of the log: known for certain, or open after an attempt whose end nobody told. No I/O here.

What is open is never guessed: the cursor that Kafka shows once everything older is finished says what became
of it.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bridge.delivery.sink import Record, Resume
from sinks.kafka.ends import Moved, superseded

__all__ = ["ID_BYTES", "Cursor", "Place"]

ID_BYTES: Final = 200
"""What one record behind the place takes in a cursor, which must fit into a message: more than its id."""


class Cursor(msgspec.Struct, frozen=True, rename="camel"):
    """Up to where Kafka has everything.

    Attributes:
        log_id: identity of the log.
        incarnation: of the opening of that log that wrote this.
        position: everything up to here is owned.
        mark: of the transaction that wrote this; no other has it.
        also: ids of records behind it that are owned too, because one before them was refused.
    """

    log_id: str
    incarnation: int
    position: int
    mark: str = ""
    also: tuple[str, ...] = ()


class Place:
    """Of one opening of a transactional sink.

    Args:
        name: the transactional id.
        given: where the log says that the sink is.
        found: the cursor that Kafka has; None when it has none.

    Attributes:
        committed: newest position that was committed by us, so certainly of this log; -1 when none was.
    """

    def __init__(self, name: str, given: Resume, found: Cursor | None) -> None:
        self.committed = -1
        self._name = name
        self._given = given
        self._known = found
        self._attempt: Cursor | None = None  # whether this one was committed is not known
        self._ours = False  # the transactional id is ours, and `_known` is what we found there
        self._mark, self._count = secrets.token_hex(8), 0

    @property
    def resume(self) -> Resume:
        """The place that Kafka has; the beginning of the given log when it has none."""
        if self._known is None:
            return Resume(self._given.log_id, self._given.incarnation, 0)
        return Resume(self._known.log_id, self._known.incarnation, self._known.position)

    @property
    def open_ended(self) -> bool:
        """What became of an attempt is not known."""
        return self._attempt is not None

    def has(self, record: Record) -> bool:
        """Whether Kafka has this record for certain."""
        return record.position <= self.committed or (
            self._known is not None and record.id in self._known.also
        )

    def behind(self, through: int, owned: Sequence[Record], refused: Mapping[int, str]) -> Cursor:
        """The place behind what is owned; never beyond a refused record, which is not a dead letter yet."""
        first = min(refused, default=None)
        self._count += 1
        mark = f"{self._mark}-{self._count}"
        position = through if first is None else min(through, first - 1)
        also = tuple(record.id for record in owned if record.position > position)
        return Cursor(self._given.log_id, self._given.incarnation, position, mark, also)

    def attempt(self, cursor: Cursor) -> None:
        """A transaction with this cursor begins; it is open until one of the calls below."""
        self._attempt = cursor

    def settle(self, cursor: Cursor) -> None:
        """It was committed."""
        self._known, self._attempt = cursor, None
        self.committed = max(self.committed, cursor.position)

    def give_up(self) -> None:
        """It was aborted."""
        self._attempt = None

    def resolve(self, found: Cursor | None) -> bool:
        """Hold what Kafka shows, with a new producer and everything older finished, against what is known.

        Returns:
            Whether Kafka lost the cursor that it had; the sink goes on at the log's own place.

        Raises:
            Moved: Kafka finished what an earlier instance had left open, after the sink was opened.
            Stopped: the cursor is neither what we had nor what we tried: somebody else writes there.
        """
        if not self._ours and found != self._known:
            raise Moved("Kafka's place in the log has moved on: it is asked anew.")
        self._ours = True
        lost = False
        if self._attempt is not None and found == self._attempt:
            self.settle(self._attempt)
        elif found is None:
            lost, self._known = self._known is not None, None
        elif found != self._known:
            raise superseded(self._name)
        self._attempt = None
        return lost
