"""An object in a few words."""

from typing import Any

import pytest
from hypothesis import given

from bridge.changes.change import StreamInfo
from bridge.changes.summary import summary
from tests.kubernetes import strategies

PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
EVENTS = StreamInfo("events", "", "v1", "events", "Event")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ""),
        ({"status": {"phase": "Pending"}}, "Pending"),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [{"ready": True, "restartCount": 3}, {"ready": False}],
                }
            },
            "Running, 1/2 ready, 3 restarts",
        ),
        ({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}}, "being deleted, Running"),
        ({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}, "2/3 ready"),
        ({"spec": {"replicas": 3}}, "0/3 ready"),
        ({"status": {"desiredNumberScheduled": 4, "numberReady": 4}}, "4/4 ready"),
        ({"status": {"conditions": [{"type": "X"}, {"type": "Ready", "status": "True"}]}}, "Ready"),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Why"}]}},
            "not Ready (Why)",
        ),
        ({"data": {"a": "", "b": ""}}, "2 keys"),
        ({"data": {"a": ""}}, "1 key"),
        ({"spec": {"type": "ClusterIP"}}, "ClusterIP"),
    ],
)
def test_fields_that_many_kinds_have_are_told(body: Any, words: str) -> None:
    assert summary(PODS, body) == words


def test_an_event_is_its_message() -> None:
    about = {"kind": "Pod", "name": "web-0"}
    assert (
        summary(EVENTS, {"reason": "Pulled", "involvedObject": about, "message": "done"})
        == "Pulled: Pod/web-0: done"
    )
    assert (
        summary(EVENTS, {"reason": "Pulled", "regarding": about, "note": "done"}) == "Pulled: Pod/web-0: done"
    )


@given(strategies.values, strategies.values, strategies.values)
def test_no_object_is_too_odd(spec: Any, status: Any, data: Any) -> None:
    for stream in (PODS, EVENTS):
        assert isinstance(
            summary(stream, {"spec": spec, "status": status, "metadata": spec, "data": data}), str
        )
        assert isinstance(summary(stream, status), str)
