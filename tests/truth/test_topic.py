"""The judge of topics can be wrong in no direction: it sees what is lost, disordered, kept and left over."""

import json
from typing import Any

from tests.truth.oracle import Fact
from tests.truth.topic import Message, compare_tables, judge_topic, table_of


def message(name: str, revision: int, type_: str = "MODIFIED", origin: str = "watch") -> Message:
    value = {
        "type": type_, "origin": origin, "resource": "configmaps", "namespace": "ns", "name": name,
        "uid": f"u-{name}", "resourceVersion": str(revision), "object": body(name, revision),
    }  # fmt: skip
    return Message(f"c//configmaps/ns/{name}", json.dumps(value).encode(), {"id": f"{name}/{revision}"})


def body(name: str, revision: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": str(revision)}}


def tombstone(name: str) -> Message:
    return Message(f"c//configmaps/ns/{name}", None, {"id": f"{name}/9"})


HISTORY = [Fact("configmaps", "ns", "a", revision, deleted=False) for revision in (1, 2, 3)]


def test_a_repeated_suffix_is_no_disorder() -> None:
    one, two, three = (message("a", revision) for revision in (1, 2, 3))
    assert judge_topic(HISTORY, [one, two, one, two, three]).kept


def test_what_is_lost_or_overtaken_is_seen() -> None:
    one, two, three = (message("a", revision) for revision in (1, 2, 3))
    assert judge_topic(HISTORY, [one, three]).missing == [HISTORY[1]]
    assert judge_topic(HISTORY, [one, three, two]).disordered == ["configmaps/ns/a"]


def test_a_snapshot_claims_no_write() -> None:
    assert judge_topic([], [message("a", 1, origin="snapshot")]).kept


def test_a_table_holds_the_last_record_of_each_key() -> None:
    table = table_of([message("a", 1), message("b", 2), message("a", 3), tombstone("b"), message("c", 4)])
    assert {key: record["resourceVersion"] for key, record in table.items()} == {
        "c//configmaps/ns/a": "3",
        "c//configmaps/ns/c": "4",
    }


def test_a_table_that_differs_in_any_way_is_told() -> None:
    table = table_of([message("a", 1), message("b", 2), message("c", 3)])
    objects = {
        f"c//configmaps/ns/{name}": body(name, revision) for name, revision in (("a", 1), ("b", 3), ("d", 4))
    }
    judgement = compare_tables(table, objects)
    assert judgement.missing == ["c//configmaps/ns/d"]
    assert judgement.extra == ["c//configmaps/ns/c"]
    assert judgement.different == ["c//configmaps/ns/b: 2, not 3"]
    assert not judgement.kept
    assert compare_tables(table_of([message("a", 1)]), {"c//configmaps/ns/a": body("a", 1)}).kept
