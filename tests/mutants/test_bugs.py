"""The planted bugs fit the code as it is: what cannot be planted, or names no test, proves nothing."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.bug import Bug
from tests.mutants.bugs import BUGS

ROOT = Path(__file__).parents[2]


@cache
def functions(file: Path) -> frozenset[str]:
    """Every name that pytest could be given behind `::`, classes as `Class::test`."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if hasattr(one, "name")}
    return frozenset(found)


def named(bug: Bug) -> str:
    return bug.name


@pytest.mark.parametrize("bug", BUGS, ids=named)
def test_it_can_be_planted(bug: Bug) -> None:
    """Its text stands exactly once in its file, and what replaces it is another, which Python can read."""
    text = (ROOT / bug.file).read_text()
    assert text.count(bug.old) == 1
    assert bug.new != bug.old
    ast.parse(text.replace(bug.old, bug.new))


@pytest.mark.parametrize("bug", BUGS, ids=named)
def test_the_tests_that_shall_catch_it_exist(bug: Bug) -> None:
    assert bug.tests
    for test in bug.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), file
        assert not name or name.partition("[")[0] in functions(ROOT / file), test


def test_each_has_a_name_of_its_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)
