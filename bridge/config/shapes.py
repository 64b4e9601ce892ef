"""The kinds that contain others: lists, secrets, and objects, which are frozen dataclasses."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bridge.config.document import Entry, entries, line_of
from bridge.config.problems import Place, nearest
from bridge.config.records import Record, Setting
from bridge.config.scalars import INVALID, FilePath, Kind, String, Wrong, plain_text, shown
from bridge.secret import Secret
from bridge.settings import Items, Text

__all__ = ["As", "Listing", "Object", "SecretSource", "Table", "decode_settings", "object_schema"]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list whose items are all of one kind and, where they are single values, all different unless told."""

    item: Kind
    length: Items = field(default_factory=lambda: Items(0, ""))

    def means(self) -> str:
        """What to write."""
        item = self.item.means()
        return f"{item}, or a list of such" if self.length.or_one else f"a list, each item {item}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        item = self.item.schema()
        schema: dict[str, Any] = {"type": "array", "items": item}
        if self.length.least:
            schema["minItems"] = self.length.least
        if not isinstance(self.item, Object) and not self.length.repeats:
            schema["uniqueItems"] = True
        return {"anyOf": [item, schema]} if self.length.or_one else schema

    def write(self, value: Any) -> str:
        """As a YAML flow sequence."""
        return f"[{', '.join(self.item.write(item) for item in value)}]"

    def decode(self, node: Node, place: Place) -> Any:
        """A tuple, or INVALID; items that are wrong are left out and noted."""
        if self.length.or_one and not isinstance(node, SequenceNode):
            item = self.item.decode(node, place)
            return INVALID if item is INVALID else (item,)
        if not isinstance(node, SequenceNode):
            place.wrong(f"is not a list; write `[...]` with {self.item.means()}")
            return INVALID
        if len(node.value) < self.length.least:
            place.wrong(f"is an empty list; {self.length.write}")
            return INVALID
        items: list[Any] = []
        seen: set[Any] = set()
        for index, child in enumerate(node.value):
            here = place.item(index, line_of(child))
            item = self.item.decode(child, here)
            if item is INVALID:
                continue
            if not isinstance(item, Record) and not self.length.repeats:
                if item in seen:
                    here.wrong(f"{shown(self.item.write(item))} is there twice; remove one of the two")
                    continue
                seen.add(item)
            items.append(item)
        return tuple(items)


@dataclass(frozen=True, slots=True)
class SecretSource:
    """A secret: its value, `{file: ...}` or `{env: ...}`. No message ever shows the value.

    Attributes:
        least: how many bytes it must have; only known when it is read.
        plain: numbers and booleans are taken as they are written, for values that are seldom secret.
    """

    least: int = 1
    plain: bool = False

    def means(self) -> str:
        """What to write."""
        return "a secret: its value, {file: PATH} or {env: NAME}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        sources = [object_schema((dataclasses.replace(key, required=True),)) for key in _SECRET_KEYS]
        plain: list[dict[str, Any]] = [{"type": "number"}, {"type": "boolean"}] if self.plain else []
        return {"oneOf": [{"type": "string", "minLength": 1}, *plain, *sources]}

    def write(self, value: Any) -> str:
        """Where it is."""
        return f"{{file: {value.file}}}" if value.file else f"{{env: {value.env}}}" if value.env else "..."

    def decode(self, node: Node, place: Place) -> Any:
        """The `Secret`, or INVALID; it is not read here."""
        if isinstance(node, ScalarNode):
            return self._literal(node, place)
        if not isinstance(node, MappingNode):
            place.wrong(f"is a list; write {self.means()}")
            return INVALID
        found = decode_settings(entries(node, place), _SECRET_KEYS, place, Secret)
        if len(found.places) > 1:
            place.wrong("has two sources; keep either file or env")
        elif not found.places:
            place.wrong(f"has no source; write {self.means()}")
        if len(found.places) != 1 or not found.values:
            return INVALID
        return Secret(**found.values)

    def _literal(self, node: ScalarNode, place: Place) -> Any:
        try:
            text = node.value if self.plain and node.tag in _PLAIN_TAGS else plain_text(node)
        except Wrong:
            text = ""
        if not text:
            place.wrong("is empty or not text; quote the secret, or write {file: PATH} or {env: NAME}")
            return INVALID
        return Secret(value=text.encode())


_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool"))
_VARIABLE = Text("a variable's name", "the name of a variable")
_SECRET_KEYS = (
    Setting(
        "file", "file", FilePath(), required=False, default=None, about="A file, read when it is needed."
    ),
    Setting("env", "env", String(_VARIABLE), required=False, default=None, about="An environment variable."),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping whose keys others have chosen, such as headers: each with a text, a number or a secret."""

    value: SecretSource = field(default_factory=lambda: SecretSource(plain=True))

    def means(self) -> str:
        """What to write."""
        return "a mapping of names to values, each a text, a number, {file: PATH} or {env: NAME}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return {"type": "object", "additionalProperties": self.value.schema()}

    def write(self, value: Any) -> str:
        """As a YAML flow mapping; no value is shown."""
        return f"{{{', '.join(f'{name}: {self.value.write(item)}' for name, item in value.items())}}}"

    def decode(self, node: Node, place: Place) -> Any:
        """A read-only mapping in the order of its names, or INVALID; values that are wrong are noted."""
        if not isinstance(node, MappingNode):
            place.wrong(f"is not a mapping; write {self.means()}")
            return INVALID
        found = {
            name: self.value.decode(entry.value, place.key(name, line_of(entry.key)))
            for name, entry in sorted(entries(node, place).items())
        }
        return INVALID if INVALID in found.values() else MappingProxyType(found)


@dataclass(frozen=True, slots=True)
class Object:
    """A mapping with known keys."""

    type: type[Any]
    settings: tuple[Setting, ...]

    def means(self) -> str:
        """What to write."""
        return f"a mapping with {_names(setting.key for setting in self.settings)}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return object_schema(self.settings)

    def write(self, value: Any) -> str:
        """As a YAML flow mapping, without what is not set."""
        given = [(each, getattr(value, each.name)) for each in self.settings]
        pairs = [f"{each.key}: {each.kind.write(item)}" for each, item in given if item is not None]
        return f"{{{', '.join(pairs)}}}"

    def decode(self, node: Node, place: Place) -> Any:
        """A `Record`, also when keys in it are wrong; INVALID when it is no mapping."""
        if not isinstance(node, MappingNode):
            empty = isinstance(node, ScalarNode) and not node.value
            place.wrong(f"{'has no value' if empty else 'is not a mapping'}; write {self.means()}")
            return INVALID
        return decode_settings(entries(node, place), self.settings, place, self.type)


@dataclass(frozen=True, slots=True)
class As:
    """Marks, in `Annotated`, a dataclass that is read by a kind of its own."""

    kind: type[Object]


def object_schema(settings: tuple[Setting, ...]) -> dict[str, Any]:
    """JSON Schema of a mapping with these keys and no others."""
    return {
        "type": "object",
        "properties": {setting.key: setting.schema() for setting in settings},
        "required": [setting.key for setting in settings if setting.required],
        "additionalProperties": False,
    }


def decode_settings(
    found: Mapping[str, Entry], settings: tuple[Setting, ...], place: Place, owner: type[Any]
) -> Record:
    """Read the known keys of a mapping; unknown and missing ones are noted."""
    record = Record(owner, settings, place)
    known = {setting.key: setting for setting in settings}
    misspelt = _note_unknown(found, known, place)
    for key, setting in known.items():
        if key in found:
            here = place.key(key, line_of(found[key].key))
            record.places[setting.name] = here
            value = setting.kind.decode(found[key].value, here)
            if value is not INVALID:
                record.values[setting.name] = value
        elif key in misspelt:
            # It is there, and wrong: so it is not also missing.
            record.places[setting.name] = misspelt[key]
        elif setting.required:
            example = f", as `{key}: {setting.example}`" if setting.example else ""
            place.key(key, place.line).wrong(f"is missing; write {setting.kind.means()}{example}")
    return record


def _note_unknown(found: Mapping[str, Entry], known: Mapping[str, Setting], place: Place) -> dict[str, Place]:
    """Returns the keys that were probably meant, each with where that stands."""
    misspelt: dict[str, Place] = {}
    free = [key for key in known if key not in found]
    for name, entry in found.items():
        if name in known:
            continue
        close = nearest(name, free) or nearest(name, known)
        here = place.key(name if len(name) <= 60 else f"{name[:60]}...", line_of(entry.key))  # noqa: PLR2004 - fits a line
        if close is None:
            here.wrong(f"unknown key; write one of {_names(known)}")
        else:
            here.wrong(f"unknown key; did you mean `{close}`?")
            misspelt.setdefault(close, here)
    return misspelt


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
