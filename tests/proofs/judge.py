"""Two promises about the order of writes and syncs, judged from a trace of the whole program.

1. A record is written to a sink only after the commit that holds it is durable: at that moment the synced
   bytes of the log's files alone, opened as after a power cut, hold the record.
2. A sink's cursor stands in the log only over what the destination owns: at the first write of a
   transaction that moves it, the synced bytes of the file hold every record up to it.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from bridge.changes.identity import Bridge, Identity
from bridge.store.codec import RowDecoder
from bridge.store.routes import Routes
from tests.proofs.trace import Begin, Disk, End, Moment

__all__ = ["Judge", "Verdict"]

_FRAME_HEADER: Final = 24
_COMMIT: Final = slice(4, 8)
"""Of a frame's header: the size of the database behind a commit, else zero (sqlite.org/walformat.html)."""


class Verdict(NamedTuple):
    """What was held against the promises.

    Attributes:
        handed: index of the moment at which each record was written to the sink, by id.
        durable: index of the moment from which each record was durable, by id.
        cursors: index of the moment at which each position of the sink was in the log.
        owned: index of the moment from which each record was synced in the sink's file, by id.
        positions: of each record in the log, by id.
    """

    handed: dict[str, int]
    durable: dict[str, int]
    cursors: dict[int, int]
    owned: dict[str, int]
    positions: dict[str, int]


class Judge:
    """Reads moments in order; raises AssertionError at the first broken promise.

    Args:
        state: the state directory.
        out: the sink's file.
        sink: its name.
        bridge: whose records these are.
        scratch: a folder for images of the log.
    """

    def __init__(self, state: Path, out: Path, sink: str, bridge: Bridge, scratch: Path) -> None:
        self.disk = Disk()
        self.verdict = Verdict({}, {}, {}, {}, {})
        self._log, self._wal = str(state / "log.db"), str(state / "log.db-wal")
        self._out = str(out)
        self._sink = sink
        self._bridge = bridge
        self._scratch = scratch
        self._rest = b""
        self._committing = False
        self._owned_before: set[str] | None = None
        self._images = 0

    def run(self, moments: Sequence[Moment]) -> Verdict:
        """Judge a whole trace."""
        for index, moment in enumerate(moments):
            self._before(index, moment)
            self.disk.apply(moment)
            self._after(index, moment)
        return self.verdict

    def killed(self) -> None:
        """The process was killed: what its last calls have done shows in the files themselves."""
        for path in (self._log, self._wal, self._out):
            self.disk.written[path] = Path(path).read_bytes()
        self._rest = self.disk.written[self._out].rpartition(b"\n")[2]
        self._committing, self._owned_before = False, None

    def _before(self, index: int, moment: Moment) -> None:
        call = moment.call
        if not isinstance(moment, Begin):
            return
        if call.path == self._out and call.name == "write":
            self._hand_out(index, call.data)
        elif call.path == self._wal and call.name == "pwrite64" and self._owned_before is None:
            self._owned_before = set(self.verdict.owned)

    def _after(self, index: int, moment: Moment) -> None:
        call = moment.call
        if not isinstance(moment, End) or moment.result < 0:
            return
        synced = call.name in ("fsync", "fdatasync")
        if call.path == self._out:
            if synced:
                for record in _ids(self.disk.synced[self._out]):
                    self.verdict.owned.setdefault(record, index)
            elif call.name == "ftruncate":
                self._rest = b""
        elif synced and call.path in (self._wal, self._log):
            for record in self._look_into(self.disk.synced)[0]:
                self.verdict.durable.setdefault(record, index)
        elif call.path == self._wal and call.name == "pwrite64":
            self._frame(index, call.data)

    def _hand_out(self, index: int, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            record = _id(line)
            assert record in self.verdict.durable, f"{record} was written to the sink before it was durable"
            self.verdict.handed.setdefault(record, index)

    def _frame(self, index: int, data: bytes) -> None:
        """SQLite writes a frame as its header, then its page."""
        if len(data) == _FRAME_HEADER:
            self._committing = data[_COMMIT] != b"\0\0\0\0"
        elif self._committing:
            self._committing = False
            owned, self._owned_before = self._owned_before or set(), None
            positions, cursor = self._look_into(self.disk.written)
            self.verdict.positions.update(positions)
            known = self.verdict.positions
            if cursor is not None and cursor not in self.verdict.cursors:
                passed = {record for record, position in known.items() if position <= cursor}
                missing = passed - owned
                assert not missing, f"the cursor {cursor} passed {missing}, which the file did not own yet"
                self.verdict.cursors[cursor] = index

    def _look_into(self, files: dict[str, bytes]) -> tuple[dict[str, int], int | None]:
        """Records by id with their positions, and the sink's cursor, as SQLite finds them in these files."""
        self._images += 1
        image = self._scratch / f"{self._images}.db"
        wal = image.with_name(image.name + "-wal")
        image.write_bytes(files.get(self._log, b""))
        wal.write_bytes(files.get(self._wal, b""))
        positions: dict[str, int] = {}
        cursor: int | None = None
        with closing(sqlite3.connect(image)) as connection, suppress(sqlite3.OperationalError):
            positions = dict(self._records(connection))  # OperationalError: there are no tables yet
            found = connection.execute("SELECT position FROM sink WHERE name = ?", (self._sink,)).fetchone()
            cursor = found[0] if found else None
        for leftover in self._scratch.glob(f"{image.name}*"):
            leftover.unlink()
        return positions, cursor

    def _records(self, connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
        decoder = RowDecoder()
        routes = Routes(connection).by_number
        rows = connection.execute("SELECT position, stream, ids, body FROM log WHERE count > 0").fetchall()
        for first, stream, ids, body in rows:
            identity = Identity(self._bridge, routes[stream].stream)
            for position, change in enumerate(decoder.changes(first, ids, body), first):
                yield identity.id(change), position


@cache
def _id(line: bytes) -> str:
    found: str = json.loads(line)["id"]
    return found


def _ids(content: bytes) -> list[str]:
    return [_id(line) for line in content.split(b"\n")[:-1]]
