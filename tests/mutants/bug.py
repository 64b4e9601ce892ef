"""What a planted bug is."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bug"]


@dataclass(frozen=True)
class Bug:
    """One planted bug.

    Attributes:
        name: for the command line.
        harm: what a user would suffer.
        file: below the repository's root.
        old: text that stands there exactly once.
        new: what replaces it.
        tests: pytest arguments that must catch it; as few as prove the point.
    """

    name: str
    harm: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, tree: Path) -> str:
        """Write it into a copy of the tree; returns what is wrong with the mutant itself, or ""."""
        path = tree / self.file
        text = path.read_text() if path.exists() else ""
        found = text.count(self.old)
        if found != 1:
            return f"cannot be planted: its text stands {found} times in {self.file}"
        path.write_text(text.replace(self.old, self.new))
        return ""
