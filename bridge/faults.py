"""Named places of the write path where a test may kill the process, so that each is proved survivable.

Armed only by the environment variable `KUBE_BRIDGE_CRASH=<point>[:<n>]`: the n-th arrival (from 1) at
that point ends the process by SIGKILL, which no handler sees. Unarmed, a point costs one comparison,
and points stand per batch or per commit, never per event.
"""

import os
import signal
from typing import Final

__all__ = ["POINTS", "armed", "crash_point"]

POINTS: Final = (
    "log.begin",  # a transaction is open, nothing written
    "log.written",  # rows are written, not committed
    "log.grouped",  # records and the cursor of their source are written, not committed
    "log.committed",  # durable, nobody told yet
    "log.trimmed",  # rows that every sink owns were deleted in this transaction
    "log.folded",  # a chunk of the fold is written, not committed
    "log.buried",  # dead letters are written, not committed
    "log.purged",  # dead letters are forgotten, not committed
    "log.redriven",  # the same, and they stand in the log again, not committed
    "log.dropped",  # a chunk of a dropped backlog is about to be written
    "log.renamed",  # a stream has its new name everywhere, not committed
    "list.page",  # a page of a listing was accepted
    "list.end",  # the end of a listing is about to be appended
    "sink.begin",  # a batch is rendered, nothing written to the destination
    "sink.torn",  # half of a batch is written
    "sink.written",  # written, not synced
    "sink.synced",  # synced, not acknowledged
    "sink.acknowledged",  # acknowledged in memory, cursor not durable
    "rotate.begin",  # the file is about to be moved away
    "rotate.moved",  # it is, and there is no new one yet
    "rotate.compressing",  # a block of its compressed form is written
    "rotate.compressed",  # all of it is, and synced, under another name
    "rotate.renamed",  # it has its name, and the original is still there
)

_point, _, _count = os.environ.get("KUBE_BRIDGE_CRASH", "").partition(":")
_left = int(_count or 1)


def crash_point(point: str) -> None:
    """End the process here if this arrival is the armed one; else do nothing."""
    if point == _point:
        _arrived()


def armed(point: str) -> bool:
    """Whether this point will ever crash; lets a caller do a split write only in that case."""
    return point == _point


def _arrived() -> None:
    global _left  # noqa: PLW0603 - a countdown of the process, set once at start
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
