"""The bugs that `python -m tests.mutants` plants: where, what stands there instead, what a user suffers."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUGS", "Bug"]


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


BUGS = (
    Bug(
        "deletion-on-doubt",
        "an object that a list merely passed over is reported as deleted",
        "bridge/changes/reconcile.py",
        "            if gone is None:\n                inventory.put(key, known)\n                continue\n",
        "",
        ("tests/changes/test_reconcile.py",),
    ),
    Bug(
        "recreation-as-update",
        "a new object under an old name is reported as MODIFIED, its predecessor never as DELETED",
        "bridge/changes/reconcile.py",
        "                if known.uid != event.uid:\n                    changes.append(",
        "                if False:\n                    changes.append(",
        ("tests/changes/test_reconcile.py",),
    ),
    Bug(
        "list-ends-early",
        "objects behind the last listed one are never found to be deleted",
        "bridge/changes/reconcile.py",
        "            yield from [key for key, _ in inventory.scan(self._after, last)]\n",
        "            yield from ()\n",
        ("tests/changes/test_reconcile.py",),
    ),
)
