"""Changes of the log that no append has made, and that must also go through while it is full."""

import sqlite3
from collections.abc import Callable, Sequence

from bridge.store import tables
from bridge.store.contract import Refused, SnapshotRequest
from bridge.store.failures import Full
from bridge.store.group import Addition
from bridge.store.journal import Journal

__all__ = ["Work", "insist", "request_snapshots"]

Work = Callable[[sqlite3.Connection], Sequence[Addition]]
"""Writes what it likes, and returns the records that are added; may be run twice."""


def insist(journal: Journal, work: Work, *, trimming: bool = False) -> None:
    """`Journal.amend`, also on a full disk as far as the reserve there allows it.

    Raises:
        Refused: there is no room; nothing was changed.
        LogError: the storage failed.
    """
    pages = journal.space.budget.hard
    try:
        journal.amend(work, pages=pages, trimming=trimming)
    except Full:
        journal.space.exhausted(0)
        try:
            journal.amend(work, pages=pages, trimming=trimming)
        except Full:
            raise Refused(journal.space.full) from None


def request_snapshots(journal: Journal, requests: Sequence[SnapshotRequest]) -> None:
    """See `Snapshots.request_snapshots`. Raises as `insist`."""

    def write(connection: sqlite3.Connection) -> Sequence[Addition]:
        tables.insert_requests(connection, requests)
        return ()

    with journal.sinks.owing(requests):
        insist(journal, write)
