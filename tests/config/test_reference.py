"""docs/configuration.md tells every key as it is, and its examples are right."""

import re

import pytest
import yaml

from bridge.config import loads
from tests.config import reference


@pytest.fixture(autouse=True)
def fake_sinks() -> None:
    """The page is about the real sinks."""


@pytest.fixture
def page() -> str:
    return reference.PAGE.read_text("utf-8")


def test_every_key_is_documented_as_it_is(page: str) -> None:
    """A new field, default or meaning: run `python -m tests.config.reference`."""
    assert sorted(reference.marked(page)) == sorted(reference.sections())
    assert reference.rendered(page) == page


def test_every_key_says_what_it_means_and_has_an_example_that_loads() -> None:
    for path, settings in reference.sections().items():
        for setting in settings:
            here = f"{path}.{setting.key}"
            assert setting.about.endswith("."), here
            assert setting.example, here
            assert yaml.safe_load(setting.example) is not None, here


def test_the_examples_of_the_page_load(page: str) -> None:
    """Each is a part of a file; what it leaves out comes from the first, which is whole."""
    whole, *parts = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    loads(yaml.safe_dump(whole), "docs/configuration.md", check_files=False)
    assert {key for part in parts for key in part} == set(whole) | {"memory", "redaction", "rateLimits"}
    for part in parts:
        loads(yaml.safe_dump(whole | part), "docs/configuration.md", check_files=False)
