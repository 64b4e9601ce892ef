"""What a log on disk is asked beside appending and reading: each call is one job for its thread."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from bridge.changes.deadletter import DeadLetter
from bridge.store import tables
from bridge.store.amend import request_snapshots
from bridge.store.backlog import drop
from bridge.store.contract import Dropped, Lag, SnapshotRequest
from bridge.store.journal import Journal
from bridge.store.letterbox import Redriven
from bridge.store.letters import LetterBox

__all__ = ["AskedLog"]

_T = TypeVar("_T")


class AskedLog(ABC):
    """`Letters`, `Snapshots` and `Backlogs` of `bridge.store.contract`, for `SqliteLog`."""

    _journal: Journal
    _letters: LetterBox
    _acknowledged: dict[str, int]

    @abstractmethod
    async def _ask(self, call: Callable[[Journal], _T]) -> _T:
        """Have something changed in the log's thread; an unexpected error of it ends the log."""

    @abstractmethod
    async def _look(self, call: Callable[[Journal], _T]) -> _T:
        """Have something read there; an unexpected error of it is raised here, and the log goes on."""

    # Letters.

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See `Letters.bury`."""
        await self._ask(lambda _: self._letters.bury(letters))

    async def dead_letters(self, sink: str | None, after: int, limit: int) -> Sequence[DeadLetter]:
        """See `Letters.dead_letters`."""
        return await self._look(lambda _: self._letters.read(sink, after, limit))

    async def purge(self, sink: str | None, numbers: Collection[int] | None) -> int:
        """See `Letters.purge`."""
        return await self._ask(lambda _: self._letters.purge(sink, numbers))

    async def redrive(
        self,
        sink: str,
        numbers: Collection[int] | None,
        *,
        force: bool,
        streams: Collection[str] | None = None,
    ) -> Redriven:
        """See `Letters.redrive`."""
        return await self._ask(lambda _: self._letters.redrive(sink, numbers, force=force, streams=streams))

    def letter_counts(self) -> Mapping[str, int]:
        """See `Letters.letter_counts`."""
        return self._letters.counts

    # Snapshots.

    async def request_snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        """See `Snapshots.request_snapshots`."""
        await self._ask(lambda journal: request_snapshots(journal, requests))

    async def snapshot_requests(self) -> Sequence[SnapshotRequest]:
        """See `Snapshots.snapshot_requests`."""
        return await self._look(lambda journal: tables.read_requests(journal.connection))

    # Backlogs.

    def lag(self, position: int) -> Lag:
        """See `Backlogs.lag`."""
        return self._journal.kept.lag(position)

    async def drop_backlog(
        self, sink: str, streams: Collection[str] | None, owed: Sequence[SnapshotRequest] = ()
    ) -> Dropped:
        """See `Backlogs.drop_backlog`."""
        dropped = await self._ask(lambda journal: drop(journal, sink, streams, owed))
        if sink in self._acknowledged:
            self._acknowledged[sink] = max(self._acknowledged[sink], dropped.end)
        return dropped

    async def release_sink(self, name: str) -> None:
        """See `Backlogs.release_sink`."""
        acknowledged = self._acknowledged.pop(name, 0)
        await self._ask(lambda journal: journal.sinks.detach(name, acknowledged))
