"""Several rounds of one figure: minimum, median and maximum, and the ratio of two figures round by round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Spread", "ratio"]


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave; never empty.

    Attributes:
        values: in the order of the rounds.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a figure needs at least one round")

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)


def ratio(ours: Sequence[float], base: Sequence[float]) -> Spread:
    """Divides round by round: both sides of a quotient saw the same weather on a shared machine.

    Raises:
        ValueError: the two have not the same number of rounds.
    """
    return Spread(tuple(mine / other for mine, other in zip(ours, base, strict=True)))
