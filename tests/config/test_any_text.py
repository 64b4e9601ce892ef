"""Whatever a file holds, the answer is a configuration or a ConfigError: never another exception."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import Config, ConfigError, load, loads, schema
from tests.config.test_loading import EVERY_KEY

# The fake sinks are the same for each example.
any_text = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def keys_of(document: Any) -> set[str]:
    """Every key at any depth."""
    items = document if isinstance(document, list) else []
    below = document.values() if isinstance(document, dict) else items
    own = set(document) if isinstance(document, dict) else set()
    return own.union(*map(keys_of, below))


KEYS = sorted(keys_of(yaml.safe_load(EVERY_KEY)) | {"<<", "banana", "topic"})
VALUES = st.one_of(
    st.sampled_from(
        ["no", "1e3", "1Gi", "10s", "pods", "lines", "topic", "everything", "-", "", "0", "010", "1:30", "~"]
    ),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
)
DOCUMENTS = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


def outcome(source: str) -> Config | ConfigError:
    """What loading a text comes to; anything but these two fails the test."""
    try:
        return loads(source, "c.yaml", check_files=False)
    except ConfigError as error:
        return error


def check(source: str) -> None:
    """Every problem that is told is one printable line that says where."""
    result = outcome(source)
    if isinstance(result, ConfigError):
        lines = str(result).split("\n")
        assert len(lines) == len(result.problems)
        assert all(line.startswith("c.yaml:") and line.isprintable() for line in lines)
    else:
        assert isinstance(result, Config)


@any_text
@given(st.text())
def test_any_text(source: str) -> None:
    check(source)


@any_text
@given(st.text(alphabet="ab01:-?,[]{}#&*!|>'\"%@`<=.~ \t\n\\xuU\ud800\ufeff\x85\u2028"))
def test_any_text_of_the_characters_that_mean_something_in_yaml(source: str) -> None:
    check(source)


@any_text
@given(DOCUMENTS)
def test_any_document_of_known_keys_with_any_values(document: Any) -> None:
    check(yaml.safe_dump(document, allow_unicode=True))


@any_text
@given(st.data())
def test_a_configuration_with_one_part_replaced(data: st.DataObject) -> None:
    """Near misses reach deeper than noise."""
    root = yaml.safe_load(EVERY_KEY)
    part = root
    while isinstance(part, dict | list):
        keys: Any = list(part) if isinstance(part, dict) else range(len(part))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.booleans()):
            part[key] = data.draw(DOCUMENTS)
            break
        part = part[key]
    check(yaml.safe_dump(root, allow_unicode=True))


@any_text
@given(
    st.integers(min_value=0, max_value=len(EVERY_KEY)),
    st.integers(min_value=0, max_value=40),
    st.text(max_size=3),
)
def test_a_configuration_with_a_piece_cut_out_and_another_put_in(at: int, length: int, piece: str) -> None:
    check(EVERY_KEY[:at] + piece + EVERY_KEY[at + length :])


@any_text
@given(content=st.binary(max_size=64))
def test_any_bytes_in_a_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.yaml:"):
        load(path)


def test_every_key_of_the_schema_is_tried() -> None:
    """The documents above are made of all keys, so a new one cannot be forgotten."""

    def keys(part: dict[str, Any]) -> set[str]:
        own = part.get("properties", {})
        below = [
            *own.values(),
            *part.get("oneOf", []),
            *part.get("anyOf", []),
            *([part["items"]] if "items" in part else []),
        ]
        return set(own).union(*map(keys, below))

    assert keys(schema()) <= set(KEYS)
