"""What parts of the configuration, sinks above all, know of their own keys: all of them are asked."""

from collections.abc import Set as AbstractSet
from pathlib import Path

from bridge.config.places import made_by_run
from bridge.config.problems import Report
from bridge.config.records import Record, build, is_invalid
from bridge.settings import Looks, Rule

__all__ = ["check_options"]


def check_options(root: Record, report: Report, looks: AbstractSet[Looks]) -> None:
    """Note every declared rule that is broken, and what constructors refuse.

    Args:
        root: of the configuration; `report` has what could not be read of it, and nothing else yet.
        report: where problems are noted.
        looks: where rules may look.
    """
    unread = report.paths()
    for record in root.records():
        for rule in getattr(record.type, "RULES", ()):
            if rule.looks is Looks.DESTINATION and _not_made_yet(root, record):
                continue
            if rule.looks in looks and all(_read(record, name, unread) for name in rule.fields):
                _ask(rule, record)
    wrong = report.paths()
    for record in root.records():
        if record.place.path not in wrong and all(_read(record, s.name, wrong) for s in record.settings):
            record.build()


def _ask(rule: Rule, record: Record) -> None:
    values = [build(record.get(name)) for name in rule.fields]
    # What refuses its own keys tells that, and is nothing that others can be held against.
    if not any(map(is_invalid, values)):
        for sentence in rule.problems(*values):
            record.place_of(rule.fields[0]).wrong(sentence)


def _not_made_yet(root: Record, record: Record) -> bool:
    """Whether a sink writes a file into a folder that comes with the state: it cannot be looked at before."""
    state, path = root.get("state"), record.values.get("path")
    where = state.get("path") if state is not None else None
    return isinstance(path, str | Path) and where is not None and made_by_run(path, where)


def _read(record: Record, name: str, wrong: AbstractSet[str]) -> bool:
    """Whether the value of a field, its default included, is what the user wants."""
    setting = next((setting for setting in record.settings if setting.name == name), None)
    if setting is None:
        raise TypeError(f"A rule of {record.type.__name__} names the field {name!r}, which it does not have.")
    if name not in record.values and (record.given(name) or setting.required):
        return False
    path = f"{record.place.path}.{setting.key}" if record.place.path else setting.key
    return not any(each == path or each.startswith((f"{path}.", f"{path}[")) for each in wrong)
