"""A stream that was renamed goes on with what is known under its old name.

The two names are exchanged wherever they stand, so that nothing gets mixed: what a stream that was forgotten
left behind under the new name stands under the old one then. The inventory may be large and stays where it
is; the table `renamed` says under which name. So the transaction is a small one.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence

import msgspec

from bridge.changes.change import StreamInfo
from bridge.faults import crash_point
from bridge.store import tables
from bridge.store.amend import insist
from bridge.store.group import Addition
from bridge.store.journal import Journal
from bridge.store.known import alike, known_streams

__all__ = ["Orphan", "adopt", "orphans"]


class Orphan(msgspec.Struct, frozen=True):
    """A stream that is known and not configured.

    Attributes:
        stream: as it was described last; its name alone where it never had a record.
        since: when it was first missing, seconds since the Unix epoch.
    """

    stream: StreamInfo
    since: int


def adopt(
    journal: Journal, stream: str, collection: Mapping[str, str], configured: Collection[str]
) -> Sequence[str]:
    """See `Log.adopt`. Raises as `insist`."""
    found = alike(journal.watches, stream, collection, configured)
    if len(found) == 1:
        _exchange(journal, found[0], stream)
    return found


def orphans(journal: Journal, configured: Collection[str], now: int) -> Sequence[Orphan]:
    """See `SqliteLog.orphans`. Raises as `insist`."""
    left = [name for name in known_streams(journal.watches) if name not in configured]
    since = tables.read_orphans(journal.connection)
    if since.keys() != {*left}:

        def write(connection: sqlite3.Connection) -> Sequence[Addition]:
            tables.note_orphans(connection, left, now)
            return ()

        insist(journal, write)
    described = {stream.name: stream for stream in journal.routes.latest()}
    streams = [described.get(name, StreamInfo(name, "", "", "", "")) for name in left]
    return [Orphan(stream, since.get(stream.name, now)) for stream in streams]


def _exchange(journal: Journal, old: str, new: str) -> None:
    names = {old: new, new: old}
    watches = {
        (names[name], scope): state for (name, scope), state in journal.watches.items() if name in names
    }
    routes = journal.routes.renamed(names)
    kept_as = journal.inventories.exchanged(old, new)

    def write(connection: sqlite3.Connection) -> Sequence[Addition]:
        tables.forget_watches(connection, names)
        tables.write_watches(connection, watches, journal.next - 1)
        tables.write_kept_as(connection, kept_as)
        tables.rename_requests(connection, old, new)
        tables.forget_orphans(connection, names)
        journal.routes.rewrite(connection, routes)
        crash_point("log.renamed")
        return ()

    with journal.sinks.renaming(old, new):
        insist(journal, write)
    journal.routes.rewritten(routes)
    journal.inventories.exchange(old, new)
    for key in [key for key in journal.watches if key[0] in names]:
        del journal.watches[key]
    journal.watches.update(watches)
