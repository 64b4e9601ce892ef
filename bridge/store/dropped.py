"""What a sink is told of a backlog that it will not get. No I/O here."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from uuid import uuid4

from bridge.changes.change import Cause, Change, Origin, StreamInfo, Type
from bridge.store.contract import Dropped, SnapshotRequest

__all__ = ["Share", "Tally", "begin_records", "dropped", "oldest"]

Age: TypeAlias = tuple[int, int, str]
"""A revision in an order: its epoch, its length, itself."""


class Share(NamedTuple):
    """What some records mean to who does not get them.

    Attributes:
        records: how many, by namespace.
        deletions: those of them that are, without objects.
        oldest: revision of an object, by namespace.
    """

    records: Counter[str]
    deletions: list[Change]
    oldest: dict[str, Age]


def oldest(revisions: Iterable[tuple[str, int, str]]) -> dict[str, Age]:
    """Of each namespace the oldest of (namespace, epoch, revision)."""
    found: dict[str, Age] = {}
    for namespace, epoch, rv in revisions:
        age = (epoch, len(rv), rv)
        found[namespace] = min(found.get(namespace, age), age)
    return found


class Tally:
    """What is dropped of one stream, by namespace.

    Attributes:
        stream: as it was described last.
        records: dropped.
        deletions: of those, deletions.
        oldest: revision of an object that is dropped.
    """

    def __init__(self, stream: StreamInfo) -> None:
        self.stream = stream
        self.records: Counter[str] = Counter()
        self.deletions: Counter[str] = Counter()
        self.oldest: dict[str, Age] = {}

    def count(self, stream: StreamInfo, share: Share) -> None:
        """More of it."""
        self.stream = stream
        self.records.update(share.records)
        self.deletions.update(change.namespace for change in share.deletions)
        for namespace, age in share.oldest.items():
            self.oldest[namespace] = min(self.oldest.get(namespace, age), age)

    def counts(self, scope: str) -> dict[str, int]:
        """What a RESYNC record says of one watch: of a namespace, or of all for ""."""
        if scope:
            return {"dropped": self.records[scope], "deletions": self.deletions[scope]}
        return {"dropped": self.records.total(), "deletions": self.deletions.total()}

    def since(self, scope: str) -> str:
        """The oldest revision that is dropped of one watch, "" where nothing is."""
        ages = [age for namespace, age in self.oldest.items() if scope in {"", namespace}]
        return min(ages)[2] if ages else ""


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
                "from": tally.since(scope),
                "scope": scope,
                "phase": "begin",
                "counts": tally.counts(scope),
            },
        )
        for stem, scope in pairs
    ]  # fmt: skip
