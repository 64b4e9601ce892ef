"""The log of `run`: the async face of the journal and its writer (`bridge.store.contract.Log`)."""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import trio

from bridge.changes.change import Batch, Cursor, StreamInfo
from bridge.errors import BridgeError, InvariantError
from bridge.store.adoption import Orphan, adopt, orphans
from bridge.store.asked import AskedLog
from bridge.store.backlog import attach, finish
from bridge.store.codec import RowDecoder
from bridge.store.contract import LogStats, OpenedSink, SnapshotRequest, WatchState, Work
from bridge.store.database import Connect, Database, connect
from bridge.store.directory import StateDirectory
from bridge.store.failures import LogError
from bridge.store.group import Append
from bridge.store.journal import Journal
from bridge.store.known import known_streams
from bridge.store.letters import LetterBox
from bridge.store.pace import Pace
from bridge.store.positions import check_acknowledgement, check_cursor
from bridge.store.room import Room
from bridge.store.space import Budget
from bridge.store.tail import Tail, unpack
from bridge.store.writer import Committed, Flush, Request, Writer

__all__ = ["SqliteLog"]

_logger: Final = logging.getLogger(__name__)

_T = TypeVar("_T")

_IN_FLIGHT: Final = 4 << 20
"""Bytes on their way to the writer: more give no more throughput, only latency."""
_CLOSE_SECONDS: Final = 10.0
"""How long closing waits for a disk that does not answer."""


class _Opened:
    """What is held while a log is open; made and closed in a worker thread."""

    def __init__(self, path: Path, budget: Budget, cluster: str | None, connector: Connect) -> None:
        self.directory = StateDirectory.acquire(path)
        try:
            self.database = Database.open(path / "log.db", connector=connector)
            try:
                with self.database.guard():
                    self.journal = Journal(self.database, budget)
                    self.letters = LetterBox(self.journal)
                    finish(self.journal)
                if cluster is not None:
                    self.journal.claim(cluster)
            except BaseException:
                self.database.close()
                raise
        except BaseException:
            self.directory.release()
            raise

    def close(self) -> None:
        self.database.close()
        self.directory.release()


class SqliteLog(AskedLog):
    """Implements `bridge.store.contract.Log` on one SQLite file.

    Use `open`. Methods are for the event loop's thread. After the storage failed, or work raised, every
    call raises that error.

    Attributes:
        identity: which log, which opening.
    """

    def __init__(self, opened: _Opened, memory_bytes: int) -> None:
        journal = opened.journal
        self.identity = journal.identity
        self._opened = opened
        self._journal = journal
        self._letters = opened.letters
        self._in_flight = min(_IN_FLIGHT, memory_bytes // 4)
        self._room = Room(self._in_flight)
        self._tail = Tail()
        self._tail_bytes = memory_bytes - self._in_flight
        self._end = journal.end
        self._decoder = RowDecoder()
        self._acknowledged: dict[str, int] = {}
        self._pace = Pace(self._tail, self._tail_bytes, self._acknowledged)
        self._readers = trio.lowlevel.ParkingLot()
        self._waiting: set[trio.Event] = set()
        self._error: BaseException | None = None
        self._told = False
        self._closed = False
        self._token = trio.lowlevel.current_trio_token()
        self._writer = Writer(journal, self._acknowledged, self._post, self._committed, self._died)
        self._writer.start()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        max_bytes: int = 1 << 30,
        memory_bytes: int = 16 << 20,
        cluster: str | None = None,
        connector: Connect = connect,
    ) -> AsyncIterator["SqliteLog"]:
        """Open the log in a state directory, or make it; `aclose` on leaving.

        Args:
            path: `state.path`.
            max_bytes: `state.maxBytes`, for everything in the directory.
            memory_bytes: `memory.maxBytes`, for records in memory: on their way in, and the newest.
            cluster: uid of the cluster, where it is known already; else `claim` later.
            connector: makes the connection; tests put a failing disk under it.

        Raises:
            StateError: locked (by whom), newer, corrupt, read-only, another cluster's, not ours.
            UsageError: `max_bytes` is too small.
            LogError: the disk fails.
        """
        budget = Budget.of(max_bytes)
        opened = await trio.to_thread.run_sync(partial(_Opened, path, budget, cluster, connector))
        log = cls(opened, memory_bytes)
        try:
            yield log
        finally:
            await log.aclose()

    # What watches use.

    async def watch_state(self, stream: str, scope: str) -> WatchState | None:
        """See `Log.watch_state`."""
        return await self._look(lambda journal: journal.watch_state(stream, scope))

    async def watch_states(self, stream: str) -> Mapping[str, WatchState]:
        """See `Log.watch_states`."""
        return await self._look(lambda journal: journal.watch_states(stream))

    async def watched_streams(self) -> Collection[str]:
        """See `Log.watched_streams`."""
        return await self._look(lambda journal: list(known_streams(journal.watches)))

    async def adopt(
        self, stream: str, collection: Mapping[str, str], configured: Collection[str]
    ) -> Sequence[str]:
        """See `Log.adopt`."""
        found = await self._ask(lambda journal: adopt(journal, stream, collection, configured))
        if len(found) == 1:
            self._tail.rename(found[0], stream)
        return found

    async def append(  # noqa: PLR0913 - everything that is committed together
        self,
        stream: StreamInfo,
        scope: str,
        work: Work,
        *,
        size: int,
        cursor: Cursor | None = None,
        epoch: int | None = None,
        fingerprint: str | None = None,
        audience: str = "",
        fulfils: Sequence[SnapshotRequest] = (),
    ) -> None:
        """See `Log.append`."""
        self._check()
        await self._pace.wait(self._end)
        job = Append(
            stream, scope, work, size, cursor, epoch, fingerprint, monotonic(), audience, tuple(fulfils)
        )
        await self._room.enter(size, partial(self._writer.append, job))

    async def flush(self) -> None:
        """See `Log.flush`."""
        self._check()
        reached = trio.Event()
        self._waiting.add(reached)
        try:
            self._writer.flush(Flush(reached.set))
            await reached.wait()
        finally:
            self._waiting.discard(reached)
        self._check()

    # What sinks use.

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """See `Log.read`."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            start = self._tail.start
            batches: Sequence[Batch] = ()
            if start is not None and after >= start - 1:
                batches = self._tail.read(after, max_bytes)
            elif after < self._end:
                rows = await self._look(lambda journal: journal.rows(after, max_bytes))
                batches = [unpack(self._decoder, row, after) for row in rows]
            if batches:
                return batches
            await self._readers.park()

    def end(self) -> int:
        """See `Log.end`."""
        return self._end

    async def open_sink(
        self,
        name: str,
        fingerprint: str,
        takes: Collection[str] = (),
        leaves_out: Collection[str] = (),
        skips: Collection[str] = (),
    ) -> OpenedSink:
        """See `Log.open_sink`.

        Raises:
            Refused: a drop of its backlog was cut off, and there is no room to finish it.
        """
        before = self._acknowledged.pop(name, None)
        opened = await self._ask(
            lambda journal: attach(journal, name, fingerprint, before, takes, leaves_out, skips)
        )
        self._acknowledged[name] = opened.position
        return opened

    async def detach_sinks(self, keep: Collection[str]) -> None:
        """See `Log.detach_sinks`."""
        leaving = {name: at for name, at in self._acknowledged.items() if name not in keep}
        for name in leaving:
            del self._acknowledged[name]
        await self._ask(lambda journal: journal.sinks.detach_all_but(keep, leaving))

    def acknowledge(self, name: str, position: int) -> None:
        """See `Log.acknowledge`."""
        check_acknowledgement(name, self._acknowledged.get(name), position, self._end)
        self._acknowledged[name] = position
        self._pace.acknowledged(name)
        self._writer.nudge()

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """See `Log.verify`."""
        check_cursor(self.identity, self._journal.incarnations, self._end, log_id, incarnation, position)

    # What the service uses.

    @property
    def cluster(self) -> str | None:
        """The cluster that this state belongs to, once known."""
        return self._journal.meta.cluster

    @property
    def trusted_by(self) -> str | None:
        """What vouched for that cluster when it was last told, if anything did."""
        return self._journal.meta.trust

    async def claim(self, cluster: str, trust: str | None = None) -> None:
        """See `bridge.store.meta.Meta.claim`."""
        await self._ask(lambda journal: journal.claim(cluster, trust))

    async def orphans(self, configured: Collection[str], now: float) -> Sequence[Orphan]:
        """Streams that are known and not configured; since when is noted, durably, the first time.

        Args:
            configured: names of all streams that are configured.
            now: seconds since the Unix epoch.

        Raises:
            Refused: there is no room to note it.
        """
        return await self._ask(lambda journal: orphans(journal, configured, int(now)))

    @property
    def full(self) -> str:
        """One sentence why nothing is taken in now, or ""."""
        return self._journal.space.full

    def stats(self) -> LogStats:
        """See `Log.stats`."""
        journal, writer = self._journal, self._writer
        file_bytes, wal_bytes = self._opened.database.sizes()
        return LogStats(
            end=self._end,
            kept_records=journal.kept.records,
            kept_bytes=journal.kept.stored,
            file_bytes=file_bytes,
            wal_bytes=wal_bytes,
            commits=writer.commits,
            commit_seconds=writer.commit_seconds,
            committed_records=writer.records,
            last_commit_seconds=writer.last_commit_seconds,
            overlay=journal.overlay,
            in_flight=self._room.used,
            heartbeat_age=monotonic() - writer.heartbeat,
            full=journal.space.full,
            limit_bytes=journal.limit_bytes,
        )

    async def aclose(self) -> None:
        """See `Log.aclose`. Shielded: cancellation does not lose what was accepted, a hung disk may.

        Raises:
            BridgeError: the log died and nobody was told yet.
        """
        if self._closed:
            return
        self._closed = True
        self._room.fail(self._error or trio.ClosedResourceError("the log is closed"))  # not accepted any more
        with trio.CancelScope(shield=True):
            self._writer.close()
            if await trio.to_thread.run_sync(self._writer.join, _CLOSE_SECONDS):
                await trio.to_thread.run_sync(self._opened.close)
            else:
                _logger.error(
                    "the disk under %s did not answer for %d s", self._opened.directory.path, _CLOSE_SECONDS
                )
        error = self._error
        self._wake(error or trio.ClosedResourceError("the log is closed"))
        if error is not None and not self._told:
            self._told = True
            raise error

    # Between the loop and the writer's thread.

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *arguments)

    def _committed(self, done: Committed) -> None:
        if done.batches:
            self._tail.extend(done.batches)
            self._tail.shrink(self._tail_bytes)
            self._readers.unpark_all()
        elif done.end > self._end:
            self._tail.clear()
            self._readers.unpark_all()
        self._end = done.end
        self._room.leave(done.size)
        for flush in done.flushed:
            flush.done()

    def _died(self, error: BaseException) -> None:
        if not isinstance(error, BridgeError):
            cause, error = error, LogError(f"the log's writer failed: {type(error).__name__}: {error}")
            error.__cause__ = cause
        self._error = error
        self._wake(error)

    def _wake(self, error: BaseException) -> None:
        self._room.fail(error)
        self._readers.unpark_all()
        for event in self._waiting:
            event.set()

    async def _ask(self, call: Callable[[Journal], _T]) -> _T:
        return await self._have(call, changes=True)

    async def _look(self, call: Callable[[Journal], _T]) -> _T:
        return await self._have(call, changes=False)

    async def _have(self, call: Callable[[Journal], _T], *, changes: bool) -> _T:
        self._check()
        answered = trio.Event()
        answer: list[tuple[Any, BaseException | None]] = []

        def take(result: Any, error: BaseException | None) -> None:
            answer.append((result, error))
            answered.set()

        self._waiting.add(answered)
        try:
            self._writer.request(Request(call, take, changes))
            await answered.wait()
        finally:
            self._waiting.discard(answered)
        if not answer:
            self._check()
            raise InvariantError("the log ended without an answer and without an error")
        result, error = answer[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # it went through the queue as Any

    def _check(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error
        if self._closed:
            raise trio.ClosedResourceError("the log is closed")
