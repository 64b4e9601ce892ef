"""The tables of docs/configuration.md, made from the fields of the configuration.

``python -m tests.config.reference`` writes them into the page, between its markers.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.config.delivery import LimitOrName
from bridge.config.fields import object_of
from bridge.config.model import Config
from bridge.config.records import Setting
from bridge.config.scalars import Kind, String
from bridge.config.shapes import Listing, Object
from bridge.config.sinks import installed, load_sink

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

_BLOCK = re.compile(r"(<!-- keys of (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def sections() -> dict[str, tuple[Setting, ...]]:
    """The settings of each part, by the name that its marker has."""
    root = object_of(Config).settings
    return {"the file": root, **dict(_below(root, ""))}


def _below(settings: Iterable[Setting], path: str) -> Iterator[tuple[str, tuple[Setting, ...]]]:
    for setting in settings:
        here = f"{path}.{setting.key}" if path else setting.key
        kind = setting.kind
        if isinstance(kind, Listing):
            here, kind = f"{here}[]", kind.item
        if isinstance(kind, Object):
            yield here, kind.settings
            yield from _below(kind.settings, here)
        if here == "sinks[]" and isinstance(kind, Object):
            for name, entry in sorted(installed().items()):
                own = object_of(load_sink(entry, kind.settings)).settings
                yield f"sinks[] of type {name}", own
                yield from _below(own, f"sinks[] of type {name}")


def table(settings: Iterable[Setting]) -> str:
    """One row for each key."""
    rows = ["| key | value | default | meaning | example |", "|---|---|---|---|---|"]
    for setting in settings:
        default = "**required**" if setting.required else _code(setting.default_text())
        value = _cell(_value(setting))
        meaning = _cell(setting.about)
        rows.append(f"| `{setting.key}` | {value} | {default} | {meaning} | {_code(setting.example)} |")
    return "\n".join(rows) + "\n"


def _value(setting: Setting) -> str:
    kind = setting.kind
    if isinstance(kind, LimitOrName):
        return "keys below, or a name"
    if isinstance(kind, Object):
        return "keys below"
    if isinstance(kind, Listing):
        return "list, keys below" if isinstance(kind.item, Object) else f"list, each: {_form(kind.item)}"
    return _form(kind)


def _form(kind: Kind) -> str:
    named = re.sub(r"^an? ", "", kind.means())
    # What follows "as" is an example, and the row has one; "or leave" is advice for who was wrong.
    described = (
        re.sub(r",? ?\b(as|or leave) .*", "", kind.form.write)
        if isinstance(kind, String) and kind.form.pattern
        else ""
    )
    return f"{named}: {described}" if described else named


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def rendered(page: str) -> str:
    """The page with its tables as they must be."""
    known = sections()
    return _BLOCK.sub(lambda block: f"{block[1]}{table(known[block[2]])}{block[3]}", page)


def marked(page: str) -> list[str]:
    """The parts that the page has a table for."""
    return [block[1] for block in _BLOCK.findall(page)]


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text("utf-8")), "utf-8")
