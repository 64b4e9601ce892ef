"""Sinks by their `type`: found among the installed entry points, loaded when the configuration names them.

A sink is a frozen dataclass; its fields are its own keys, beside those that every sink has.
"""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from bridge.config.document import Entry, entries
from bridge.config.fields import settings_of
from bridge.config.problems import Place, nearest
from bridge.config.records import Record, Setting
from bridge.config.shapes import Object, decode_settings, object_schema
from bridge.delivery.sink import Sink

__all__ = ["GROUP", "SinkObject", "installed", "load_sink", "type_problem"]

GROUP = "kube_bridge.sinks"
"""Entry point group: the name is the `type` in the configuration, the object is the sink's class."""

_CONTRACT = tuple(name for name, part in vars(Sink).items() if callable(part) or isinstance(part, property))
_UNKNOWN = "This sink cannot be imported here, so its keys are not known."


def installed() -> dict[str, EntryPoint]:
    """The sinks that can be named, by type; none of them is imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def type_problem(name: str) -> str | None:
    """What is wrong with a sink type that is not installed, or None."""
    known = installed()
    if name in known:
        return None
    close = nearest(name, known)
    hint = f"did you mean `{close}`? " if close else ""
    return f"{hint}write one of {', '.join(sorted(known))}, or install the package that has it"


def load_sink(entry: EntryPoint, common: tuple[Setting, ...]) -> type[Any]:
    """Import the class of a sink.

    Raises:
        TypeError: it cannot be used; the message says why, for the person who configured it.
    """
    try:
        sink = entry.load()
    # A sink is anybody's code, and what its import raises must not end the bridge without naming it.
    except Exception as error:
        raise TypeError(
            f"cannot be imported ({type(error).__name__}: {error}); install what it needs"
        ) from error
    try:
        settings = settings_of(sink)
    except (TypeError, NameError) as error:
        raise TypeError(f"has no usable options ({error}); report it to whoever made this sink") from error
    fields = {setting.name for setting in settings}
    lacking = [name for name in _CONTRACT if not hasattr(sink, name) and name not in fields]
    if lacking:
        raise TypeError(f"is no sink, for it has no {', '.join(lacking)}; report it to whoever made it")
    taken = {setting.key for setting in common} & {setting.key for setting in settings}
    if taken:
        raise TypeError(
            f"uses keys that every sink has ({', '.join(sorted(taken))}); report it to whoever made it"
        )
    return sink  # type: ignore[no-any-return]  # what an entry point names is any object; settings_of has looked


@dataclass(frozen=True, slots=True)
class SinkObject(Object):
    """One item of `sinks`: the keys of every sink and, in the same mapping, those of its type."""

    def means(self) -> str:
        """What to write."""
        return "a mapping with name, type and the keys of that type"

    def schema(self) -> dict[str, Any]:
        """JSON Schema: one alternative for each installed type that can be imported."""
        common = self.settings
        alternatives = []
        for name, entry in sorted(installed().items()):
            try:
                own = settings_of(load_sink(entry, common))
            except TypeError:
                # Its keys cannot be known, and those of the others still can.
                alternatives.append(
                    {
                        "type": "object",
                        "properties": {"type": {"const": name, "description": _UNKNOWN}},
                        "required": ["type"],
                    }
                )
                continue
            alternative = object_schema((*common, *own))
            alternative["properties"]["type"] |= {"const": name}
            alternatives.append(alternative)
        return {"oneOf": alternatives}

    def decode(self, node: Node, place: Place) -> Any:
        """A `Record` of the sink whose `options` are a `Record` of the type's class."""
        if not isinstance(node, MappingNode):
            return Object.decode(self, node, place)
        found = entries(node, place)
        common = self.settings
        options = self._options(found, common, place)
        if options is None:
            # Without its type nobody knows which other keys are right.
            known = {setting.key for setting in common}
            return decode_settings({k: e for k, e in found.items() if k in known}, common, place, self.type)
        own = settings_of(options)
        record = decode_settings(found, (*common, *own), place, self.type)
        names = [setting.name for setting in own]
        record.values["options"] = Record(
            options,
            own,
            place,
            {name: record.values.pop(name) for name in names if name in record.values},
            {name: record.places.pop(name) for name in names if name in record.places},
        )
        return record

    def _options(
        self, found: dict[str, Entry], common: tuple[Setting, ...], place: Place
    ) -> type[Any] | None:
        entry = found.get("type")
        if entry is None or not isinstance(entry.value, ScalarNode):
            return None
        name = entry.value.value
        sink = installed().get(name)
        if sink is None:
            return None
        try:
            return load_sink(sink, common)
        except TypeError as error:
            place.key("type", entry.key.start_mark.line + 1).wrong(f"the sink `{name}` {error}")
            return None
