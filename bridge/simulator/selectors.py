"""Label and field selectors: parsed as the server does, matched against objects. Pure."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.simulator.errors import bad_request

if TYPE_CHECKING:
    from bridge.simulator.encode import Obj
    from bridge.simulator.kinds import Kind

__all__ = ["Selector"]

_TOKEN = re.compile(r"\s*(==|!=|[!=<>(),]|[^\s!=<>(),]+)")
_SYMBOLS = frozenset(("==", "!=", "!", "=", "<", ">", "(", ")", ",", ""))
_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_FIELD_REQUIREMENT = re.compile(r"(?P<key>[^=!,]+)(?P<operator>==|=|!=)(?P<value>(?:[^,\\]|\\.)*)(?:,|$)")


@dataclass(frozen=True, slots=True)
class _Requirement:
    """`key` has (or with `negated` has not) one of the values; None stands for any value at all."""

    key: str
    values: frozenset[str] | None
    negated: bool

    def matches(self, value: str | None) -> bool:
        there = value is not None and (self.values is None or value in self.values)
        return there is not self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or a watch wants to see."""

    labels: tuple[_Requirement, ...] = ()
    fields: tuple[_Requirement, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, kind: Kind, labels: str, fields: str) -> Selector:
        """Reads both query parameters.

        Raises:
            ApiError: 400, with the server's words, for a syntax error or a field that cannot be selected by.
        """
        parsed = _parse_fields(fields)
        for requirement in parsed:
            if requirement.key not in {"metadata.name", "metadata.namespace", *kind.fields}:
                raise bad_request(_unknown_field(kind, requirement.key))
        return cls(_parse_labels(labels), parsed, tuple(kind.fields.items()))

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, obj: Obj | None) -> bool:
        """Whether it selects the object; what does not exist is never selected."""
        if obj is None:
            return False
        labels = obj["metadata"].get("labels", {})
        return all(requirement.matches(labels.get(requirement.key)) for requirement in self.labels) and all(
            requirement.matches(self._field(obj, requirement.key)) for requirement in self.fields
        )

    def _field(self, obj: Obj, path: str) -> str:
        value: Any = obj
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return dict(self.defaults).get(path, "")
        return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_labels(text: str) -> tuple[_Requirement, ...]:
    tokens = deque([*_TOKEN.findall(text), ""])
    requirements: list[_Requirement] = []
    while tokens[0]:
        if tokens[0] in _SYMBOLS - {"!"}:
            raise bad_request(f"found '{tokens[0]}', expected: !, identifier, or 'end of string'")
        requirements.append(_label_requirement(tokens))
        if tokens[0] not in {",", ""}:
            raise bad_request(f"found '{tokens[0]}', expected: ',' or 'end of string'")
        if tokens[0] == ",":
            tokens.popleft()
            if tokens[0] in _SYMBOLS - {"!"}:
                raise bad_request(f"found '{tokens[0]}', expected: identifier after ','")
    return tuple(requirements)


def _label_requirement(tokens: deque[str]) -> _Requirement:
    if tokens[0] == "!":
        tokens.popleft()
        return _Requirement(_identifier(tokens), None, negated=True)
    key = _identifier(tokens)
    if tokens[0] in {",", ""}:
        return _Requirement(key, None, negated=False)
    operator = tokens.popleft()
    if operator in {"in", "notin"}:
        return _Requirement(key, _label_values(tokens), negated=operator == "notin")
    if operator not in {"=", "==", "!="}:
        raise bad_request(f"unable to parse requirement: found '{operator}', expected: {_OPERATORS}")
    value = "" if tokens[0] in {",", ""} else _identifier(tokens)
    return _Requirement(key, frozenset([value]), negated=operator == "!=")


def _label_values(tokens: deque[str]) -> frozenset[str]:
    if tokens[0] != "(":
        raise bad_request(f"unable to parse requirement: found '{tokens[0]}' expected: '('")
    tokens.popleft()
    values = set()
    while True:
        values.add("" if tokens[0] in {",", ")"} else _identifier(tokens))
        if tokens[0] not in {",", ")"}:
            raise bad_request(f"unable to parse requirement: found '{tokens[0]}', expected: ',' or ')'")
        if tokens.popleft() == ")":
            return frozenset(values)


def _identifier(tokens: deque[str]) -> str:
    if tokens[0] in _SYMBOLS:
        raise bad_request(f"unable to parse requirement: found '{tokens[0]}', expected: identifier")
    return tokens.popleft()


def _parse_fields(text: str) -> tuple[_Requirement, ...]:
    requirements = []
    position = 0
    while position < len(text):
        found = _FIELD_REQUIREMENT.match(text, position)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{text[position:]}'")
        position = found.end()
        value = re.sub(r"\\(.)", r"\1", found["value"])
        requirements.append(_Requirement(found["key"], frozenset([value]), negated=found["operator"] == "!="))
    return tuple(requirements)


def _unknown_field(kind: Kind, field: str) -> str:
    if kind.fields or kind.custom:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
