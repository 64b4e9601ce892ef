"""What is wrong with a configuration: collected one by one, raised together."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from bridge.errors import UsageError

__all__ = ["ConfigError", "Place", "Problem", "Report", "nearest"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        source: the file, as the user named it.
        line: counted from 1; 0 when it concerns the file as a whole.
        path: the key, as `streams[0].labelSelector`; "" when it concerns no key.
        message: what is wrong and what to write.
    """

    source: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigError(UsageError):
    """The configuration cannot be used; nothing was started.

    Attributes:
        problems: all that is wrong, in the order of the lines; the message has one line for each.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Report:
    """The problems found so far in one source."""

    source: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, path: str, message: str) -> None:
        """Note one problem, once however often it is found."""
        problem = Problem(self.source, line, _printable(path), _printable(message))
        if problem not in self.problems:
            self.problems.append(problem)

    def paths(self) -> frozenset[str]:
        """The keys with which something is wrong so far."""
        return frozenset(problem.path for problem in self.problems)

    def fail(self, line: int, path: str, message: str) -> NoReturn:
        """Note one problem after which nothing more can be found out, and end here."""
        self.add(line, path, message)
        raise ConfigError(self.problems)

    def raise_if_any(self) -> None:
        """End here when something is wrong.

        Raises:
            ConfigError: with everything that was noted.
        """
        if self.problems:
            raise ConfigError(self.problems)


@dataclass(frozen=True, slots=True)
class Place:
    """One value of the configuration: where it stands and how a user would name it."""

    report: Report
    line: int
    path: str = ""

    def wrong(self, message: str) -> None:
        """Note that the value at this place is wrong."""
        self.report.add(self.line, self.path, message)

    def key(self, name: str, line: int) -> "Place":
        """The place of a key below."""
        return Place(self.report, line, f"{self.path}.{name}" if self.path else name)

    def item(self, index: int, line: int) -> "Place":
        """The place of an item below."""
        return Place(self.report, line, f"{self.path}[{index}]")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant, whatever its case and separators, or None."""
    plain = {_plain(candidate): candidate for candidate in candidates}
    # A word of any length could be compared, but the comparison is quadratic and nobody mistypes that much.
    close = difflib.get_close_matches(_plain(word[:100]), plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def _printable(text: str) -> str:
    """One line that any terminal and log can take, whatever the file had in it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
