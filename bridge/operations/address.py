"""Where the control socket of a state directory is. No I/O beyond opening its directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["SOCKET", "address"]

SOCKET: Final = "control.sock"
"""Its name within the state directory."""
_LONGEST: Final = 100
"""Bytes of a path that every system takes as the address of a socket."""


@contextmanager
def address(path: Path) -> Iterator[str]:
    """An address of the socket that is short enough for the system, however deep its directory lies.

    Raises:
        OSError: its directory cannot be opened.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
