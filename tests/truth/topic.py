"""The judge of a topic: what a reader of Kafka finds, held against etcd and against the cluster. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.truth.oracle import Fact, Judgement, judge

__all__ = ["Message", "TableJudgement", "compare_tables", "judge_topic", "table_of"]


class Message(NamedTuple):
    """One record of a topic as an independent reader shows it; `value` is None for a tombstone."""

    key: str
    value: bytes | None
    headers: Mapping[str, str]


@dataclass
class TableJudgement:
    """Empty means that the compacted topic equals the cluster."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether each key is right."""
        return not (self.missing or self.extra or self.different)

    def __str__(self) -> str:
        """Counts, and an example of each wrong."""
        wrongs = {"missing": self.missing, "extra": self.extra, "different": self.different}
        counts = ", ".join(f"{what} {len(found)}" for what, found in wrongs.items())
        return counts + "".join(f"\n  {what}: {found[0]}" for what, found in wrongs.items() if found)


def judge_topic(history: Sequence[Fact], messages: Iterable[Message]) -> Judgement:
    """At least once: what was repeated is passed over by its id, then nothing may be missing or disordered.

    A reader that ignores `sequence <= last seen` of a key must see every object's writes in order.
    """
    seen: set[str] = set()
    claimed: list[Fact] = []
    for message in messages:
        if message.value is None or message.headers["id"] in seen:
            continue
        seen.add(message.headers["id"])
        record = json.loads(message.value)
        revision = int(record["observedAt"] if record.get("synthetic") else record["resourceVersion"])
        fact = Fact(
            record["resource"], record["namespace"], record["name"], revision, record["type"] == "DELETED"
        )
        if record["origin"] != "snapshot":
            claimed.append(fact)
    return judge(history, claimed, ())


def table_of(messages: Iterable[Message]) -> dict[str, Mapping[str, Any]]:
    """What a compacting reader holds: the last record of each key, none where that is a tombstone."""
    table: dict[str, Mapping[str, Any]] = {}
    for message in messages:
        if message.value is None:
            table.pop(message.key, None)
        else:
            table[message.key] = json.loads(message.value)
    return table


def compare_tables(
    table: Mapping[str, Mapping[str, Any]], objects: Mapping[str, Mapping[str, Any]]
) -> TableJudgement:
    """Key for key: the same object at the same revision; `objects` are the cluster's, by the record's key."""
    judgement = TableJudgement(sorted(objects.keys() - table.keys()), sorted(table.keys() - objects.keys()))
    for key in sorted(table.keys() & objects.keys()):
        metadata = objects[key]["metadata"]
        record = table[key]
        if (record["uid"], record["resourceVersion"]) != (metadata["uid"], metadata["resourceVersion"]):
            judgement.different.append(
                f"{key}: {record['resourceVersion']}, not {metadata['resourceVersion']}"
            )
        elif record["resource"] != "secrets" and record["object"] != objects[key]:
            judgement.different.append(f"{key}: another object at the same revision")
    return judgement
