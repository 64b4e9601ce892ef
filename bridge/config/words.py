"""Values that streams and sinks have in common: names and types of changes."""

from typing import Annotated, Final, Literal

from bridge.settings import Items, Text

__all__ = ["ALL_TYPES", "NAME", "TYPES_ABOUT", "ChangeType", "Name", "Types"]

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

NAME: Final = Text("a name", "lower-case letters, digits and `-`, as web-pods", r"[a-z0-9\-]+")
Name = Annotated[str, NAME]
Types = Annotated[
    tuple[ChangeType, ...],
    Items(1, "write at least one of ADDED, MODIFIED, DELETED, or leave the key out for all"),
]
ALL_TYPES: Final[tuple[ChangeType, ...]] = ("ADDED", "MODIFIED", "DELETED")
TYPES_ABOUT: Final = "Changes that are handed out; the inventory sees all of them."
