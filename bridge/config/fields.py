"""A dataclass -> the keys that it has in the configuration, each with the kind that its type asks for."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Union

from bridge.config.records import Setting
from bridge.config.scalars import Boolean, Choice, Duration, FilePath, Kind, Number, Parsed, Size, String
from bridge.config.shapes import As, Listing, Object, SecretSource, Table
from bridge.secret import Secret
from bridge.settings import FromText, Items, Range, Text, Unit

__all__ = ["object_of", "settings_of"]

_KINDS: Final[Mapping[type[Any], Kind]] = {bool: Boolean(), Path: FilePath()}


def object_of(owner: type[Any]) -> Object:
    """The kind of a dataclass; raises what `settings_of` raises."""
    return Object(owner, settings_of(owner))


def settings_of(owner: type[Any]) -> tuple[Setting, ...]:
    """The keys that a dataclass has in the configuration, all but a field of other keys (`inline`).

    Raises:
        TypeError: it is no dataclass, or a field has a type that cannot be configured; a programmer's error.
    """
    if not dataclasses.is_dataclass(owner):
        raise TypeError(f"{owner.__name__} is not a dataclass")
    configured = [item for item in dataclasses.fields(owner) if item.init and not item.metadata.get("inline")]
    hints = _hints(owner, {item.name for item in configured})
    return tuple(_setting(item, hints[item.name]) for item in configured)


def _setting(item: "dataclasses.Field[Any]", hint: Any) -> Setting:
    default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
    return Setting(
        name=item.name,
        key=_camel(item.name),
        kind=_kind_of(hint, ()),
        required=item.metadata.get("required", False) or default is dataclasses.MISSING,
        default=default,
        about=item.metadata.get("about", ""),
        example=item.metadata.get("example", ""),
        readable=item.metadata.get("readable", False),
    )


def _hints(owner: type[Any], names: set[str]) -> dict[str, Any]:
    """Types of the fields `names` only: those of others may be imported for type checkers alone."""
    hints: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        wanted = {name: hint for name, hint in inspect.get_annotations(base).items() if name in names}
        shell = type(base.__name__, (), {"__annotations__": wanted, "__module__": base.__module__})
        hints |= typing.get_type_hints(shell, include_extras=True)
    return hints


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _kind_of(hint: Any, marks: tuple[Any, ...]) -> Kind:
    """The kind of a type; `marks` are what stood around it in `Annotated`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _kind_of(arguments[0], (*arguments[1:], *marks))
    if origin in {Union, types.UnionType} and len(arguments) == 2 and types.NoneType in arguments:  # noqa: PLR2004 - X | None
        return _kind_of(next(argument for argument in arguments if argument is not types.NoneType), marks)
    if origin is Literal:
        return Choice(arguments)
    if origin is tuple and arguments[1:] == (...,):
        return Listing(_kind_of(arguments[0], ()), _mark(marks, Items, Items(0, "")))
    if origin is Mapping and arguments == (str, Secret):
        return Table()
    if isinstance(hint, type):
        return _kind_of_class(hint, marks)
    raise TypeError(f"{hint!r} cannot be configured; see bridge.settings for the types that can")


def _kind_of_class(hint: type[Any], marks: tuple[Any, ...]) -> Kind:
    if hint in {int, float}:
        return _kind_of_number(hint, marks)
    form = _mark(marks, Text, Text("a text", "a text"))
    if hint is str:
        return String(form)
    if hint is Secret:
        return SecretSource(int(_mark(marks, Range, Range()).minimum or 1))
    if hint in _KINDS:
        return _KINDS[hint]
    if isinstance(hint, FromText):
        return Parsed(hint, form)
    if dataclasses.is_dataclass(hint):
        kind: type[Object] = _mark(marks, As, As(Object)).kind
        return kind(hint, settings_of(hint))
    raise TypeError(f"{hint.__name__} cannot be configured; see bridge.settings for the types that can")


def _kind_of_number(hint: type[Any], marks: tuple[Any, ...]) -> Kind:
    bounds = _mark(marks, Range, Range())
    if Unit.BYTES in marks:
        return Size(bounds)
    if Unit.SECONDS in marks:
        return Duration(bounds)
    return Number(hint is int, bounds)


def _mark(marks: tuple[Any, ...], wanted: type[Any], otherwise: Any) -> Any:
    return next((mark for mark in marks if isinstance(mark, wanted)), otherwise)
