"""A record that a destination refused for good, kept until a person decides. No I/O here."""

from typing import Final

import msgspec

from bridge.changes.change import Change, StreamInfo
from bridge.errors import Refused

__all__ = ["MAX_NUMBER", "DeadLetter", "LettersFull"]

MAX_NUMBER: Final = (1 << 63) - 1
"""No letter has a greater number: SQLite has no greater integer."""


class LettersFull(Refused):
    """There is no room for another dead letter: the sink parks, its cursor stays before the record."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One refused record.

    Attributes:
        sink: whose destination refused it.
        position: where it stood in the log.
        stream: whose record it is.
        change: the record itself; rendered anew when it is shown or redriven.
        id: the record's id, which a redrive keeps.
        key: the record's key.
        sequence: the record's sequence; "" for control records.
        reason: one sentence of the destination.
        attempts: how often it was tried.
        first_at: of the first try, microseconds since the Unix epoch.
        last_at: of the last one.
        number: given by the store; 0 before.
    """

    sink: str
    position: int
    stream: StreamInfo
    change: Change
    id: str
    key: str
    sequence: str
    reason: str
    attempts: int
    first_at: int
    last_at: int
    number: int = 0
