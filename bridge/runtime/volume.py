"""Whether a folder outlives the pod that writes it, as far as the kernel tells."""

from pathlib import Path
from typing import Final

from bridge.store.directory import mount_of

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
    mount = mount_of(path, mountinfo)
    return "an emptyDir volume" if _EMPTY_DIR in mount.root else _KINDS.get(mount.kind, "")
