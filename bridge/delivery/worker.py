"""One sink's task: read the log, hand out, retry in place, acknowledge. It holds back nobody else."""

import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio
from trio.lowlevel import ParkingLot

from bridge.changes.change import Batch
from bridge.changes.envelope import Bridge, Format
from bridge.changes.record import Record
from bridge.delivery.handout import HandOut, Selection
from bridge.delivery.ledger import Ledger
from bridge.delivery.pacing import Backoff, Retry
from bridge.delivery.sink import Context, Delivery, Rejected, Resume, Sink, Unavailable
from bridge.delivery.stats import SinkState, SinkStats
from bridge.errors import BridgeError
from bridge.faults import crash_point
from bridge.logs import Incidents, Level, Logger, log

__all__ = ["LogReader", "Plan", "Worker"]

_REASONS_LOGGED = 3
_FRAMES_LOGGED = 4


class LogReader(Protocol):
    """What a worker needs of the log; `bridge.store.contract.Log` has it."""

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """Next committed batches with something behind position `after`, oldest first; waits for one."""
        ...

    def end(self) -> int:
        """Position of the newest committed change; never ahead of what `read` can still give."""
        ...

    def acknowledge(self, name: str, position: int) -> None:
        """The sink owns everything up to `position`. Durable soon, without waiting for it."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is configured about one sink, beyond the sink itself.

    Attributes:
        name: the configured name; the cursor's name in the log.
        bridge: whose records these are.
        selection: which records it is handed.
        form: how they are rendered.
        retry: how tries are paced.
    """

    name: str
    bridge: Bridge
    selection: Selection = field(default_factory=Selection)
    form: Format = Format.NATIVE
    retry: Retry = field(default_factory=Retry)


class _Halted(Exception):
    """The destination refused a record for good."""


class Worker:
    """Delivers the log to one sink, from its cursor, for as long as `run` runs.

    Failure domains: `Unavailable` is retried in place for ever; `Rejected` halts this sink loudly with its
    cursor where it is; an unexpected error restarts the sink from its cursor with backoff; any other
    `BridgeError` (a broken invariant, a closed pipe) leaves `run` and is the command's to handle.
    """

    def __init__(
        self,
        plan: Plan,
        sink: Sink,
        reader: LogReader,
        resume: Resume,
        *,
        jitter: Callable[[], float] = random.random,
        logger: Logger = log,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            plan: what is configured.
            sink: opened and closed by this worker.
            reader: the log.
            resume: the log's identity and the position that this sink has acknowledged durably.
            jitter: uniform in [0, 1).
            logger: told when trouble begins, goes on and ends; never once per try.
        """
        self.stats = SinkStats(plan.name, position=resume.position)
        self._plan = plan
        self._sink = sink
        self._reader = reader
        self._resume = resume
        self._ledger = Ledger(resume.position)
        # An earlier process may have delivered everything that was in the log when this one began.
        self._replay_through = reader.end()
        self._hand_out = HandOut(
            plan.name,
            plan.bridge,
            plan.selection,
            plan.form,
            max_records=sink.max_records,
            max_bytes=sink.max_bytes,
        )
        # What is read becomes larger by its envelopes: half fills one delivery without a small rest behind.
        self._read_bytes = sink.max_bytes // 2
        self._backoff = Backoff(plan.retry, jitter)
        self._moved = ParkingLot()
        self._hurry = trio.Event()
        self._logger = logger
        self._incidents = Incidents(logger, clock=trio.current_time)

    async def run(self) -> None:
        """Deliver until cancelled; returns only when the sink has halted.

        Cancellation is safe at any time: what was not acknowledged is delivered again by the next run.

        Raises:
            InvariantError: a promise would be broken; the process must end.
            ClosedPipe: the reader of our standard output is gone; the command ends quietly.
        """
        try:
            while True:
                try:
                    await self._session()
                except _Halted:
                    return
                except Unavailable as error:
                    await self._pause(error, "unavailable", error.retry_after)
                except Exception as error:  # whatever a sink throws is its own failure domain
                    fatal = _fatal(error)
                    if fatal is not None:
                        raise fatal from error
                    self._replay_through = max(self._replay_through, self._ledger.reached)
                    await self._pause(error, "error")
        finally:
            if self.stats.state is not SinkState.HALTED:
                self.stats.state = SinkState.STOPPED
            self._moved.unpark_all()

    async def drain(self, deadline: float) -> bool:
        """Wait until everything in the log is delivered; tries that are waiting try again at once.

        Args:
            deadline: in `trio.current_time()`.

        Returns:
            True when the sink owns everything; False at the deadline, or when it halted or stopped before.
        """
        self._hurry.set()
        with trio.move_on_at(deadline):
            while self._ledger.acknowledged < self._reader.end():
                if self.stats.state in (SinkState.HALTED, SinkState.STOPPED):
                    return False
                await self._moved.park()
            return True
        return False

    async def _session(self) -> None:
        async with self._sink as sink:
            position = self._ledger.rewind()
            context = Context(self._plan.name, self._plan.bridge.cluster, self._plan.bridge.cluster_uid)
            log_id, incarnation = self._resume.log_id, self._resume.incarnation
            known = await sink.open(Resume(log_id, incarnation, position), context)
            if known.position > position:
                self._ledger.pass_over(known.position)
                self._acknowledge()
            self.stats.state, self.stats.reason = SinkState.DELIVERING, ""
            while True:
                after = self._ledger.reached
                batches = await self._reader.read(after, self._read_bytes)
                for delivery in self._hand_out.deliveries(batches, after, self._replay_through):
                    await self._deliver(sink, delivery)
                self.stats.filtered = self._hand_out.filtered
                await trio.lowlevel.checkpoint()  # a reader that always has more must not starve the others

    async def _deliver(self, sink: Sink, delivery: Delivery) -> None:
        if delivery.records:
            self._ledger.take(delivery.last_position)
            seconds = await self._insist(sink, delivery)
            self.stats.delivered(len(delivery.records), delivery.size, seconds)
            if self._backoff.attempts:
                self._recovered()
            self._ledger.settle(delivery.last_position)
        else:
            self._ledger.pass_over(delivery.last_position)
        self._acknowledge()

    async def _insist(self, sink: Sink, delivery: Delivery) -> float:
        """Try until the sink owns all of it; how many seconds the try took that succeeded."""
        while True:
            begun = trio.current_time()
            try:
                await sink.deliver(delivery)
            except Unavailable as error:
                await self._pause(error, "unavailable", error.retry_after)
            except Rejected as error:
                self._halt(error, delivery.records)
                raise _Halted from error
            else:
                return trio.current_time() - begun

    def _acknowledge(self) -> None:
        position = self._ledger.acknowledged
        if position == self.stats.position:
            return
        self.stats.position = position
        self._reader.acknowledge(self._plan.name, position)
        crash_point("sink.acknowledged")
        self._moved.unpark_all()

    def _halt(self, error: Rejected, records: Sequence[Record]) -> None:
        """Keep the cursor before the first record that was refused; those before it are owned."""
        refused = min(error.reasons, default=0)
        self._ledger.rewind()
        if refused:
            self._ledger.pass_over(records[refused].position - 1)
            self._acknowledge()
        stats = self.stats
        stats.rejected += max(len(error.reasons), 1)
        stats.state = SinkState.HALTED
        examples = "; ".join(sorted(set(error.reasons.values()))[:_REASONS_LOGGED])
        stats.reason = f"{len(error.reasons)} of {len(records)} records were refused for good: {examples}"
        self._logger(
            "error",
            "sink halted: records were refused for good; the others go on, a restart tries again",
            sink=self._plan.name,
            position=records[refused].position,
            reason=stats.reason,
        )

    async def _pause(self, error: Exception, reason: str, retry_after: float | None = None) -> None:
        stats = self.stats
        stats.retries[reason] += 1
        stats.state = SinkState.RETRYING
        if isinstance(error, BridgeError):
            stats.reason = str(error)
            self._report("warning", "sink takes no records and is tried again", reason=stats.reason)
        else:
            stats.reason = f"unexpected {type(error).__name__}, see the log"
            self._report(
                "error", "sink failed and restarts from its cursor", error=repr(error), at=_place(error)
            )
        delay = self._backoff.next(retry_after)
        if self._hurry.is_set():
            await trio.sleep(delay)
            return
        with trio.move_on_after(delay):
            await self._hurry.wait()

    def _report(self, level: Level, event: str, **fields: str) -> None:
        self._incidents.report("trouble", level, event, sink=self._plan.name, **fields)

    def _recovered(self) -> None:
        self._incidents.end("trouble", "sink takes records again", sink=self._plan.name)
        self._backoff.reset()
        self.stats.state = SinkState.DELIVERING
        self.stats.reason = ""


def _place(error: Exception) -> str:
    """Where an unexpected error came from, the innermost place last."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_LOGGED:]
    return " > ".join(
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in frames
    )


def _fatal(error: BaseException) -> BridgeError | None:
    """The error in here that is meant to leave the sink, also from within the groups that nurseries make."""
    if isinstance(error, BaseExceptionGroup):
        return next((fatal for inner in error.exceptions if (fatal := _fatal(inner))), None)
    return error if isinstance(error, BridgeError) and not isinstance(error, Unavailable | Rejected) else None
