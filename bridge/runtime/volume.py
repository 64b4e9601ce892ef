"""Whether a folder outlives the pod that writes it, as far as the kernel tells."""

import os
from pathlib import Path
from typing import Final

__all__ = ["short_lived"]

_KINDS: Final = {
    "tmpfs": "memory (tmpfs)",
    "ramfs": "memory (ramfs)",
    "overlay": "the container's own file system (overlay)",
    "aufs": "the container's own file system (aufs)",
}
_EMPTY_DIR: Final = "/volumes/kubernetes.io~empty-dir/"
"""In the path on the node that the kubelet mounts from; a bind mount shows it."""


def short_lived(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """What `path` is on when that ends with the pod or the machine, "" when nothing says so.

    Args:
        path: need not exist yet; the nearest folder above it that does is looked at.
        mountinfo: proc_pid_mountinfo(5).
    """
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real, nearest, found = os.path.realpath(path), "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        root, point = (_plain(field) for field in left.split(" ")[3:5])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(nearest):  # a later mount covers an earlier one
            nearest = point
            found = "an emptyDir volume" if _EMPTY_DIR in root else _KINDS.get(right.split(" ", 1)[0], "")
    return found


def _plain(field: str) -> str:
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, character)
    return field
