"""YAML text -> `Config`, or everything that is wrong with it at once."""

from pathlib import Path
from typing import Any

from bridge.config.document import compose, entries, line_of, read
from bridge.config.fields import object_of
from bridge.config.model import Config
from bridge.config.options import check_options
from bridge.config.problems import Place, Problem, Report
from bridge.config.rules import STREAM_SCHEMA, check_readable, check_rules
from bridge.config.shapes import decode_settings
from bridge.settings import Looks

__all__ = ["load", "load_state_path", "loads", "schema"]

_ROOT = object_of(Config)
_OF_STATE = {
    setting.key: setting for setting in _ROOT.settings if setting.name in {"state", "config_version"}
}


def load(path: Path, *, check_destinations: bool = False) -> Config:
    """The configuration in a file; what it names (kubeconfig, certificates, secrets) is read as well.

    Args:
        path: a YAML file in UTF-8.
        check_destinations: also look at destinations that are on this machine, which `run` would wait for.

    Raises:
        ConfigError: with all problems; nothing was started, so tell the user and exit with 2.
    """
    text = read(path, Report(str(path)))
    return loads(text, str(path), check_destinations=check_destinations)


def loads(text: str, source: str, *, check_files: bool = True, check_destinations: bool = False) -> Config:
    """The configuration in a YAML text; otherwise as `load`.

    Args:
        text: the YAML.
        source: names it in errors.
        check_files: read what it names, to tell now what would fail later.
        check_destinations: see `load`.
    """
    report = Report(source)
    document = compose(text, report)
    record = _ROOT.decode(document, Place(report, line_of(document)))
    _only_the_version(report)
    looks = {Looks.FILES: check_files, Looks.DESTINATION: check_destinations}
    check_options(record, report, {Looks.NOWHERE, *(where for where, asked in looks.items() if asked)})
    check_rules(record)
    if check_files:
        check_readable(record)
    report.raise_if_any()
    config: Config = record.build()
    return config


def load_state_path(path: Path) -> Path:
    """`state.path` of the configuration in a file, as it is written there.

    Nothing else is looked at: who asks a running bridge need not have its secrets, its sinks, nor a
    configuration that it would start with.

    Raises:
        ConfigError: the state cannot be told; tell the user and exit with 2.
    """
    report = Report(str(path))
    document = compose(read(path, report), report)
    place = Place(report, line_of(document))
    found = {key: entry for key, entry in entries(document, place).items() if key in _OF_STATE}
    record = decode_settings(found, tuple(_OF_STATE.values()), place, Config)
    _only_the_version(report)
    report.raise_if_any()
    state: Path = record.get("state").get("path")
    return state


def _only_the_version(report: Report) -> None:
    """In another version anything else may be right or wrong, so nothing else is told."""
    of_version: list[Problem] = [problem for problem in report.problems if problem.path == "configVersion"]
    if of_version:
        report.problems[:] = of_version
        report.raise_if_any()


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration, with the keys of all installed sinks.

    It accepts whatever `loads` accepts; what it cannot tell (bounds of sizes, selectors, names that must
    differ or exist) only `loads` rejects.
    """
    body = _ROOT.schema()
    body["properties"]["streams"]["items"] |= STREAM_SCHEMA
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kube-bridge",
        "description": (Config.__doc__ or "").strip(),
        **body,
    }
