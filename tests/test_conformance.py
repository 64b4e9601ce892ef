"""`docs/conformance.md` is true: every item of the checklist once, every proof a test that names it."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "conformance.md"
THEMES = {
    "A": 25,
    "B": 22,
    "C": 23,
    "D": 21,
    "E": 13,
    "F": 17,
    "G": 17,
    "H": 12,
    "I": 6,
    "J": 10,
    "K": 9,
    "L": 13,
    "M": 10,
    "N": 18,
    "O": 4,
    "P": 7,
}
"""How many items each theme of watch.md has; the codes are the letter and 1, 2, 3, ..."""
CODES = [f"{theme}{number}" for theme, count in THEMES.items() for number in range(1, count + 1)]
STATUSES = ("proved", "another way", "not ours", "later", "open")
ROW = re.compile(r"^\| ([A-P]\d+) \| (.+?) \| (.+?) \| (.+) \|$")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[tuple[str, str, str, str]]:
    found = []
    for line in DOCUMENT.read_text().splitlines():
        if match := ROW.match(line):
            code, item, status, evidence = match.groups()
            found.append((code, item, status, evidence))
    return found


@cache
def docstrings(path: Path) -> dict[str, str]:
    tree = ast.parse(path.read_text())
    return {
        node.name: ast.get_docstring(node) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_code_of_the_checklist_stands_there_once() -> None:
    """Nothing is left out, nothing is counted twice, nothing is invented."""
    assert [code for code, *_ in rows()] == CODES


def test_every_line_of_a_table_is_understood() -> None:
    """A row that the pattern does not match would silently not be checked."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| *[A-P]\d", line)]
    assert len(lines) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_proof_exists_and_names_its_code_and_anything_else_has_its_reason(
    row: tuple[str, str, str, str],
) -> None:
    """Each named test is there, and its docstring holds the code in brackets; other rows say why in words."""
    code, item, status, evidence = row
    assert status in STATUSES
    assert item
    tests = TEST.findall(evidence)
    if status != "proved":
        assert not tests
        assert len(evidence) > 10
        return
    assert tests
    for path, name in tests:
        known = docstrings(ROOT / path)
        assert name in known, f"{path} has no {name}"
        assert f"[{code}]" in known[name], f"{name} does not name [{code}]"
    assert TEST.sub("", evidence).strip("; ") == ""


def test_the_counts_on_top_are_true() -> None:
    """What the page says of itself is counted."""
    text = DOCUMENT.read_text()
    counted = Counter(status for _, _, status, _ in rows())
    said = {
        status: int(number)
        for number, status in re.findall(r"^- \*\*(\d+) ([a-z ]+)\*\*", text, re.MULTILINE)
    }
    assert said == {status: counted[status] for status in STATUSES}
    (total,) = re.findall(r"Of its (\d+) items", text)
    assert int(total) == sum(said.values()) == len(CODES)
