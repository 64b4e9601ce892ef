"""The table that a run prints: for a terminal, or as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.spread import Spread

__all__ = ["Goal", "Row", "render"]

_HEAD: Final = ("figure", "min", "median", "max", "unit", "floor", "")


@dataclass(frozen=True, slots=True)
class Goal:
    """A floor to reach, judged by the median; a figure below it is reported, it fails nothing."""

    value: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {_number(self.value)}"

    def reached(self, spread: Spread) -> bool:
        """Whether the median is on the right side."""
        return spread.median <= self.value if self.at_most else spread.median >= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        spread: the rounds, or the sentence that says why there are none.
        unit: as "events/s".
        goal: the floor, if it has one.
    """

    name: str
    spread: Spread | str
    unit: str = ""
    goal: Goal | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        goal = str(self.goal) if self.goal else ""
        if isinstance(self.spread, str):
            return (self.name, "", "", "", self.unit, goal, f"not measured: {self.spread}")
        figures = [_number(value) for value in (self.spread.low, self.spread.median, self.spread.high)]
        verdict = ""
        if self.goal:
            verdict = "reached" if self.goal.reached(self.spread) else "BELOW"
        return (self.name, *figures, self.unit, goal, verdict)


def render(rows: Sequence[Row], *, markdown: bool) -> str:
    """Lays out the rows under their heads."""
    if markdown:
        rule = ["---", *["---:"] * 3, "---", "---", "---"]
        lines = [_HEAD, rule, *[_escaped(row.cells()) for row in rows]]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    lines = [_HEAD, *[row.cells() for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD) - 1)]
    return "\n".join(_aligned(line, widths) for line in lines)


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = [
        cell.rjust(width) if 1 <= column <= 3 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=False))
    ]
    return "  ".join([*texts, cells[-1]]).rstrip()


def _number(value: float) -> str:
    """Three digits that mean something; thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
