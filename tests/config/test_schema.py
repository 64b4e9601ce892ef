"""The JSON Schema never refuses what the bridge accepts, and refuses what a schema can."""

import json
import re
from typing import Any

import pytest
import yaml

from bridge.config import schema
from tests.config.json_schema import accepts
from tests.config.test_any_text import keys_of
from tests.config.test_bad_input import CASES
from tests.config.test_loading import EVERY_KEY
from tests.config.texts import LINES, problems, text

# What a schema cannot know: values of other keys, other sinks, units, and how a plain scalar was written.
BEYOND = (
    "is there already",
    "is there twice",
    "merges ",
    "remove the tag",
    "surrogate",
    "out of bounds; write a size",
    "out of bounds; write a duration",
    "is not a size; write a number",
    "is not a boolean",
    "`1e999`",
    "is less than",
    "a ratio of 0",
    "is not an address to listen on: write",
    "would need a shell",
    "without a leading zero",
    "label selector: ",
    "field selector: ",
    "field path: ",
    "several resources",
    "names its group",
    "is taken by",
    "waits only once",
    "belongs to",
    "limits nothing",
    "there is no rate limit",
    "would also stall",
    "can see the same objects",
    "there is no stream",
    "cannot be imported",
    "is no sink",
    "cannot be used",
    "no usable options",
    "uses keys that every sink has",
)


class Loader(yaml.SafeLoader):
    """Reads numbers as YAML 1.2 and editors do; `1e-2` is text for YAML 1.1."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parsed(source: str) -> Any:
    return yaml.load(source, Loader)  # noqa: S506 - derived from SafeLoader


def source_of(case: list[str]) -> str:
    lines = "\n".join(line for line in case if not line.startswith("-> "))
    key = lines.partition(":")[0]
    return text(**{key if key in LINES else "more": lines})


@pytest.mark.parametrize("source", [EVERY_KEY, text()])
def test_the_schema_accepts_a_right_configuration(source: str) -> None:
    assert accepts(schema(), parsed(source))


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_the_schema_refuses_what_the_bridge_refuses_as_far_as_a_schema_can(case: list[str]) -> None:
    try:
        document = parsed(source_of(case))
    except yaml.YAMLError:
        # Nobody gets as far as the schema.
        return
    told = problems(source_of(case))
    accepted = accepts(schema(), document)
    if not told:
        assert accepted
    elif not any(phrase in problem for problem in told for phrase in BEYOND):
        assert not accepted


def test_every_key_is_described_and_every_example_and_default_is_valid() -> None:
    def look(part: dict[str, Any], path: str) -> None:
        for key, value in part.get("properties", {}).items():
            here = f"{path}.{key}"
            assert value["description"], here
            bare = {word: what for word, what in value.items() if word != "description"}
            examples = [*value.get("examples", []), *([value["default"]] if "default" in value else [])]
            for example in examples:
                # The sinks of the examples are real ones, those of this test are not.
                assert accepts(bare, example) or "jsonlines" in json.dumps(example), here
            look(value, here)
        for below in [*part.get("oneOf", []), *([part["items"]] if "items" in part else [])]:
            look(below, path)

    look(schema(), "")


def test_the_schema_says_what_it_is_and_can_be_printed() -> None:
    printed = schema()
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(printed)) == printed
    assert keys_of(yaml.safe_load(EVERY_KEY)) >= set(printed["properties"])


def test_a_sink_that_cannot_be_imported_does_not_keep_the_others_from_being_checked() -> None:
    source = text(sinks="sinks: [{name: a, type: uninstalled, anything: goes}]")
    assert accepts(schema(), parsed(source))
