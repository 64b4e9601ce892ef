"""What a person sees."""

import copy
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Change, StreamInfo
from bridge.terminal import MOST_DIFFERENCES, View, _cells
from tests.kubernetes import strategies

PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
NODES = StreamInfo("nodes", "", "v1", "nodes", "Node")
DEPLOYMENTS = StreamInfo("deployments", "apps", "v1", "deployments", "Deployment")
NINE = 1_800_003_600_000_000


def utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def view(width: int = 90, *, color: bool = False, resources: bool = False, memory: int = 1 << 20) -> View:
    return View(lambda: width, color=color, resources=resources, memory=memory, local=utc)


def change(type_: str, body: Any, **extra: Any) -> Change:
    meta = body["metadata"]
    data = json.dumps(body).encode()
    return Change(
        type_,
        "watch",
        NINE,
        meta.get("namespace", ""),
        meta["name"],
        meta.get("uid", "u"),
        "7",
        0,
        data,
        extra or None,
    )


def pod(name: str = "web-0", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "uid": name}, **more}


def modified(old: Any, new: Any, **options: Any) -> list[str]:
    """The lines of a MODIFIED."""
    shown = view(**options)
    shown.show(PODS, [change("ADDED", old)])
    return shown.show(PODS, [change("MODIFIED", new)]).splitlines()


def test_the_life_of_a_pod() -> None:
    pending = pod(spec={"containers": [{"name": "web", "image": "web:1"}]}, status={"phase": "Pending"})
    ready = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": "1"}]
    waiting = copy.deepcopy(pending)
    waiting["status"] |= {"conditions": ready, "containerStatuses": [{"name": "web", "ready": False}]}
    running = copy.deepcopy(waiting)
    running["status"]["phase"] = "Running"
    running["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": "2"}]
    running["status"]["containerStatuses"][0]["ready"] = True
    written = copy.deepcopy(running)
    written["metadata"] |= {"resourceVersion": "8", "managedFields": [{"manager": "x"}], "generation": 2}
    upgraded = copy.deepcopy(written)
    upgraded["spec"]["containers"][0]["image"] = "web:2"
    leaving = copy.deepcopy(upgraded)
    leaving["metadata"]["deletionTimestamp"] = "2027-01-15T09:00:00Z"
    shown = view()
    text = shown.show(PODS, [change("ADDED", pod("cart-5d4f8c7b9d-x2x9k", status={"phase": "Running"}))])
    text += shown.show(
        PODS, [change("ADDED", pending), change("MODIFIED", waiting), change("MODIFIED", running)]
    )
    text += shown.show(PODS, [change("MODIFIED", written), change("MODIFIED", upgraded)])
    text += shown.show(PODS, [change("MODIFIED", leaving), change("DELETED", leaving, gone="deleted")])
    assert text == (
        "09:00:00  ADDED     shop/cart-5d4f8c7b9d-x2x9k  Running\n"
        "09:00:00  ADDED     shop/web-0                  Pending\n"
        "09:00:00  MODIFIED  shop/web-0                  Pending, 0/1 ready\n"
        "                    status.conditions[Ready]: + False (ContainersNotReady)\n"
        '                    status.containerStatuses: + [{"name":"web","ready":false}]\n'
        "09:00:00  MODIFIED  shop/web-0                  Running, 1/1 ready\n"
        "                    status.phase: Pending -> Running\n"
        "                    status.conditions[Ready].status: False -> True\n"
        "                    status.containerStatuses[web].ready: false -> true\n"
        "09:00:00  MODIFIED  shop/web-0                  nothing but bookkeeping\n"
        "09:00:00  MODIFIED  shop/web-0                  spec.containers[web].image: web:1 -> web:2\n"
        "09:00:00  MODIFIED  shop/web-0                  being deleted, Running, 1/1 ready\n"
        "                    metadata.deletionTimestamp: + 2027-01-15T09:00:00Z\n"
        "09:00:00  DELETED   shop/web-0\n"
    )


def test_colour_goes_by_type_and_by_old_and_new() -> None:
    shown = view(color=True)
    text = shown.show(
        PODS, [change("ADDED", pod(a=1)), change("MODIFIED", pod(a=2)), change("DELETED", pod(a=2))]
    )
    assert text == (
        "\x1b[2m09:00:00\x1b[0m  \x1b[32mADDED   \x1b[0m  \x1b[1mshop/web-0\x1b[0m\n"
        "\x1b[2m09:00:00\x1b[0m  \x1b[33mMODIFIED\x1b[0m  \x1b[1mshop/web-0\x1b[0m  a: \x1b[31m1\x1b[0m"
        "\x1b[2m -> \x1b[0m\x1b[32m2\x1b[0m\n"
        "\x1b[2m09:00:00\x1b[0m  \x1b[31mDELETED \x1b[0m  \x1b[1mshop/web-0\x1b[0m\n"
    )


def test_several_resources_are_named_and_cluster_scoped_objects_have_no_slash() -> None:
    shown = view(resources=True)
    text = shown.show(DEPLOYMENTS, [change("ADDED", pod("web", spec={"replicas": 2}))])
    text += shown.show(NODES, [change("ADDED", {"metadata": {"name": "n1"}})])
    assert text.splitlines() == [
        "09:00:00  ADDED     deployments.apps/shop/web  0/2 ready",
        "09:00:00  ADDED     nodes/n1",
    ]
    assert view().show(NODES, [change("ADDED", {"metadata": {"name": "n1"}})]).split()[2] == "n1"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, ""),
        ({"gone": "deleted"}, ""),
        ({"gone": "unselected"}, "no longer selected"),
        ({"gone": "unknown", "synthetic": True}, "found missing; deleted, or no longer selected"),
        ({"gone": "deleted", "synthetic": True}, "found missing"),
    ],
)
def test_a_deletion_says_how_it_is_known(extra: dict[str, Any], words: str) -> None:
    assert (
        view().show(PODS, [change("DELETED", pod(), **extra)])
        == f"09:00:00  DELETED   shop/web-0  {words}".rstrip() + "\n"
    )


def test_an_inferred_deletion_without_a_body_is_shown() -> None:
    gone = Change("DELETED", "resync", NINE, "shop", "web-0", "u", "7", 0, b"", {"synthetic": True})
    assert view().show(PODS, [gone]) == "09:00:00  DELETED   shop/web-0  found missing\n"


def test_control_records_tell_their_members() -> None:
    counts = {"added": 3, "modified": 0, "deleted": 1}
    end = Change(
        "RESYNC",
        "resync",
        NINE,
        "",
        "",
        "",
        "",
        0,
        b"",
        {"phase": "end", "cause": "expired", "counts": counts},
    )
    poison = Change("POISON", "watch", NINE, "", "", "", "", 0, b"", {"error": "no uid", "raw": "AAAA"})
    assert view().show(PODS, [end, poison]).splitlines() == [
        "09:00:00  RESYNC    pods  phase=end  cause=expired  counts=3 added, 1 deleted",
        "09:00:00  POISON    pods  error=no uid",
    ]


def test_an_object_that_was_not_seen_before_is_summed_up() -> None:
    assert (
        view()
        .show(PODS, [change("MODIFIED", pod(status={"phase": "Running"}))])
        .endswith("shop/web-0  Running\n")
    )


def test_objects_with_the_same_uid_in_two_streams_are_two() -> None:
    shown = view()
    shown.show(PODS, [change("ADDED", pod(a=1))])
    assert "a:" not in shown.show(NODES, [change("MODIFIED", pod(a=2))])


def test_long_values_are_cut_where_they_still_differ() -> None:
    image = "registry.example.com/shop/with/a/long/name/web"
    [line] = modified(pod(image=f"{image}:v1.2.3", x=1), pod(image=f"{image}:v1.2.4", x=2), width=70)[1:2]
    assert line == "                    image: …:v1.2.3 -> …:v1.2.4"
    [line] = modified(pod(a="x" * 500, x=1), pod(a="y" * 500, x=2), width=70)[1:2]
    assert line == f"                    a: {'x' * 20}… -> {'y' * 20}…"
    assert _cells(line) <= 70


def test_long_paths_keep_both_ends() -> None:
    deep = {"metadata": {"annotations": {"example.com/" + "a" * 60 + "/end": "1"}}}
    other = {"metadata": {"annotations": {"example.com/" + "a" * 60 + "/end": "2"}}}
    line = modified(pod(t=deep, x=1), pod(t=other, x=2), width=60)[1]
    assert line.startswith("                    t.metadata.an…")
    assert line.endswith('/end"]: "1" -> "2"')
    assert _cells(line) == 60


def test_many_differences_end_with_a_count() -> None:
    lines = modified(pod(a={f"k{n}": 1 for n in range(40)}), pod(a={f"k{n}": 2 for n in range(40)}))
    assert len(lines) == 1 + MOST_DIFFERENCES + 1
    assert lines[-1].strip() == f"and {40 - MOST_DIFFERENCES} more"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Running", "Running"),
        ("--v=2", "--v=2"),
        ("", '""'),
        (" x", '" x"'),
        ("7", '"7"'),
        (7, "7"),
        ("true", '"true"'),
        (True, "true"),
        (None, "null"),
        ('"x"', '"\\"x\\""'),
        (12345678901234567890123, "12345678901234567890123"),
        ({"a": [1, "b"]}, '{"a":[1,"b"]}'),
        ("日本", "日本"),
    ],
)
def test_a_value_cannot_be_taken_for_another_type(value: Any, text: str) -> None:
    assert modified(pod(a="old"), pod(a=value))[0].endswith(f"a: old -> {text}")


@given(
    st.dictionaries(st.text(max_size=8), strategies.values, max_size=4),
    st.dictionaries(st.text(max_size=8), strategies.values, max_size=4),
    st.text(min_size=1, max_size=30),
    st.integers(1, 120),
)
def test_whatever_comes_no_line_is_too_wide_or_steers_the_terminal(
    old: dict[str, Any], new: dict[str, Any], name: str, width: int
) -> None:
    shown = view(width, resources=True)
    text = ""
    for kind, spec in (("ADDED", old), ("MODIFIED", new), ("DELETED", new)):
        text += shown.show(
            PODS, [change(kind, {"metadata": {"name": name, "uid": "u"}, "spec": spec}, gone=name)]
        )
    lines = text.split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    assert max(map(_cells, lines)) <= max(width, 40)


def test_escape_sequences_are_shown_and_not_sent() -> None:
    lines = modified(pod(a="x"), pod(a="\x1b]0;owned\x07\n\u202e\u0085"), color=True)
    assert re.sub(r"\x1b\[\d*m", "", lines[0]).endswith(r'a: x -> "\u001b]0;owned\u0007\n\u202e\x85"')


def test_the_name_column_follows_the_longest_name_within_its_share() -> None:
    shown = view(60)
    shown.show(PODS, [change("ADDED", pod("x" * 80))])
    line = shown.show(PODS, [change("ADDED", pod("a", status={"phase": "Running"}))])
    assert line == "09:00:00  ADDED     shop/a                       Running\n"


@pytest.mark.parametrize("depth", [10, *range(300, 1100, 13), 9900])
def test_no_depth_is_too_much(depth: int) -> None:
    """Around Python's limit too, where reading still works and comparing or writing may not."""
    shown = view()
    body, other = (b'{"spec":%s}' % (b"[" * depth + leaf + b"]" * depth) for leaf in (b"", b'{"a":[1]}'))
    kinds = (("ADDED", body), ("MODIFIED", other), ("MODIFIED", body), ("DELETED", body))
    changes = [Change(kind, "watch", NINE, "", "deep", "u", "1", 0, text) for kind, text in kinds]
    lines = [line for line in shown.show(PODS, changes).splitlines() if line.startswith("09")]
    assert [line.split()[1] for line in lines] == [kind for kind, _ in kinds]
    if depth in (10, 9900):
        assert lines[1].endswith("too deep to be read") == (depth == 9900)


def test_an_integer_of_any_length_is_shown_or_said_to_be_too_much() -> None:
    huge = b'{"metadata":{},"spec":%s}' % (b"7" * 9000)
    shown = view().show(PODS, [Change("ADDED", "watch", NINE, "", "n", "u", "1", 0, huge)])
    assert shown == "09:00:00  ADDED     n  too deep to be read\n"


def test_memory_is_bounded_and_the_least_recently_seen_is_forgotten() -> None:
    limit = 20_000
    shown = view(memory=limit)
    for number in range(200):
        shown.show(PODS, [change("MODIFIED", pod("busy", n=number)), change("ADDED", pod(f"idle-{number}"))])
        assert shown._memory.size <= limit
    assert "n: 199 -> 200" in shown.show(PODS, [change("MODIFIED", pod("busy", n=200))])
    assert "n:" not in shown.show(PODS, [change("MODIFIED", pod("idle-0", n=1))])
    for number in range(200):
        shown.show(PODS, [change("DELETED", pod(f"idle-{number}")), change("DELETED", pod("busy"))])
    assert shown._memory.size == 0
