"""The state directory: made, refused where it cannot be safe, and locked for one process."""

import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec

from bridge.errors import StateError

__all__ = ["Holder", "Mount", "StateDirectory", "file_system", "mount_of"]

_NETWORK: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "ncpfs", "glusterfs", "lustre"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.davfs2"),
    },
)
"""File systems that other hosts can write too, or whose sync promises nothing (sqlite.org/faq.html#q5)."""


class Holder(msgspec.Struct, frozen=True):
    """Who has the lock, as the holder wrote it."""

    pid: int
    host: str
    since: str


class Mount(NamedTuple):
    """One mount as the kernel lists it: what is mounted, where, and the type of its file system."""

    root: str
    point: str
    kind: str


def mount_of(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> Mount:
    """The mount that holds `path`; all its fields are "" where the kernel does not say.

    Args:
        path: need not exist yet; then what would hold it is found.
        mountinfo: proc_pid_mountinfo(5).
    """
    found = Mount("", "", "")
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return found
    real = os.path.realpath(path)
    for mount in map(_parse_mount, lines):
        inside = real == mount.point or real.startswith(mount.point.rstrip("/") + "/")
        if inside and len(mount.point) >= len(found.point):  # a later mount covers an earlier one
            found = mount
    return found


def file_system(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """Type of the file system that holds `path`, or "" where the kernel does not say; as `mount_of`."""
    return mount_of(path, mountinfo).kind


def _parse_mount(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    root, point = (_plain(field) for field in left.split(" ")[3:5])
    return Mount(root, point, right.split(" ", 1)[0])


def _plain(field: str) -> str:
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, character)
    return field


class StateDirectory:
    """A directory that this process owns until `release`.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> Self:
        """Make the directory where it is missing, and lock it.

        Args:
            path: the configured `state.path`.
            mountinfo: where the kernel lists mounts.

        Raises:
            StateError: not writable, on a network file system, or held by another process (named).
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(
                f"the state directory {_shown(path)} cannot be written ({error.strerror}): "
                "mount a writable volume there, owned by the user that runs kube-bridge",
            ) from error
        try:
            _refuse_network(path, mountinfo)
            _lock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self) -> None:
        """Let another process have it. The lock file stays: deleting it would let two holders exist."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _shown(path: Path) -> str:
    """So that nobody takes it for a word of the sentence, nor for a place in their own directory."""
    return repr(str(path.absolute()))


def _refuse_network(path: Path, mountinfo: Path) -> None:
    kind = file_system(path, mountinfo)
    if kind in _NETWORK:
        raise StateError(
            f"the state directory {_shown(path)} is on a network file system ({kind}), "
            "which cannot keep the log's promises: "
            "use a local disk or a block volume (in Kubernetes: ReadWriteOnce, not NFS or SMB)",
        )


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StateError(
            f"the state directory {_shown(path)} is in use by {_holder(descriptor)}: "
            "stop that one first, or give this one another state.path",
        ) from error
    holder = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, msgspec.json.encode(holder), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder)
    except (msgspec.MsgspecError, OSError):
        return "another process"
    return f"process {holder.pid} on {holder.host} since {holder.since}"
