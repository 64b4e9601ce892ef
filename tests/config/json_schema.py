"""As much of a JSON Schema validator (draft 2020-12) as our schema needs; what it does not know it refuses.

A validator from PyPI would bring four packages for the dozen keywords that one test meets.
"""

import re
from collections.abc import Callable
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def _number(value: Any, holds: Callable[[Any], bool]) -> bool:
    return not _TYPES["number"](value) or holds(value)


def _properties(value: Any, schema: dict[str, Any]) -> bool:
    known = schema.get("properties", {})
    if not isinstance(value, dict):
        return True
    others = schema.get("additionalProperties", {})
    if others is False and not value.keys() <= known.keys():
        return False
    return all(accepts(known.get(key, others or {}), item) for key, item in value.items())


def _has(value: Any, keys: list[str]) -> bool:
    return not isinstance(value, dict) or value.keys() >= set(keys)


def _depends(value: Any, needed: dict[str, list[str]]) -> bool:
    return not isinstance(value, dict) or all(
        _has(value, keys) for key, keys in needed.items() if key in value
    )


def _matches(pattern: str, text: str) -> bool:
    # `$` of ECMAScript is the very end; that of Python may stand before a line end.
    return (
        re.search(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern, text) is not None
    )


_KEYWORDS: dict[str, Callable[[Any, Any, dict[str, Any]], bool]] = {
    "type": lambda value, wanted, _: _TYPES[wanted](value),
    "properties": lambda value, _, schema: _properties(value, schema),
    "additionalProperties": lambda value, _, schema: _properties(value, schema),
    "required": lambda value, wanted, _: _has(value, wanted),
    "dependentRequired": lambda value, wanted, _: _depends(value, wanted),
    "not": lambda value, wanted, _: not accepts(wanted, value),
    "anyOf": lambda value, wanted, _: any(accepts(each, value) for each in wanted),
    "oneOf": lambda value, wanted, _: sum(accepts(each, value) for each in wanted) == 1,
    # JSON tells 1 and true apart.
    "enum": lambda value, wanted, _: (type(value), value) in [(type(each), each) for each in wanted],
    "const": lambda value, wanted, _: (type(value), value) == (type(wanted), wanted),
    "pattern": lambda value, wanted, _: not isinstance(value, str) or _matches(wanted, value),
    "minLength": lambda value, wanted, _: not isinstance(value, str) or len(value) >= wanted,
    "minimum": lambda value, wanted, _: _number(value, lambda number: number >= wanted),
    "maximum": lambda value, wanted, _: _number(value, lambda number: number <= wanted),
    "exclusiveMinimum": lambda value, wanted, _: _number(value, lambda number: number > wanted),
    "items": lambda value, wanted, _: (
        not isinstance(value, list) or all(accepts(wanted, item) for item in value)
    ),
    "minItems": lambda value, wanted, _: not isinstance(value, list) or len(value) >= wanted,
    "uniqueItems": lambda value, _wanted, _: (
        not isinstance(value, list) or len({repr(item) for item in value}) == len(value)
    ),
    **dict.fromkeys(["$schema", "title", "description", "default", "examples"], lambda *_: True),
}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value (of JSON, as Python has it) is valid.

    Raises:
        KeyError: the schema has a keyword that is not known here.
    """
    return all(_KEYWORDS[keyword](value, wanted, schema) for keyword, wanted in schema.items())
