"""A change as a sink gets it: rendered, with what its destination may need beside the bytes. No I/O here."""

from collections.abc import Mapping

import msgspec

from bridge.changes.change import Change, StreamInfo

__all__ = ["Record"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One rendered record.

    Attributes:
        position: its place in the log.
        value: in the sink's format, without a line end.
        key: `cluster/group/resource/namespace/name`, which orders; of control records without the last two.
        id: the same after any replay or restart; made for deduplication.
        sequence: compares as a string within one key and object; "" for control records.
        change: what it tells, for whoever needs more than `value` says (`type`, `uid`, `rv`, `origin`).
        stream: whose record it is, for topics and headers.
        attributes: the context attributes of a CloudEvent; None in every other format.
        data: what those attributes describe; the CloudEvent's `data` alone.
    """

    position: int
    value: bytes
    key: str
    id: str
    sequence: str
    change: Change
    stream: StreamInfo
    attributes: Mapping[str, str] | None = None
    data: bytes = b""

    @property
    def type(self) -> str:
        """ADDED, MODIFIED, DELETED, RESYNC or POISON."""
        return self.change.type
