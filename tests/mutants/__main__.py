"""`python -m tests.mutants [NAME ...]`: plant each bug in a copy of the tree, show which test catches it.

A mutant whose tests pass has survived, and so does one whose text no longer fits the code: both fail the run.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.bug import Bug
from tests.mutants.bugs import BUGS

_ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("bridge", "sinks", "tests", "docs", "deploy", "pyproject.toml", "README.md", "Makefile")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_SECONDS = 300
_TESTS_FAILED = 1
"""Any other exit code of pytest (a test that is not there, say) judges nothing."""


def main() -> int:
    """Exit code 0 if every planted bug was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="plant only these")
    parser.add_argument("--list", action="store_true", help="say what would be planted")
    arguments = parser.parse_args()
    chosen = [bug for bug in BUGS if not arguments.names or bug.name in arguments.names]
    if arguments.list:
        for bug in chosen:
            print(f"{bug.name:34} {bug.harm}")
        return 0
    with tempfile.TemporaryDirectory(prefix="kube-bridge-mutants-") as folder:
        return _plant_all(chosen, Path(folder))


def _plant_all(bugs: Sequence[Bug], folder: Path) -> int:
    tests = sorted({test for bug in bugs for test in bug.tests})
    copy = _copy(folder / "sound")
    failed, output = _run(copy, tests)
    if failed is not None:
        print(f"the tests do not pass without a bug, so they prove nothing:\n{output[-3000:]}")
        return 1
    survivors = 0
    for bug in bugs:
        started = time.monotonic()
        copy = _copy(folder / bug.name)
        problem = bug.plant(copy)
        failed, _ = (None, "") if problem else _run(copy, bug.tests)
        verdict = problem or (f"caught by {failed}" if failed else "SURVIVED")
        survivors += failed is None
        print(f"{bug.name:34} {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
        shutil.rmtree(copy)
    print(f"{len(bugs) - survivors} of {len(bugs)} caught")
    return 1 if survivors else 0


def _copy(target: Path) -> Path:
    target.mkdir()
    for name in _COPIED:
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target / name)
    return target


def _run(tree: Path, tests: Sequence[str]) -> tuple[str | None, str]:
    """The first failing test (None if all pass) and the output."""
    environ = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider",
         "--hypothesis-seed=0", *tests],
        cwd=tree, env=environ, capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return None, output
    match = _FAILED.search(output) if done.returncode == _TESTS_FAILED else None
    if match is None:
        raise SystemExit(f"pytest could not judge (exit code {done.returncode}):\n{output[-3000:]}")
    return match.group(1), output


if __name__ == "__main__":
    sys.exit(main())
