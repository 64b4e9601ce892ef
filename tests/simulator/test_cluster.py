"""What the cluster keeps: one line of revisions, histories, deletions, disasters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from bridge.simulator import ApiError, Cluster
from bridge.simulator.encode import object_bytes
from bridge.simulator.kinds import CRDS
from tests.simulator.support import config_map

if TYPE_CHECKING:
    from bridge.simulator.history import Change


def changes(cluster: Cluster, resource: str = "configmaps", after: int = 0) -> list[Change]:
    return cluster.stored(resource).after(after)


def test_every_write_of_any_kind_is_one_step_of_one_revision_line() -> None:
    cluster = Cluster()
    before = cluster.revision
    made = cluster.create("configmaps", config_map("a"))
    secret = cluster.create("secrets", {"metadata": {"name": "s"}})
    assert int(made["metadata"]["resourceVersion"]) == before + 1
    assert int(secret["metadata"]["resourceVersion"]) == before + 2 == cluster.revision


def test_a_write_without_a_difference_is_no_event() -> None:
    """[D15]"""
    cluster = Cluster()
    cluster.create("configmaps", config_map("a", x="1"))
    revision = cluster.revision
    cluster.patch("configmaps", "a", {"data": {"x": "1"}})
    assert cluster.revision == revision
    assert len(changes(cluster)) == 1


def test_what_went_in_and_what_came_out_are_not_the_same_object() -> None:
    cluster = Cluster()
    mine: dict[str, Any] = config_map("a", x="1")
    made = cluster.create("configmaps", mine)
    mine["data"]["x"] = "spoiled"
    assert "uid" not in mine["metadata"]
    assert made["data"] == {"x": "1"}


def test_a_deletion_has_a_revision_of_its_own_and_shows_the_last_content() -> None:
    """[D1]"""
    cluster = Cluster()
    cluster.create("configmaps", config_map("a", x="1"))
    gone = cluster.delete("configmaps", "a")
    assert gone["data"] == {"x": "1"}
    assert int(gone["metadata"]["resourceVersion"]) == cluster.revision


def test_deletions_of_one_lease_share_their_revision() -> None:
    """[D13]"""
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.create("events", {"metadata": {"name": name}})
    cluster.delete_together("events", ["a", "b", "c"])
    last = changes(cluster, "events")[-3:]
    assert {change.revision for change in last} == {cluster.revision}
    assert [change.current for change in last] == [None, None, None]


def test_the_last_finalizer_ends_an_object_which_still_shows_it() -> None:
    """[D5]"""
    cluster = Cluster()
    cluster.create("configmaps", {"metadata": {"name": "a", "finalizers": ["x/y"]}})
    marked = cluster.delete("configmaps", "a")
    assert "deletionTimestamp" in marked["metadata"]
    gone = cluster.patch("configmaps", "a", {"metadata": {"finalizers": None}})
    assert gone["metadata"]["finalizers"] == ["x/y"]
    assert cluster.get("configmaps", "a") is None
    assert len(changes(cluster)) == 3


def test_a_list_of_the_past_shows_what_was() -> None:
    cluster = Cluster()
    cluster.create("configmaps", config_map("a"))
    then = cluster.revision
    cluster.create("configmaps", config_map("b"))
    cluster.delete("configmaps", "a")
    past = cluster.stored("configmaps").scan("default/", at=then)
    assert [obj["metadata"]["name"] for obj in past] == ["a"]


def test_lists_stand_in_the_byte_order_of_namespace_and_name() -> None:
    cluster = Cluster()
    for namespace, name in (("b", "a"), ("a-b", "z"), ("a", "b"), ("a", "b-"), ("a", "B")):
        cluster.create("configmaps", {"metadata": {"name": name, "namespace": namespace}})
    keys = [
        f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in cluster.objects("configmaps")
    ]
    assert keys == sorted(keys, key=str.encode)
    assert keys[0] == "a-b/z"


def test_old_versions_go_when_history_expires() -> None:
    cluster = Cluster()
    for value in range(50):
        cluster.create("configmaps", config_map("a", x=str(value)))
        cluster.delete("configmaps", "a")
    cluster.expire("configmaps")
    assert list(cluster.stored("configmaps").scan()) == []
    assert cluster.stored("configmaps").floor == cluster.revision


def test_a_window_that_is_full_forgets_its_older_half() -> None:
    cluster = Cluster(window=10)
    for number in range(12):
        cluster.create("configmaps", config_map(f"c{number}"))
    history = cluster.stored("configmaps")
    assert history.floor > 5
    assert len(history.after(history.floor)) == len(history.changes)
    with pytest.raises(LookupError):
        history.after(history.floor - 1)


def test_a_conflict_is_refused_in_the_words_of_the_server() -> None:
    cluster = Cluster()
    cluster.create("configmaps", config_map("a"))
    with pytest.raises(ApiError, match='configmaps "a" already exists') as refused:
        cluster.create("configmaps", config_map("a"))
    assert refused.value.code == 409
    with pytest.raises(ApiError, match="the object has been modified"):
        cluster.update("configmaps", {"metadata": {"name": "a", "resourceVersion": "1"}})


def test_a_restored_backup_goes_unnoticed_by_the_cache() -> None:
    """8.4: the cache skips every event up to the revision it had reached, and never repairs itself."""
    cluster = Cluster()
    cluster.create("configmaps", config_map("kept"))
    backup = cluster.snapshot()
    cluster.create("configmaps", config_map("lost"))
    cluster.create("configmaps", config_map("lost-too"))
    cluster.patch("configmaps", "lost", {"data": {"x": "1"}})
    reached = cluster.revision
    cluster.restore(backup)
    assert cluster.revision < reached
    cluster.create("configmaps", config_map("hidden"))

    def served() -> set[str]:
        return {obj["metadata"]["name"] for obj in cluster.served("configmaps").scan()}

    assert served() == {"kept", "lost", "lost-too"}
    assert cluster.get("configmaps", "lost") is None
    while cluster.revision <= reached:
        cluster.create("secrets", {"metadata": {"generateName": "filler-"}})
    cluster.create("configmaps", config_map("seen"))
    assert served() == {"kept", "lost", "lost-too", "seen"}
    cluster.restart()
    assert served() == {"kept", "hidden", "seen"}


def test_the_documented_restore_tells_the_truth_with_older_revisions_of_items() -> None:
    """8.5"""
    cluster = Cluster()
    kept = cluster.create("configmaps", config_map("kept"))
    backup = cluster.snapshot()
    cluster.patch("configmaps", "kept", {"data": {"x": "1"}})
    reached = cluster.revision
    cluster.restore(backup, bump=1_000_000)
    (item,) = cluster.served("configmaps").scan()
    assert item["metadata"]["resourceVersion"] == kept["metadata"]["resourceVersion"]
    assert cluster.served("configmaps").floor > reached


def test_a_definition_serves_its_kind_and_takes_its_objects_with_it() -> None:
    cluster = Cluster()
    cluster.define("example.io", "widgets", "Widget")
    for name in ("a", "b"):
        cluster.create("widgets.example.io", {"metadata": {"name": name}})
    cluster.delete(CRDS, "widgets.example.io")
    last = changes(cluster, "widgets.example.io")[-2:]
    assert [change.current for change in last] == [None, None]
    assert last[0].revision < last[1].revision
    with pytest.raises(KeyError):
        cluster.kinds.named("widgets.example.io")


def test_custom_resources_are_sorted_and_carry_what_python_cannot_dump() -> None:
    """Wide integers and deep nesting go in as fragments and stand where they belong."""
    cluster = Cluster(managed_fields=False)
    cluster.define("example.io", "odds", "Odd")
    deep = orjson.Fragment(b"[" * 9000 + b"]" * 9000)
    spec = {"wide": orjson.Fragment("123456789012345678901234567890"), "deep": deep}
    odd = {"metadata": {"name": "a"}, "zed": 1.0, "Abc": 1e21, "spec": spec}
    made = cluster.create("odds.example.io", odd)
    text = object_bytes(made, cluster.kinds.named("odds.example.io"))
    assert text.startswith(b'{"Abc":1e+21,"apiVersion":"example.io/v1","kind":"Odd","metadata":{')
    assert text.endswith(b']]],"wide":123456789012345678901234567890},"zed":1}')
    assert b'},"spec":{"deep":[[[' in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (1000.0, "1000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (18446744073709551615.0, "18446744073709552000"),
        (-2.5e-5, "-0.000025"),
        (1.2345678901234568e22, "1.2345678901234568e+22"),
        (1e100, "1e+100"),
        (-1.5e-10, "-1.5e-10"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    """12.6"""
    cluster = Cluster(managed_fields=False)
    cluster.define("example.io", "odds", "Odd")
    made = cluster.create("odds.example.io", {"metadata": {"name": "a"}, "z": value})
    written = object_bytes(made, cluster.kinds.named("odds.example.io"))
    assert written.endswith(b',"z":%s}' % text.encode())


def test_the_same_seed_gives_the_same_uids() -> None:
    one, other = (Cluster(seed=7).create("configmaps", config_map("a")) for _ in range(2))
    assert one["metadata"]["uid"] == other["metadata"]["uid"]
