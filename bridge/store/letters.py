"""Dead letters in the log's file (`bridge.store.contract.Letters`); every call is a job for its thread.

A letter that is redriven leaves its row behind, without the record: `stored` is 0, and `position` is where
the record stands in the log now. If it is refused there once more the row is a letter again, under its old
number. Once the sink has passed that position the row means nothing: the next redrive or purge removes it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from bridge.changes.change import StreamInfo
from bridge.changes.deadletter import MAX_NUMBER, DeadLetter
from bridge.changes.reconcile import Known
from bridge.faults import crash_point
from bridge.store.amend import insist
from bridge.store.checks import closed_to, letters_full, superseded
from bridge.store.contract import LettersFull
from bridge.store.failures import Full
from bridge.store.journal import Journal
from bridge.store.letterbox import Redriven
from bridge.store.routes import Route

__all__ = ["LetterBox"]

_MANY: Final = 64
_BYTES: Final = 1 << 20
"""Letters in one transaction at most: a redrive of all that there are must not outgrow the WAL."""
_OVERHEAD: Final = 128
"""What a letter takes in the file beside its packed columns, about."""


_APART: Final = frozenset({"sink", "position", "stream", "change", "number"})
"""What of a letter is kept in columns of its own."""
_TOLD: Final = tuple(name for name in DeadLetter.__struct_fields__ if name not in _APART)
"""The rest, in the order of the array in `told`: a new field goes to the end of `DeadLetter`."""
_PASSED: Final = """
DELETE FROM dead_letter WHERE stored = 0
AND position <= coalesce((SELECT position FROM sink WHERE name = dead_letter.sink), dead_letter.position)
"""


class LetterBox:
    """Dead letters of one log.

    Args:
        journal: the log.

    Attributes:
        counts: letters kept, by sink; replaced, never changed, so that any thread may read it.
        stored: bytes they take.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._connection = journal.connection
        rows = self._connection.execute(
            "SELECT sink, count(*), sum(stored) FROM dead_letter WHERE stored > 0 GROUP BY sink"
        ).fetchall()
        self.counts: Counter[str] = Counter({sink: count for sink, count, _ in rows})
        self.stored: int = sum(stored for _, _, stored in rows)

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See `Letters.bury`."""
        journal = self._journal
        rows = {(letter.sink, letter.position): self._row(letter) for letter in letters}
        found = {key: self._find(*key) for key in rows}
        growth = sum(row[2] - (found[key] or (0, 0))[1] for key, row in rows.items())
        if growth > 0 and self.stored + growth > journal.space.budget.letters:
            raise letters_full(journal.space.budget.letters)
        numbers = {row[3] for row in rows.values()}

        def write(connection: Any) -> Sequence[Any]:
            journal.routes.write(connection, numbers)
            for key, row in rows.items():
                _, _, stored, stream, told, ids, body = row
                old = found[key]
                if old is None:
                    connection.execute(
                        "INSERT INTO dead_letter (sink, position, stored, stream, told, ids, body)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)",
                        row,
                    )
                else:
                    connection.execute(
                        "UPDATE dead_letter SET stored = ?, stream = ?, told = ?, ids = ?, body = ?"
                        " WHERE number = ?",
                        (stored, stream, self._retold(old[0], told), ids, body, old[0]),
                    )
            crash_point("log.buried")
            return ()

        try:
            journal.amend(write, pages=journal.space.budget.bury)
        except Full:
            raise LettersFull(
                "there is no room for another dead letter, the log is full: free space, "
                "or purge or redrive dead letters"
            ) from None
        journal.routes.written(numbers)
        self.counts = self.counts + Counter(
            sink for (sink, _), old in found.items() if old is None or old[1] == 0
        )
        self.stored += growth

    def read(self, sink: str | None, after: int, limit: int) -> list[DeadLetter]:
        """See `Letters.dead_letters`."""
        return self._letters(self._some(sink, None, after, limit))

    def purge(self, sink: str | None, numbers: Collection[int] | None) -> int:
        """See `Letters.purge`."""
        purged = 0
        for chunk in self._chunks(sink, numbers):
            self._purge(chunk)
            purged += len(chunk)
        return purged

    def redrive(
        self,
        sink: str,
        numbers: Collection[int] | None,
        *,
        force: bool,
        streams: Collection[str] | None = None,
    ) -> Redriven:
        """See `Letters.redrive`."""
        if not self._journal.sinks.attached(sink):
            raise closed_to(sink)
        redriven = left = foreign = 0
        for chunk in self._chunks(sink, numbers):
            meant = [
                letter for letter in self._letters(chunk) if streams is None or letter.stream.name in streams
            ]
            letters = [
                letter for letter in meant if force or not superseded(letter.change, *self._known(letter))
            ]
            kept = {letter.number for letter in letters}
            if letters:
                self._redrive([row for row in chunk if row[0] in kept], letters)
            redriven += len(letters)
            left += len(meant) - len(letters)
            foreign += len(chunk) - len(meant)
        return Redriven(redriven, left, foreign)

    # Details.

    def _row(self, letter: DeadLetter) -> tuple[str, int, int, int, str, bytes, bytes]:
        packed = self._journal.encoder.pack([letter.change], {}, {})
        text = msgspec.json.encode([getattr(letter, name) for name in _TOLD]).decode()
        stored = len(packed.ids) + len(packed.body) + len(text) + _OVERHEAD
        number = self._journal.routes.number(Route(letter.stream))
        return letter.sink, letter.position, stored, number, text, packed.ids, packed.body

    def _find(self, sink: str, position: int) -> tuple[int, int] | None:
        row = self._connection.execute(
            "SELECT number, stored FROM dead_letter WHERE sink = ? AND position = ?", (sink, position)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def _retold(self, number: int, told: str) -> str:
        """The same letter, refused again: when it was tried first, and how often in all."""
        (text,) = self._connection.execute(
            "SELECT told FROM dead_letter WHERE number = ?", (number,)
        ).fetchone()
        old, again = _told(text), _told(told)
        again |= {"first_at": old["first_at"], "attempts": old["attempts"] + again["attempts"]}
        return msgspec.json.encode(list(again.values())).decode()

    def _some(
        self, sink: str | None, numbers: Sequence[int] | None, after: int, limit: int
    ) -> list[tuple[int, str, int]]:
        """Number, sink and size of the next letters: at most `limit`, and no more than fit a transaction."""
        where, arguments = "number > ? AND stored > 0", [after]
        if sink is not None:
            where += " AND sink = ?"
            arguments.append(sink)  # type: ignore[arg-type]  # SQLite takes both
        if numbers is not None:
            where += f" AND number IN ({', '.join('?' * len(numbers))})"
            arguments.extend(numbers)
        rows = self._connection.execute(
            f"SELECT number, sink, stored FROM dead_letter WHERE {where} ORDER BY number LIMIT ?",  # noqa: S608
            (*arguments, limit),
        ).fetchall()
        size = 0
        for index, row in enumerate(rows):
            size += row[2]
            if size >= _BYTES:
                return rows[: index + 1]
        return rows

    def _chunks(
        self, sink: str | None, numbers: Collection[int] | None
    ) -> Iterator[list[tuple[int, str, int]]]:
        """All letters that are meant, oldest first, as many at once as one transaction takes."""
        wanted = None if numbers is None else sorted(number for number in numbers if 0 < number <= MAX_NUMBER)
        after = 0
        while True:
            few = None if wanted is None else [number for number in wanted if number > after][:_MANY]
            chunk = self._some(sink, few, after, _MANY)
            if chunk:
                yield chunk
                after = chunk[-1][0]
            elif few:
                after = few[-1]  # none of these exist
            else:
                return

    def _letters(self, rows: Sequence[tuple[int, str, int]]) -> list[DeadLetter]:
        return [self._letter(number) for number, _, _ in rows]

    def _letter(self, number: int) -> DeadLetter:
        sink, position, stream, told, ids, body = self._connection.execute(
            "SELECT sink, position, stream, told, ids, body FROM dead_letter WHERE number = ?", (number,)
        ).fetchone()
        (change,) = self._journal.decoder.changes(position, ids, body)
        info: StreamInfo = self._journal.routes.by_number[stream].stream
        return DeadLetter(sink, position, info, change, **_told(told), number=number)

    def _known(self, letter: DeadLetter) -> tuple[Known | None, int]:
        return self._journal.known(letter.stream.name, letter.change)

    def _purge(self, rows: Sequence[tuple[int, str, int]]) -> None:
        def write(connection: Any) -> Sequence[Any]:
            connection.executemany("DELETE FROM dead_letter WHERE number = ?", [(row[0],) for row in rows])
            connection.execute(_PASSED)
            crash_point("log.purged")
            return ()

        insist(self._journal, write)
        self._gone(rows)

    def _redrive(self, rows: Sequence[tuple[int, str, int]], letters: Sequence[DeadLetter]) -> None:
        """The records stand in the log again, one behind the other."""
        runs = groupby(letters, key=lambda letter: Route(letter.stream, letter.sink))
        additions = [(route, [letter.change for letter in run]) for route, run in runs]

        def write(connection: Any) -> Sequence[Any]:
            connection.execute(_PASSED)
            connection.executemany(
                "UPDATE dead_letter SET position = ?, stored = 0, ids = x'', body = x'' WHERE number = ?",
                [(position, letter.number) for position, letter in enumerate(letters, self._journal.next)],
            )
            crash_point("log.redriven")
            return additions

        insist(self._journal, write)
        self._gone(rows)

    def _gone(self, rows: Sequence[tuple[int, str, int]]) -> None:
        self.counts = self.counts - Counter(row[1] for row in rows)
        self.stored -= sum(row[2] for row in rows)


def _told(text: str) -> dict[str, Any]:
    return dict(zip(_TOLD, msgspec.json.decode(text), strict=True))
