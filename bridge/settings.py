"""How a part of the bridge, or a sink, declares what a user may configure: fields of a frozen dataclass.

No I/O here. The types of the fields and what `about` says of each drive the parser of the configuration, its
JSON Schema and its documentation (`bridge.config`). A field `topic_name: str` is the key `topicName`.
Understood are `str`, `bool`, `int`, `float`, `Path`, `Literal`, `tuple[X, ...]`, `X | None`, nested frozen
dataclasses, `bridge.secret.Secret`, `Mapping[str, Secret]` (names that others chose, each with a text or a
secret), `Size`, `Seconds`, and classes with `from_text`; fields with `init=False`
are not configured.

```
@dataclass(frozen=True, slots=True)
class Bucket:
    name: str = field(metadata=about("Name of the bucket.", example="audit"))
    part: Annotated[Size, Range(minimum=5 << 20)] = field(default=8 << 20, metadata=about("Bytes of a part."))
```
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, Protocol, Self, runtime_checkable

__all__ = [
    "FromText",
    "Items",
    "Looks",
    "Range",
    "Rule",
    "RuleBroken",
    "Seconds",
    "Size",
    "Text",
    "Unit",
    "about",
    "enforce",
]


class Unit(Enum):
    """What a number with a suffix counts."""

    BYTES = "bytes"
    SECONDS = "seconds"


Size = Annotated[int, Unit.BYTES]
"""Bytes, written as Kubernetes quantities: `16Mi`, `500M` or a plain number."""

Seconds = Annotated[float, Unit.SECONDS]
"""Seconds, written with a unit: `500ms`, `10s`, `1h30m`."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, in the unit of the field.

    Attributes:
        minimum: the least value, included.
        above: every value is greater than this one.
        maximum: the greatest value, included.
    """

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Form of a text.

    Attributes:
        what: what it is, with its article, as `a stream name`.
        write: what to write instead of a wrong one, as `lower-case letters and digits`.
        pattern: a regular expression for all of it, in what Python and JSON Schema have in common.
        check: for what a pattern cannot say: returns one sentence about what is wrong, or None.
        private: it may hold a secret, as a URL may: messages do not repeat it.
    """

    what: str
    write: str
    pattern: str = ""
    check: Callable[[str], str | None] | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """Length of a list.

    Attributes:
        least: how many items there must be.
        write: what to write instead of too few.
        or_one: a single item may be written without the list.
        repeats: an item may be there more than once, as an argument of a program.
    """

    least: int
    write: str
    or_one: bool = False
    repeats: bool = False


@runtime_checkable
class FromText(Protocol):
    """A type that is written as one text."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The value of `text`.

        Raises:
            ValueError: what is wrong and what to write; shown to the user.
        """
        ...


class Looks(Enum):
    """Where a rule looks; it is asked only when that is looked at."""

    NOWHERE = auto()
    """At its values alone, so it holds everywhere and always."""
    FILES = auto()
    """At files and variables that the configuration names, which must be there when the bridge starts."""
    DESTINATION = auto()
    """At where records go, which may be away for a while: `check` tells it, `run` waits for it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of some fields of a dataclass.

    It has them in `RULES: ClassVar[tuple[Rule, ...]]`. Each is asked by itself, so that no mistake hides
    another.

    Attributes:
        fields: their names. A rule is not asked while one of them cannot be read; what it tells stands at
            the first.
        problems: called with their values; one sentence for each thing that is wrong. Raises nothing.
        looks: where it looks.
    """

    fields: tuple[str, ...]
    problems: Callable[..., Iterable[str]]
    looks: Looks = Looks.NOWHERE


class RuleBroken(ValueError):
    """Raised by `enforce`."""


def enforce(options: Any) -> None:
    """Hold an object against those of its rules that look nowhere; for `__post_init__`.

    Raises:
        RuleBroken: the first thing that is wrong, in one sentence.
    """
    for rule in options.RULES:
        if rule.looks is Looks.NOWHERE:
            for problem in rule.problems(*(getattr(options, name) for name in rule.fields)):
                raise RuleBroken(f"{rule.fields[0]}: {problem}")


def about(
    text: str, *, example: str = "", required: bool = False, readable: bool = False
) -> Mapping[str, Any]:
    """Metadata of a dataclass field.

    Args:
        text: what the key means, for the reference and the schema.
        example: a value as one would write it in YAML.
        required: the key must be there although the field has a default, which is for those who build the
            object themselves.
        readable: the value is a path of a file that must be readable when the configuration is loaded.
    """
    return {"about": text, "example": example, "required": required, "readable": readable}
