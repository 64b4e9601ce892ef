"""Writes the go.mod and go.sum of a Kubernetes version: ``python -m tests.components pin``.

k8s.io/kubernetes points its staging modules at folders of its own repository, which only works inside of it.
Who depends on it has to replace each one by its published module: the same version with v0 in place of v1.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.components.build import COMPONENTS, CURRENT, ETCD, HERE, OLD, ComponentUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDERS = {CURRENT: "kubernetes", OLD: "kubernetes-1.33"}


def pin() -> None:
    """Writes both modules anew, for the versions named in build.py; `git diff` tells what has changed."""
    go = shutil.which("go")
    if go is None:
        raise ComponentUnavailable("needs Go, to resolve module versions: there is no `go` on the PATH")
    for version, name in FOLDERS.items():
        _pin(go, version, HERE / name)


def _pin(go: str, version: str, folder: Path) -> None:
    command = [go, "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
    # Outside any module, or `go` would first try to load the one it is about to replace.
    answer = subprocess.run(command, cwd=folder.parent, check=True, capture_output=True)
    theirs = Path(json.loads(answer.stdout)["GoMod"]).read_text()
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(_module(theirs, version, folder.name))
    # The old sums go: only what this go.mod needs may stay in the file.
    (folder / "go.sum").unlink(missing_ok=True)
    subprocess.run([go, "mod", "tidy"], cwd=folder, check=True)


def _module(theirs: str, version: str, name: str) -> str:
    packages = [c.package for c in COMPONENTS if c.module == name]
    requires = [f"k8s.io/kubernetes {version}"]
    requires += [f"{package} {ETCD}" for package in packages if package.startswith("go.etcd.io/")]
    staging = re.findall(r"^\s*(k8s\.io/\S+) => \./staging/", theirs, re.MULTILINE)
    replaces = [f"{path} => {path} {version.replace('v1.', 'v0.', 1)}" for path in staging]
    go_line = re.findall(r"^(?:go|godebug) .*$", theirs, re.MULTILINE)
    return "\n\n".join(
        [
            "// Written by `python -m tests.components pin`.",
            f"module kube-bridge.test/components/{name}",
            *go_line,
            _block("tool", packages),
            _block("require", requires),
            _block("replace", replaces),
            "",
        ]
    )


def _block(keyword: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{keyword} (", *(f"\t{line}" for line in sorted(lines)), ")"])
