"""The examples of docs/record.md are what is written."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.changes.change import Change, StreamInfo
from bridge.changes.envelope import Bridge, Format, render

PAGE = (Path(__file__).parents[2] / "docs" / "record.md").read_text("utf-8")
DECODER = json.JSONDecoder()
HEAD = ("type", "id", "time", "cluster", "stream", "origin", "resource", "apiVersion", "kind")
OBJECT = ("namespace", "name", "uid", "resourceVersion", "sequence", "object")


def all_examples() -> list[dict[str, Any]]:
    found = []
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        at = 0
        while at < len(block):
            value, at = DECODER.raw_decode(block, at)
            found.append(value)
            at += len(block[at:]) - len(block[at:].lstrip())
    return found


def examples() -> list[dict[str, Any]]:
    """All that are no CloudEvents."""
    return [each for each in all_examples() if "specversion" not in each]


def change(example: dict[str, Any]) -> Change:
    """What the example tells."""
    time = int(datetime.fromisoformat(example["time"]).timestamp() * 1_000_000)
    extra = {key: value for key, value in example.items() if key not in HEAD + OBJECT}
    if "name" not in example:
        extra["id"] = example["id"].split("/")[3]
    return Change(
        example["type"],
        example["origin"],
        time,
        example.get("namespace", ""),
        example.get("name", ""),
        example.get("uid", ""),
        example.get("resourceVersion", ""),
        0,
        json.dumps(example["object"]).encode() if "object" in example and not extra.get("partial") else b"",
        extra or None,
    )


def test_there_is_an_example_of_each_kind_of_record() -> None:
    kinds = {
        (each["type"], each.get("phase"), each.get("synthetic"), "snapshot" in each) for each in examples()
    }
    assert kinds >= {
        ("MODIFIED", None, None, False),
        ("DELETED", None, None, False),
        ("DELETED", None, True, False),
        ("RESYNC", "begin", None, False),
        ("RESYNC", "end", None, False),
        ("RESYNC", "begin", None, True),
        ("RESYNC", "end", None, True),
        ("POISON", None, None, False),
    }


@pytest.mark.parametrize("example", examples(), ids=lambda each: each["id"])
def test_each_example_is_rendered_as_it_stands_there(example: dict[str, Any]) -> None:
    group, _, version = example["apiVersion"].rpartition("/")
    bridge = Bridge(example["cluster"], example["id"].split("/")[0])
    stream = StreamInfo(example["stream"], group, version, example["resource"], example["kind"])
    line = render(bridge, stream, change(example), Format.NATIVE)
    assert line is not None
    assert list(json.loads(line).items()) == list(example.items())


def test_the_cloudevent_is_the_first_example_as_it_is_rendered() -> None:
    [event] = [each for each in all_examples() if "specversion" in each]
    first = examples()[0]
    bridge = Bridge(first["cluster"], first["id"].split("/")[0])
    stream = StreamInfo(first["stream"], "", first["apiVersion"], first["resource"], first["kind"])
    line = render(bridge, stream, change(first), Format.CLOUDEVENTS)
    assert line is not None
    assert list(json.loads(line).items()) == list(event.items())
