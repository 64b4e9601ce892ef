"""What is known of one dataclass: its keys, and what a configuration says of each."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from bridge.config.problems import Place
from bridge.config.scalars import INVALID, Kind
from bridge.settings import RuleBroken

__all__ = ["Record", "Setting", "build", "is_invalid"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a dataclass as one key of the configuration."""

    name: str
    key: str
    kind: Kind
    required: bool
    default: Any
    about: str = ""
    example: str = ""
    readable: bool = False

    def default_text(self) -> str:
        """The default as one would write it, "" when there is none or it means that nothing is set."""
        nothing = self.default is dataclasses.MISSING or self.default in (None, "", (), {})
        text = "" if nothing else self.kind.write(self.default)
        return "" if text == "{}" else text

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the value, with its description."""
        schema = self.kind.schema() | {"description": self.about}
        if default := self.default_text():
            schema["default"] = yaml.safe_load(default)
        if self.example:
            schema["examples"] = [yaml.safe_load(self.example)]
        return schema


@dataclass(frozen=True, slots=True)
class Record:
    """What was read for one dataclass: as much of it as is right, and where each key stands."""

    type: type[Any]
    settings: tuple[Setting, ...]
    place: Place
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """What was read for a field, its default when it was not given, None when it is wrong."""
        if name in self.values:
            return self.values[name]
        if name in self.places:
            return None
        default = next((setting.default for setting in self.settings if setting.name == name), None)
        return None if default is dataclasses.MISSING else default

    def given(self, name: str) -> bool:
        """Whether the key of a field is there, right or wrong."""
        return name in self.places

    def place_of(self, name: str) -> Place:
        """Where a field's key stands, or where it is missing."""
        return self.places.get(name, self.place)

    def records(self) -> Iterator["Record"]:
        """This record and all below it."""
        yield self
        for value in self.values.values():
            for child in value if isinstance(value, tuple) else (value,):
                if isinstance(child, Record):
                    yield from child.records()

    def build(self) -> Any:
        """The object, or INVALID when its own `__post_init__` refuses it, which is noted at its place.

        Rules that it declares are told by who asks them (`bridge.config.options`).
        """
        values = {name: build(value) for name, value in self.values.items()}
        if any(map(is_invalid, values.values())):
            return INVALID
        try:
            return self.type(**values)
        except RuleBroken:
            return INVALID
        except ValueError as error:
            self.place.wrong(str(error))
            return INVALID


def build(value: Any) -> Any:
    """What was read for a field as what its type says, INVALID where a part of it is refused."""
    # Exactly a tuple: a NamedTuple is a value of its own.
    if type(value) is tuple:
        return tuple(build(item) for item in value)
    return value.build() if isinstance(value, Record) else value


def is_invalid(value: Any) -> bool:
    """Whether what `build` returned, or an item of it, is INVALID."""
    return value is INVALID or (isinstance(value, tuple) and INVALID in value)
