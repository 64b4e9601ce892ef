"""What SQLite can answer, sorted by what we must do about it: wait for room, ask a person, or end."""

import sqlite3
from pathlib import Path
from typing import Final

from bridge.errors import BridgeError, StateError

__all__ = ["Full", "LogError", "opening_failure", "storage_failure"]

_PRIMARY: Final = 0xFF
"""Extended result codes carry the primary one in their lowest byte."""

_FULL: Final = 13
_MOVE_AWAY: Final = (
    "restore {path} from a backup, or move it away (mv {path} {path}.broken) "
    "and the bridge starts anew with a complete listing"
)


class LogError(BridgeError):
    """The log's storage failed under us; nothing more can be promised and the process ends (exit 1).

    A failed write or sync is never repeated on the same open file: the kernel may have dropped the
    pages it could not write (https://wiki.postgresql.org/wiki/Fsync_Errors). The next start recovers.
    """


class Full(Exception):
    """No room for this transaction; it was rolled back whole and may be tried again."""


def storage_failure(error: Exception, path: Path) -> Full | LogError:
    """What a failed statement means once the log is open.

    Args:
        error: what SQLite or the operating system raised.
        path: file that it was about.

    Returns:
        `Full` to wait, `LogError` to end.
    """
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY == _FULL:
            return Full(str(error))
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return LogError(
            f"the log {path} failed: {error} ({name}); the bridge ends and recovers at its next start"
        )
    return LogError(f"the log {path} failed: {error}; the bridge ends and recovers at its next start")


def opening_failure(error: sqlite3.Error, path: Path) -> BridgeError:
    """What a failed statement means while the log is being opened.

    Args:
        error: what SQLite raised.
        path: the log's file.

    Returns:
        A `StateError` whose sentence names what helps, or `LogError` for failing hardware.
    """
    name: str = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    advice = _MOVE_AWAY.format(path=path.parent)
    if name.startswith("SQLITE_NOTADB"):
        return StateError(
            f"{path} is not a kube-bridge log (not a SQLite file, or its first page is damaged): {advice}"
        )
    if name.startswith("SQLITE_CORRUPT"):
        return StateError(f"the log {path} is corrupt ({error}): {advice}")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return StateError(
            f"the log {path} cannot be written ({error}): "
            "make the volume writable and the file owned by the user that runs kube-bridge"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StateError(
            f"another program has {path} open ({error}): close it, the log belongs to one process"
        )
    if name.startswith("SQLITE_FULL"):
        return StateError(f"there is no room to open the log {path}: free space on its volume")
    return LogError(f"the log {path} cannot be opened: {error} ({name})")
