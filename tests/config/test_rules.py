"""Rules of options are asked with what the types of their fields say."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from bridge.config.document import compose, line_of
from bridge.config.fields import object_of
from bridge.config.options import check_options
from bridge.config.problems import Place, Report
from bridge.settings import Looks, Rule


@dataclass(frozen=True)
class Part:
    name: str

    def __post_init__(self) -> None:
        if self.name == "refused":
            raise ValueError("is refused by itself")


def _bad(parts: tuple[Part, ...]) -> Iterable[str]:
    return [f"has {part.name}" for part in parts if part.name == "bad"]


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...] = ()

    RULES: ClassVar = (Rule(("parts",), _bad),)


@dataclass(frozen=True)
class Root:
    whole: Whole


@dataclass(frozen=True)
class Misspelt:
    part: int = 1

    RULES: ClassVar = (Rule(("prat",), lambda _: ()),)


@dataclass(frozen=True)
class MisspeltRoot:
    whole: Misspelt


def problems(root: type, text: str) -> list[str]:
    report = Report("x")
    document = compose(text, report)
    check_options(object_of(root).decode(document, Place(report, line_of(document))), report, {Looks.NOWHERE})
    return [str(problem) for problem in report.problems]


def test_a_rule_of_a_list_of_objects_is_asked_with_objects() -> None:
    (told,) = problems(Root, "whole: {parts: [{name: good}, {name: bad}]}")
    assert "has bad" in told


def test_a_rule_is_not_asked_about_a_list_of_which_one_object_is_refused() -> None:
    (told,) = problems(Root, "whole: {parts: [{name: bad}, {name: refused}]}")
    assert "is refused by itself" in told


def test_a_rule_of_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(TypeError, match="rule of Misspelt names the field 'prat'"):
        problems(MisspeltRoot, "whole: {part: 3}")
