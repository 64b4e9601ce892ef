"""The kinds of single values: each reads a YAML scalar, names itself in messages and has a JSON Schema.

YAML 1.1 takes `no` for a boolean, `010` for eight and `1:30` for ninety, other versions do not; a text that
any of them takes for something else must be quoted, and a number must be one that all of them read alike.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from yaml.nodes import MappingNode, Node, ScalarNode

from bridge.config import units
from bridge.config.problems import Place, nearest
from bridge.settings import FromText, Range, Text

__all__ = [
    "INVALID",
    "Boolean",
    "Choice",
    "Duration",
    "FilePath",
    "Kind",
    "Number",
    "Parsed",
    "Scalar",
    "Size",
    "String",
    "Wrong",
    "shown",
]

INVALID: Final = object()
"""Stands for a value that could not be read; the problem is noted."""

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{0,18})?([eE][-+]?[0-9]{1,3})?")
# Numbers of YAML 1.2 that YAML 1.1 takes for text.
_OTHER_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
_SHOWN = 40
_KINDS = {
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
    "null": "nothing",
    "value": "a special value",
    "merge": "a special value",
    "binary": "binary",
}


class Wrong(ValueError):
    """What is wrong with a value and what to write."""


class Kind(Protocol):
    """What a value of the configuration can be."""

    def means(self) -> str:
        """What to write, with its article, as `a size such as 16Mi`."""
        ...

    def schema(self) -> dict[str, Any]:
        """JSON Schema, draft 2020-12."""
        ...

    def decode(self, node: Node, place: Place) -> Any:
        """The value, or INVALID after the problem was noted at `place`."""
        ...

    def write(self, value: Any) -> str:
        """A value as one would write it in YAML."""
        ...


@dataclass(frozen=True, slots=True)
class Scalar(ABC):
    """What all single values share: everything that is no scalar is told the same way."""

    @abstractmethod
    def means(self) -> str:
        """What to write."""

    @abstractmethod
    def read(self, node: ScalarNode) -> Any:
        """The value of a scalar that is not null; raises `Wrong`."""

    def write(self, value: Any) -> str:
        """The value as it stands in YAML."""
        return str(value)

    def decode(self, node: Node, place: Place) -> Any:
        """The value, or INVALID after the problem was noted."""
        if not isinstance(node, ScalarNode):
            what = "a mapping" if isinstance(node, MappingNode) else "a list"
            place.wrong(f"is {what}; write {self.means()}")
            return INVALID
        if node.tag == f"{_TAG}null" and node.style is None:
            place.wrong(f"has no value; write {self.means()}, or leave the key out")
            return INVALID
        try:
            return self.read(node)
        except Wrong as wrong:
            place.wrong(str(wrong))
            return INVALID


@dataclass(frozen=True, slots=True)
class String(Scalar):
    """A text."""

    form: Text = field(default_factory=lambda: Text("a text", "a text", pattern=""))

    def means(self) -> str:
        """What to write."""
        return self.form.what

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        schema: dict[str, Any] = {"type": "string"}
        if self.form.pattern:
            schema["pattern"] = f"^(?:{self.form.pattern})$"
        elif self.form.check is None:
            schema["minLength"] = 1
        return schema

    def read(self, node: ScalarNode) -> str:
        """The text, in the form that is asked for."""
        text = plain_text(node, self.form)
        if self.form.pattern and re.fullmatch(self.form.pattern, text) is None:
            raise Wrong(f"{shown(text)} is not {self.form.what}; write {self.form.write}")
        if self.form.check is not None:
            problem = self.form.check(text)
            if problem is not None:
                named = "" if self.form.private else f"{shown(text)} "
                raise Wrong(f"{named}is not {self.form.what}: {problem}")
        elif not text:
            raise Wrong(f"is empty; write {self.form.write}")
        return text


@dataclass(frozen=True, slots=True)
class FilePath(Scalar):
    """A path of the machine that the bridge runs on."""

    def means(self) -> str:
        """What to write."""
        return "a path"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return {"type": "string", "minLength": 1}

    def read(self, node: ScalarNode) -> Path:
        """The path as it is written; relative ones are of the working directory."""
        text = plain_text(node)
        if not text or "\0" in text:
            raise Wrong("is not a path; write one, such as /var/lib/kube-bridge")
        if text.startswith("~"):
            raise Wrong(f"{shown(text)} would need a shell to know the home directory; write the whole path")
        return Path(text)


@dataclass(frozen=True, slots=True)
class Boolean(Scalar):
    """True or false, nothing else."""

    def means(self) -> str:
        """What to write."""
        return "true or false"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return {"type": "boolean"}

    def read(self, node: ScalarNode) -> bool:
        """The boolean."""
        if node.style is None and node.value in {"true", "false"}:
            return bool(node.value == "true")
        raise Wrong(f"{shown(node.value)} is not a boolean; write true or false, without quotes")

    def write(self, value: Any) -> str:
        """As YAML has it."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Number(Scalar):
    """A whole number, or any finite one."""

    whole: bool
    bounds: Range = field(default_factory=Range)

    def means(self) -> str:
        """What to write."""
        return f"a {'whole ' if self.whole else ''}number{_bounds(self.bounds, '{:g}'.format)}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        limits = {
            "minimum": self.bounds.minimum,
            "exclusiveMinimum": self.bounds.above,
            "maximum": self.bounds.maximum,
        }
        return {"type": "integer" if self.whole else "number"} | {
            key: limit for key, limit in limits.items() if limit is not None
        }

    def read(self, node: ScalarNode) -> int | float:
        """The number."""
        text = node.value
        if node.style is not None and _FLOAT.fullmatch(text):
            raise Wrong(f"{shown(text)} is text; write the number without quotes")
        pattern = _DECIMAL if self.whole else _FLOAT
        if node.style is not None or pattern.fullmatch(text) is None:
            raise Wrong(f"{shown(text)} is not {self.means()}; write digits, without a leading zero")
        value = int(text) if self.whole else float(text)
        if not math.isfinite(value) or not _within(value, self.bounds):
            raise Wrong(f"{shown(text)} is out of bounds; write {self.means()}")
        return value

    def write(self, value: Any) -> str:
        """The shortest way."""
        return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Size(Scalar):
    """Bytes, as a Kubernetes quantity."""

    bounds: Range = field(default_factory=Range)

    def means(self) -> str:
        """What to write."""
        return f"a size{_bounds(self.bounds, lambda size: units.format_size(int(size))) or ' such as 16Mi'}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema; bounds cannot be told of a text."""
        number = {"type": "integer", "minimum": int(self.bounds.minimum or 0)}
        return {"oneOf": [{"type": "string", "pattern": f"^(?:{units.SIZE_PATTERN})$"}, number]}

    def read(self, node: ScalarNode) -> int:
        """Bytes."""
        size = units.parse_size(node.value)
        # `010` is eight for YAML 1.1, ten for others.
        if size is None or (node.value.startswith("0") and node.value.isdecimal() and node.value != "0"):
            raise Wrong(
                f"{shown(node.value)} is not a size; write a number with Ki, Mi, Gi, k, M or G, as 16Mi"
            )
        if not _within(size, self.bounds):
            raise Wrong(f"{shown(node.value)} is out of bounds; write {self.means()}")
        return size

    def write(self, value: Any) -> str:
        """With the greatest exact suffix."""
        return units.format_size(value)


@dataclass(frozen=True, slots=True)
class Duration(Scalar):
    """Seconds, as Go and Kubernetes write them."""

    bounds: Range = field(default_factory=Range)

    def means(self) -> str:
        """What to write."""
        return f"a duration{_bounds(self.bounds, units.format_duration) or ' such as 10s'}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema; bounds cannot be told of a text."""
        return {"type": "string", "pattern": f"^(?:{units.DURATION_PATTERN})$"}

    def read(self, node: ScalarNode) -> float:
        """Seconds."""
        seconds = units.parse_duration(node.value)
        if seconds is None:
            raise Wrong(
                f"{shown(node.value)} is not a duration; write a number with its unit, as 500ms, 10s, 5m, 1h"
            )
        if not _within(seconds, self.bounds):
            raise Wrong(f"{shown(node.value)} is out of bounds; write {self.means()}")
        return seconds

    def write(self, value: Any) -> str:
        """With the greatest exact unit."""
        return units.format_duration(value)


@dataclass(frozen=True, slots=True)
class Choice(Scalar):
    """One of a few words, or of a few whole numbers."""

    values: Sequence[str | int]

    def means(self) -> str:
        """What to write."""
        *first, last = map(str, self.values)
        return f"{', '.join(first)} or {last}" if first else last

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return {"enum": list(self.values)}

    def read(self, node: ScalarNode) -> str | int:
        """The word."""
        for value in self.values:
            if node.value == str(value):
                if isinstance(value, int) and node.style is not None:
                    raise Wrong(f"{shown(node.value)} is text; write the number without quotes")
                return value
        close = nearest(node.value, map(str, self.values))
        hint = f"did you mean `{close}`? " if close else ""
        raise Wrong(f"{shown(node.value)} is not known here; {hint}write {self.means()}")


@dataclass(frozen=True, slots=True)
class Parsed(Scalar):
    """A type of its own that is written as one text."""

    type: type[FromText]
    form: Text

    def means(self) -> str:
        """What to write."""
        return self.form.what

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return String(self.form).schema()

    def read(self, node: ScalarNode) -> FromText:
        """The value."""
        text = plain_text(node, self.form)
        try:
            return self.type.from_text(text)
        except ValueError as error:
            raise Wrong(f"{shown(text)} is not {self.form.what}: {error}") from error


def plain_text(node: ScalarNode, form: Text | None = None) -> str:
    """The text of a scalar that every version of YAML takes for text; raises `Wrong`."""
    kind = node.tag.removeprefix(_TAG)
    quoted = f'quote it: "{node.value[:_SHOWN]}"'
    if form is not None and form.pattern and re.fullmatch(form.pattern, node.value) is None:
        quoted = f"write {form.write}"
    if kind != "str":
        if node.style is not None or kind not in _KINDS:
            raise Wrong(f"{shown(node.value)} is tagged {node.tag}, so it is not text; remove the tag")
        raise Wrong(f"{shown(node.value)} is {_KINDS[kind]} in YAML, not text; {quoted}")
    if node.style is None and _OTHER_NUMBER.fullmatch(node.value):
        raise Wrong(f"{shown(node.value)} may be read as a number; {quoted}")
    text = str(node.value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong("has half of a surrogate pair, which is no character; remove the \\u escape") from None
    return text


def shown(text: str) -> str:
    """A text for a message, not endless."""
    return f"`{text[:_SHOWN]}...`" if len(text) > _SHOWN else f"`{text}`"


def _within(value: float, bounds: Range) -> bool:
    return not (
        (bounds.minimum is not None and value < bounds.minimum)
        or (bounds.above is not None and value <= bounds.above)
        or (bounds.maximum is not None and value > bounds.maximum)
    )


def _bounds(bounds: Range, written: Any) -> str:
    parts = [
        f"of at least {written(bounds.minimum)}" if bounds.minimum is not None else "",
        f"more than {written(bounds.above)}" if bounds.above is not None else "",
        f"at most {written(bounds.maximum)}" if bounds.maximum is not None else "",
    ]
    told = " and ".join(filter(None, parts))
    return f" {told}" if told else ""
