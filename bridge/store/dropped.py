"""What a sink is told of a backlog that it will not get. No I/O here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import uuid4

from bridge.changes.change import Cause, Change, Origin, StreamInfo, Type
from bridge.store.contract import Dropped, SnapshotRequest

__all__ = ["Tally", "begin_records", "dropped"]


class Tally:
    """What is dropped of one stream, by namespace.

    Attributes:
        stream: as it was described last.
        records: dropped.
        deletions: of those, deletions.
    """

    def __init__(self, stream: StreamInfo) -> None:
        self.stream = stream
        self.records: Counter[str] = Counter()
        self.deletions: Counter[str] = Counter()

    def count(self, stream: StreamInfo, records: Counter[str], gone: Sequence[Change]) -> None:
        """More of it: records by namespace, and those of them that are deletions."""
        self.stream = stream
        self.records.update(records)
        self.deletions.update(change.namespace for change in gone)

    def counts(self, scope: str) -> dict[str, int]:
        """What a RESYNC record says of one watch: of a namespace, or of all for ""."""
        if scope:
            return {"dropped": self.records[scope], "deletions": self.deletions[scope]}
        return {"dropped": self.records.total(), "deletions": self.deletions.total()}


def dropped(tallies: Mapping[str, Tally], end: int) -> Dropped:
    """What was done, as it is told."""
    return Dropped(
        {stream: tally.records.total() for stream, tally in tallies.items()},
        {stream: tally.deletions.total() for stream, tally in tallies.items()},
        end,
    )


def begin_records(tally: Tally, owed: Sequence[SnapshotRequest], now: int, epoch: int) -> list[Change]:
    """A RESYNC begin for each snapshot that will end it, or one with an id of its own."""
    pairs = [({"id": one.id, "snapshot": one.id}, one.scope) for one in owed] or [({"id": uuid4().hex}, "")]
    return [
        Change(
            Type.RESYNC, Origin.RESYNC, now, "", "", "", "", epoch, b"",
            {
                **stem,
                "cause": Cause.BACKLOG_FULL.value,
                "scope": scope,
                "phase": "begin",
                "counts": tally.counts(scope),
            },
        )
        for stem, scope in pairs
    ]  # fmt: skip
