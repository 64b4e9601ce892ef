"""What changed, in words that a person would look for."""

import json
from typing import Any

import pytest
from hypothesis import given

from bridge.changes.difference import ABSENT, LIMIT, Difference, differences, news, path_text
from tests.kubernetes import strategies


def told(old: Any, new: Any) -> list[str]:
    def show(value: Any) -> str:
        return "~" if value is ABSENT else json.dumps(value, separators=(",", ":"))

    found = news(differences(old, new))
    return [f"{path_text(each.path)}: {show(each.old)} -> {show(each.new)}" for each in found]


@given(strategies.values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert differences(value, json.loads(json.dumps(value))) == []


@given(strategies.values, strategies.values)
def test_two_values_differ_exactly_if_they_are_written_differently(old: Any, new: Any) -> None:
    """Order of keys aside; 1 and true and 1.0 are three things in JSON."""
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (differences(old, new) == []) == same


def test_members_are_added_removed_and_changed() -> None:
    assert told({"a": 1, "b": 2, "c": {"d": 1}}, {"a": 1, "c": {"d": 2}, "e": None}) == [
        "b: 2 -> ~",
        "c.d: 1 -> 2",
        "e: ~ -> null",
    ]


def test_list_items_are_matched_by_name() -> None:
    old = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    new = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}}
    assert told(old, new) == [
        'spec.containers[a]: {"name":"a","image":"1"} -> ~',
        'spec.containers[b].image: "1" -> "2"',
        'spec.containers[c]: ~ -> {"name":"c"}',
    ]


def test_names_that_are_not_unique_do_not_match_items() -> None:
    assert told(
        [{"name": "a", "v": 1}, {"name": "a", "v": 2}], [{"name": "a", "v": 1}, {"name": "a", "v": 3}]
    ) == ["[1].v: 2 -> 3"]


def test_a_condition_is_told_by_its_type_and_once() -> None:
    def pod(status: str, reason: str, time: str) -> Any:
        return {
            "status": {
                "conditions": [
                    {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": time}
                ]
            }
        }

    assert told(pod("False", "x", "1"), pod("True", "y", "2")) == [
        'status.conditions[Ready].status: "False" -> "True"'
    ]
    assert told(pod("False", "x", "1"), pod("False", "y", "1")) == [
        'status.conditions[Ready].reason: "x" -> "y"'
    ]
    assert told(pod("False", "x", "1"), pod("False", "x", "2")) == []


def test_scalars_in_lists_are_members_of_a_set_when_their_number_changes() -> None:
    assert told({"f": ["a", "b"]}, {"f": ["b"]}) == ['f: "a" -> ~']
    assert told({"f": ["a", "a"]}, {"f": ["a"]}) == ['f: ["a","a"] -> ["a"]']
    assert told({"f": ["--v=1", "x"]}, {"f": ["--v=2", "x"]}) == ['f[0]: "--v=1" -> "--v=2"']


@pytest.mark.parametrize(
    "path",
    [
        ("metadata", "managedFields"),
        ("metadata", "resourceVersion"),
        ("metadata", "generation"),
        ("status", "observedGeneration"),
        ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"),
    ],
)
def test_bookkeeping_is_no_news(path: tuple[str, ...]) -> None:
    def nest(value: Any) -> Any:
        for key in reversed(path):
            value = {key: value}
        return value

    assert differences(nest(1), nest(2)) != []
    assert told(nest([{"a": 1}]), nest([{"a": 2}])) == []


def test_a_time_that_is_the_news_is_told() -> None:
    """A Lease has nothing else."""
    assert told({"spec": {"renewTime": "1"}}, {"spec": {"renewTime": "2"}}) == ['spec.renewTime: "1" -> "2"']


def test_odd_keys_are_quoted_as_in_the_configuration() -> None:
    assert path_text(differences({"a": {"b/c.d": 1}}, {"a": {"b/c.d": 2}})[0].path) == 'a["b/c.d"]'


def test_work_is_bounded() -> None:
    found = differences({str(n): 1 for n in range(9999)}, {str(n): 2 for n in range(9999)})
    assert len(found) == LIMIT
    assert found[0] == Difference(("0",), 1, 2)


def test_what_is_too_deep_is_said_to_be() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecursionError):
        differences(deep, [[deep]])
