"""The one thread that writes, and when it commits.

A commit happens at 256 KiB, or at the end of a window since the first waiting append: 5 ms when busy,
20 ms below 2,000 records a second. Committing at once when idle would cost 4 to 9 times the bytes
(docs/decisions/0001-the-log.md). The thread is woken for the first append, for a full group and for
requests only; it answers with one call into the event loop per commit.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bridge.changes.change import Batch
from bridge.errors import BridgeError, StateError
from bridge.store.contract import Refused
from bridge.store.failures import Full
from bridge.store.group import Append
from bridge.store.journal import Journal

__all__ = ["GROUP_BYTES", "Committed", "Flush", "Request", "Writer"]

_log: Final = logging.getLogger(__name__)

GROUP_BYTES: Final = 256 * 1024
"""Waiting bytes at which a group is committed at once."""
_TAKE_BYTES: Final = 1024 * 1024
"""Bytes in one group at most (but for one larger append), so that transactions are bounded."""
_BUSY_WINDOW: Final = 0.005
_IDLE_WINDOW: Final = 0.020
_BUSY_RATE: Final = 2000.0
_ACK_SECONDS: Final = 1.0
"""An acknowledged cursor is durable after this time at the latest."""
_CURSOR_SECONDS: Final = 10.0
"""A cursor that moved without records (a bookmark) is durable after this time at the latest."""
_FOLD_STEPS: Final = 8
_TICK: Final = 1.0
"""The thread shows a sign of life this often."""


class Flush(NamedTuple):
    """A place in the queue; `done` is called in the event loop when everything before it is durable."""

    done: Callable[[], None]


class Request(NamedTuple):
    """Something to be done with the journal between commits.

    Attributes:
        call: does it.
        answer: gets the result, or the error, in the event loop.
        changes: whether it writes. What fails unexpectedly on its way through a change leaves nobody sure of
            what memory and file have, so that ends the log; a question that fails is its asker's loss.
    """

    call: Callable[[Journal], Any]
    answer: Callable[[Any, BaseException | None], None]
    changes: bool


class Committed(NamedTuple):
    """What one commit tells the event loop.

    Attributes:
        batches: readers may have them now; none, although the end has moved: what was added is in the file.
        size: bytes that are no longer in flight.
        end: position of the newest record.
        flushed: places in the queue that were reached.
    """

    batches: Sequence[Batch]
    size: int
    end: int
    flushed: Sequence[Flush]


class Writer:
    """Owns the journal from `start` until `finished` is called.

    Args:
        journal: what it writes to.
        acknowledged: positions by sink; written by the event loop, read here.
        post: runs a function with arguments in the event loop, from this thread.
        committed: called there after each commit.
        died: called there once, with the error that ended the thread.

    Attributes:
        heartbeat: seconds of the monotonic clock when the thread last came by.
        commits, commit_seconds, last_commit_seconds, records: totals since the start.
    """

    def __init__(
        self,
        journal: Journal,
        acknowledged: Mapping[str, int],
        post: Callable[..., None],
        committed: Callable[[Committed], None],
        died: Callable[[BaseException], None],
    ) -> None:
        self.heartbeat = time.monotonic()
        self.commits = 0
        self.commit_seconds = 0.0
        self.last_commit_seconds = 0.0
        self.records = 0
        self._journal = journal
        self._acknowledged = acknowledged
        self._post = post
        self._committed = committed
        self._died = died
        self._queue: deque[Append | Flush] = deque()
        self._requests: deque[Request] = deque()
        self._waiting_bytes = 0
        self._hurry = False
        self._closing = False
        self._wake = threading.Lock()
        self._wake.acquire()
        self._taken: list[Flush] = []
        self._taken_bytes = 0
        self._attempted = 0.0
        self._looked = 0.0
        self._trimming = False
        self._rate = _Rate()
        self._thread = threading.Thread(target=self._main, name="kube-bridge-log", daemon=True)

    # From the event loop.

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def append(self, job: Append) -> None:
        """Queue an append."""
        first = not self._queue
        self._queue.append(job)
        self._waiting_bytes = job.size if first else self._waiting_bytes + job.size
        if self._waiting_bytes >= GROUP_BYTES:
            self._waiting_bytes = 0
            self._hurry = True
            self._signal()
        elif first:
            self._signal()

    def flush(self, flush: Flush) -> None:
        """Queue a place to be reached soon."""
        self._queue.append(flush)
        self._hurry = True
        self._signal()

    def request(self, request: Request) -> None:
        """Ask for something between commits."""
        self._requests.append(request)
        self._signal()

    def nudge(self) -> None:
        """A sink has moved on; that matters at once only when it may make room."""
        if self._journal.space.full:
            self._signal()

    def close(self) -> None:
        """Commit what is queued, then end."""
        self._closing = True
        self._hurry = True
        self._signal()

    def join(self, timeout: float) -> bool:
        """Wait for the thread, in another one than the event loop's. Returns whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _signal(self) -> None:
        if self._wake.locked():  # only the event loop releases, so this cannot release twice
            self._wake.release()

    # In the thread.

    def _main(self) -> None:
        try:
            self._run()
            self._finish()
        except BaseException as error:  # noqa: BLE001 - whatever it is, every caller must be told
            self._post(self._died, error)

    def _run(self) -> None:
        journal = self._journal
        while not (self._closing and not self._queue and journal.sealed is None):
            self._beat()
            if journal.space.full:
                if not self._while_full():
                    return
            elif self._queue:
                self._gather()
                self._commit()
                self._look_after()
            else:
                self._persist()
                self._look_after()
                if not (journal.folding or self._trimming or self._queue or self._requests):
                    self._wake.acquire(timeout=_TICK)

    def _finish(self) -> None:
        journal = self._journal
        self._beat()
        try:
            if journal.sealed is None:
                journal.prepare((), force=True)
                journal.commit()
            journal.persist()
        except Full:
            _log.warning("closed with a full disk; what was not committed is read again at the next start")

    def _beat(self) -> None:
        self.heartbeat = time.monotonic()
        self._note()
        while self._requests:
            request = self._requests.popleft()
            result: Any = None
            refusal: Exception | None = None
            end = self._journal.end
            try:
                result = request.call(self._journal)
            except (StateError, Refused) as error:
                refusal = error
            except (BridgeError, sqlite3.Error, OSError):
                raise  # the storage failed, or a promise
            except Exception as error:
                if request.changes:
                    raise
                refusal = error
            if self._journal.end != end:
                self._post(self._committed, Committed((), 0, self._journal.end, ()))
            self._post(request.answer, result, refusal)

    def _note(self) -> None:
        self._journal.sinks.note(dict(self._acknowledged))

    def _gather(self) -> None:
        """Wait for the window to end, then prepare what has gathered."""
        head = self._queue[0]
        since = head.since if isinstance(head, Append) else 0.0
        deadline = since + (_BUSY_WINDOW if self._rate.current > _BUSY_RATE else _IDLE_WINDOW)
        while not self._hurry and (left := deadline - time.monotonic()) > 0:
            self._wake.acquire(timeout=left)
            self._beat()
        self._hurry = False
        jobs: list[Append] = []
        while self._queue and self._taken_bytes < _TAKE_BYTES:
            taken = self._queue.popleft()
            if isinstance(taken, Flush):
                self._taken.append(taken)
            else:
                jobs.append(taken)
                self._taken_bytes += taken.size
        self._hurry = self._hurry or bool(self._queue and self._taken_bytes >= _TAKE_BYTES)
        records = self._journal.prepare(jobs, force=bool(self._taken) or self._cursors_late())
        self._rate.count(records)
        self.records += records

    def _commit(self) -> bool:
        """Try to commit the sealed group; returns whether that went well."""
        self._note()
        sealed = self._journal.sealed
        started = self._attempted = time.monotonic()
        try:
            batches = self._journal.commit()
        except Full:
            self._enter_full(sealed.stored if sealed else 0)
            return False
        if batches:
            self.last_commit_seconds = time.monotonic() - started
            self.commit_seconds += self.last_commit_seconds
            self.commits += 1
        self._post(self._committed, Committed(batches, self._taken_bytes, self._journal.end, self._taken))
        self._taken = []
        self._taken_bytes = 0
        return True

    def _persist(self) -> None:
        """Idle: what has waited long enough for a commit to ride on."""
        journal = self._journal
        try:
            if self._cursors_late():
                journal.prepare((), force=True)
                journal.commit()
            dirty = journal.sinks.dirty_since
            late = dirty is not None and self.heartbeat - dirty >= _ACK_SECONDS
            tick = self.heartbeat - self._looked >= _TICK
            if late or self._trimming or (journal.trimmable and tick):
                self._trimming = journal.persist() and journal.trimmable
        except Full:
            self._enter_full(0)

    def _look_after(self) -> None:
        """A chunk of the inventory between commits, more when the fold lags; the WAL's size now and then."""
        journal = self._journal
        try:
            for _ in range(_FOLD_STEPS if journal.fold_lags else 1):
                if not journal.folding and not journal.fold_due():
                    break
                journal.fold_step()
            if self.heartbeat - self._looked >= _TICK:
                self._looked = self.heartbeat
                journal.look()
        except Full:
            self._enter_full(0)

    def _cursors_late(self) -> bool:
        moved = self._journal.moved_since
        return moved is not None and self.heartbeat - moved >= _CURSOR_SECONDS

    # When there is no room.

    def _enter_full(self, stored: int) -> None:
        space = self._journal.space
        before = space.full
        space.exhausted(stored)
        if not before:
            _log.warning("%s; nothing new is taken in until then", space.full)

    def _while_full(self) -> bool:
        """One round: let sinks empty the log, then try again. Returns False when closing gives up."""
        journal = self._journal
        progress = self._make_room()
        now = time.monotonic()
        if progress or self._closing or now - self._attempted >= _TICK:
            self._attempted = now
            if journal.space.regained() and (journal.sealed is None or self._commit()):
                journal.space.recovered()
                _log.warning("there is room again; the log goes on")
                return True
        if self._closing:
            return False
        if not progress and not self._requests:
            self._wake.acquire(timeout=_TICK)
        return True

    def _make_room(self) -> bool:
        journal = self._journal
        try:
            progress = journal.persist()
            if journal.folding or journal.fold_helps():
                while not journal.fold_step():
                    self._beat()
                progress = journal.persist() or progress
        except Full:
            self._enter_full(0)
            return False
        return progress


class _Rate:
    """Records a second, over about the last second."""

    def __init__(self) -> None:
        self.current = 0.0
        self._since = time.monotonic()
        self._records = 0

    def count(self, records: int) -> None:
        self._records += records
        elapsed = time.monotonic() - self._since
        if elapsed >= 1.0:
            self.current = self._records / elapsed
            self._since += elapsed
            self._records = 0
