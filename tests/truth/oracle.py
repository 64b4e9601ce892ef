"""The judge: what etcd says happened, held against what the file says. Pure."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

__all__ = ["Fact", "Judgement", "facts_of_lines", "ids_of_lines", "judge"]

_WRONGS: Final = ("missing", "repeated", "disordered", "invented")


class Fact(NamedTuple):
    """One write: what etcd keeps of it, and what a record must say."""

    resource: str
    namespace: str
    name: str
    revision: int
    deleted: bool


@dataclass
class Judgement:
    """Empty lists are the promise kept."""

    expected: int
    missing: list[Fact] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    invented: list[Fact] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every write is in the file, in order per object, once, and nothing else is."""
        return not (self.missing or self.repeated or self.disordered or self.invented)

    def __str__(self) -> str:
        """One line a figure, then examples of what is wrong."""
        counts = ", ".join(f"{what} {len(getattr(self, what))}" for what in _WRONGS)
        lines = [f"expected {self.expected}, {counts}"]
        for what in _WRONGS:
            lines += [f"  {what}: {example}" for example in getattr(self, what)[:5]]
        return "\n".join(lines)


def facts_of_lines(lines: Iterable[bytes]) -> list[Fact]:
    """The facts that JSON lines claim, in their order; control records and snapshots claim none."""
    facts = []
    for line in lines:
        record: Mapping[str, Any] = json.loads(line)
        if record["type"] in ("RESYNC", "POISON") or record["origin"] == "snapshot":
            continue
        revision = int(record["observedAt"] if record.get("synthetic") else record["resourceVersion"])
        facts.append(
            Fact(
                record["resource"],
                record["namespace"],
                record["name"],
                revision,
                record["type"] == "DELETED",
            )
        )
    return facts


def ids_of_lines(lines: Iterable[bytes]) -> list[str]:
    """The id of every record, control records and snapshots too."""
    return [json.loads(line)["id"] for line in lines]


def judge(history: Sequence[Fact], claimed: Sequence[Fact], ids: Sequence[str]) -> Judgement:
    """Hold the claims, and the ids of everything in the file, against the history."""
    counted = Counter(claimed)
    truth = set(history)
    result = Judgement(len(history))
    result.missing = [fact for fact in history if fact not in counted]
    result.repeated = [str(fact) for fact, count in counted.items() if count > 1]
    result.repeated += [name for name, count in Counter(ids).items() if count > 1]
    result.invented = [fact for fact in counted if fact not in truth]
    order: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for fact in claimed:
        order[fact[:3]].append(fact.revision)
    result.disordered = ["/".join(key) for key, revisions in order.items() if revisions != sorted(revisions)]
    return result
