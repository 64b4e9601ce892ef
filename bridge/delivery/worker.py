"""One sink's worker: opens it, delivers, begins anew after errors, rests when told to; holds back nobody."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

import trio
from trio.lowlevel import ParkingLot

from bridge.delivery.agreement import Agreement
from bridge.delivery.containment import contained
from bridge.delivery.crew import fatal
from bridge.delivery.gate import Gate
from bridge.delivery.handover import Halted, Handover
from bridge.delivery.lanes import run_lanes
from bridge.delivery.ledger import Ledger
from bridge.delivery.pipeline import run_pipeline
from bridge.delivery.plan import Batching, Hooks, Plan, breaker_of, context_of, hand_out_of, limits_of
from bridge.delivery.serial import run_serial
from bridge.delivery.session import LogReader, Session
from bridge.delivery.sink import Overlap, Resume, Sink, Stopped, Unavailable
from bridge.delivery.stats import SinkState, SinkStats
from bridge.delivery.tries import Tries
from bridge.delivery.trouble import REASONS_LOGGED, Trouble
from bridge.delivery.waits import Quit, Waits
from bridge.faults import crash_point
from bridge.logs import Logger, log

__all__ = ["Batching", "Hooks", "LogReader", "Plan", "Worker"]

_WAYS: Final = {Overlap.NONE: run_serial, Overlap.PIPELINE: run_pipeline, Overlap.LANES: run_lanes}
_CUT_SECONDS: Final = 5.0
"""For a call that was cut off to end: a thread that blocks does not hear of it."""
_PAUSED: Final = "by a command"
_STUCK: Final = "a call that was cut off has not ended yet"


class _Rest(NamedTuple):
    """Why the sink rests."""

    state: SinkState
    reason: str


class Worker:
    """Delivers the log to one sink, from its cursor, for as long as `run` runs.

    Failure domains: `Unavailable` is retried for ever; `Rejected` records become dead letters, or halt this
    sink; `Stopped` parks it; `Reopen`, an unexpected error, or a secret that cannot be read, restarts
    it from its cursor with backoff; any other `BridgeError` (a broken invariant, a lost state, a closed
    pipe) leaves `run`, for the command to handle.
    """

    def __init__(
        self,
        plan: Plan,
        sink: Sink,
        reader: LogReader,
        resume: Resume,
        *,
        hooks: Hooks | None = None,
        fresh: bool = False,
        jitter: Callable[[], float] = random.random,
        logger: Logger = log,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            plan: what is configured.
            sink: opened and closed by this worker.
            reader: the log.
            resume: the log's identity and the position that this sink has acknowledged durably.
            hooks: what it asks and tells others.
            fresh: what the destination holds does not count, see `Context.fresh`.
            jitter: uniform in [0, 1).
            logger: told when trouble begins, goes on and ends; never once per try.
        """
        self._plan = plan
        self._sink = sink
        self._reader = reader
        self._resume = resume
        self._hooks = hooks or Hooks()
        self._fresh = fresh
        self._jitter = jitter
        self._logger = logger
        self._ledger = Ledger(resume.position)
        self._tries = Tries()
        # An earlier process may have delivered everything that was in the log when this one began.
        self._replay_through = reader.end()
        self._limits = limits_of(sink, plan)
        self._hand_out = hand_out_of(plan, self._limits)
        self._breaker = breaker_of(sink, plan, jitter)
        self.stats = SinkStats(plan.name, position=resume.position, circuit=self._breaker)
        self._trouble = Trouble(self.stats, logger)
        self._agreement = Agreement(plan, self._hooks, reader, logger)
        self._rest: _Rest | None = None
        self._holds = 0
        self._busy = False
        self._waits = Waits()
        self._gate = Gate(self._breaker, self._waits)
        self._scope = trio.CancelScope()
        self._moved = ParkingLot()

    async def run(self) -> None:
        """Deliver until cancelled, and rest meanwhile when told to.

        Cancellation is safe at any time: what was not acknowledged is delivered again by the next run.

        Raises:
            InvariantError: a promise would be broken; the process must end.
            StateError: the destination knows a place that this log never gave out; a person must decide.
            ClosedPipe: the reader of our standard output is gone; the command ends quietly.
        """
        try:
            while True:
                await self._until_wanted()
                with trio.CancelScope() as self._scope:
                    await self._live()
        finally:
            self._busy = False
            if self._rest is None:
                self.stats.state = SinkState.STOPPED
            self._moved.unpark_all()

    async def drain(self, deadline: float) -> bool:
        """Wait until everything in the log is delivered; tries that are waiting try again at once.

        Args:
            deadline: in `trio.current_time()`.

        Returns:
            True when the sink owns everything; False at the deadline, or when it rests or stopped before.
        """
        self.hurry()
        resting = (SinkState.HALTED, SinkState.STOPPED, SinkState.PAUSED, SinkState.PARKED)
        with trio.move_on_at(deadline):
            while self._ledger.acknowledged < self._reader.end():
                if self.stats.state in resting:
                    return False
                await self._moved.park()
            return True
        return False

    def hurry(self) -> None:
        """Wait for nothing but the destination from now on: tries that are waiting try again at once."""
        self._gate.hurry()
        self._waits.hurry()

    async def pause(self, deadline: float) -> None:
        """Begin nothing more until `resume`.

        What is in flight may end until the deadline; then it is cut off, and comes again after `resume`.
        It returns soon after the deadline in any case, and `stats` says how it went: a sink that rests
        already stays as it is, and one whose call does not end although it was cut off says so until it does.

        Args:
            deadline: in `trio.current_time()`.
        """
        if self._rest is None:
            self._rest = _Rest(SinkState.PAUSED, _PAUSED)
        self._waits.quit()
        await self._idle(deadline)
        if self._busy and self._rest is not None:
            self._cut_off()
            await self._idle(trio.current_time() + _CUT_SECONDS)
        if self._busy and self._rest is not None:
            self.stats.state, self.stats.reason = self._rest.state, f"{self._rest.reason}; {_STUCK}"

    def resume(self) -> SinkState:
        """Go on from the cursor, whatever the sink rests for; a try that is waited for is made at once.

        Returns:
            What the sink did until now.
        """
        before = self.stats.state if self._rest is None else self._rest.state
        self._rest = None
        self._breaker.close()
        self._gate.hurry()
        self._waits.hurry()
        self._moved.unpark_all()
        return before

    @property
    def parked(self) -> bool:
        """Whether it rests until `resume`; to want room for dead letters is another `stats.state` PARKED."""
        return self._rest is not None and self._rest.state is SinkState.PARKED

    def park(self, reason: str) -> None:
        """Rest, loudly, until `resume` or the next start; what is in flight is cut off and comes again.

        Args:
            reason: one sentence.
        """
        self._rest_for(SinkState.PARKED, reason, "sink is parked; the others go on")
        self._cut_off()

    async def drop(self, move: Callable[[], Awaitable[int]]) -> None:
        """Hand out nothing while `move` moves the cursor in the log, then read on from where it says.

        What is in flight is cut off and not waited for: however it ends, it moves no cursor any more. Raises
        what `move` raises; then the sink goes on from where it was. Once begun, `move` is not cancelled: the
        log does what it was asked all the same, and what the sink would then read on from may be gone.
        """
        self._holds += 1
        self._cut_off()
        self._replay_through = max(self._replay_through, self._ledger.reached)
        self._ledger = Ledger(self._ledger.acknowledged)
        self._tries.clear()
        try:
            with trio.CancelScope(shield=True):
                position = await move()
            self._ledger.pass_over(position)
            self.stats.position = position
        finally:
            self._holds -= 1
            self._moved.unpark_all()

    async def skip_to(self, position: int) -> None:
        """Abandon everything up to `position`, to which the log has moved this sink's cursor already."""

        async def move() -> int:
            await trio.lowlevel.checkpoint()
            return position

        await self.drop(move)

    def _cut_off(self) -> None:
        """Cancel what is in flight; also what does not hear of it at once begins nothing new."""
        self._waits.quit()
        self._scope.cancel()

    async def _idle(self, deadline: float) -> None:
        """Until nothing is in flight, somebody resumes the sink, or the deadline."""
        with trio.move_on_at(deadline):
            while self._busy and self._rest is not None:
                await self._moved.park()

    async def _until_wanted(self) -> None:
        """Rest for as long as there is a reason to."""
        self._busy = False
        while self._rest is not None or self._holds:
            if self._rest is not None:
                self.stats.state, self.stats.reason = self._rest
            self._moved.unpark_all()
            await self._moved.park()
        self._busy = True
        self._waits = Waits(hurried=self._waits.hurried)
        self._gate = Gate(self._breaker, self._waits)

    async def _live(self) -> None:
        """One session, and the wait after it when it failed."""
        ledger = self._ledger
        try:
            with contained():
                await self._session(ledger)
        except Quit:
            return
        except Halted as halted:
            self._halt(halted, ledger)
            return
        except Stopped as error:
            self._rest_for(
                SinkState.PARKED, str(error), "sink is stopped by its destination; the others go on"
            )
            return
        except Unavailable as error:
            self._trouble.failed(error, error.reason)
            self._breaker.trip(trio.current_time(), error.retry_after)
        except Exception as error:  # whatever a sink throws is its own failure domain
            grave = fatal(error)
            if grave is not None:
                raise grave from error
            self._trouble.failed(error, "error")
            self._breaker.trip(trio.current_time())
        with suppress(Quit):
            await self._waits.pause(self._breaker.ready_at - trio.current_time())

    async def _session(self, ledger: Ledger) -> None:
        plan, limits = self._plan, self._limits
        async with self._sink as sink:
            await self._open(sink, ledger)
            self._trouble.opened()
            handover = Handover(
                plan.name,
                sink,
                gate=self._gate,
                throttle=plan.throttle,
                letters=self._hooks.letters,
                tries=self._tries,
                trouble=self._trouble,
                waits=self._waits,
                jitter=self._jitter,
                retry=plan.retry,
            )
            session = Session(
                self._reader,
                ledger,
                self._hand_out,
                self._tries,
                handover,
                self._waits,
                self.stats,
                limits,
                self._replay_through,
                lambda: self._acknowledge(ledger),
            )
            await _WAYS[sink.overlap](session)

    async def _open(self, sink: Sink, ledger: Ledger) -> None:
        """Agree with the destination on where to go on."""
        given = Resume(self._resume.log_id, self._resume.incarnation, self._rewind(ledger))
        fresh = self._fresh and not self.stats.records
        context = context_of(self._plan, self._hooks, self._limits, fresh=fresh)
        position = await self._agreement.reach(sink, given, context)
        if position > given.position:
            ledger.pass_over(position)
            self._tries.clear()
            self._acknowledge(ledger)

    def _rewind(self, ledger: Ledger) -> int:
        """Take up again what is not acknowledged; where that is."""
        self._replay_through = max(self._replay_through, ledger.reached)
        self._tries.rewind()
        return ledger.rewind()

    def _acknowledge(self, ledger: Ledger) -> None:
        position = ledger.acknowledged
        if ledger is not self._ledger or position == self.stats.position:
            return  # the cursor was moved while the session went on, or there is nothing new
        self.stats.position = position
        self._reader.acknowledge(self._plan.name, position)
        crash_point("sink.acknowledged")
        self._moved.unpark_all()

    def _halt(self, halted: Halted, ledger: Ledger) -> None:
        """Keep the cursor before the first record that was refused; those before it are owned."""
        if ledger is not self._ledger:
            return  # what was refused was dropped meanwhile
        records, reasons = halted.delivery.records, halted.reasons
        refused = min(reasons)
        before = max(self._rewind(ledger), records[refused].position - 1)
        if self._sink.overlap is not Overlap.LANES:
            ledger.pass_over(before)
            self._acknowledge(ledger)
        self.stats.rejected += len(reasons)
        examples = "; ".join(sorted(set(reasons.values()))[:REASONS_LOGGED])
        self._rest_for(
            SinkState.HALTED,
            f"{halted}: {examples}",
            "sink halted before refused records; the others go on, `resume` or a restart tries again",
            position=records[refused].position,
        )

    def _rest_for(self, state: SinkState, reason: str, event: str, **fields: object) -> None:
        self._rest = _Rest(state, reason)
        self.stats.state, self.stats.reason = self._rest  # what is in flight may take its time to end
        self._logger("error", event, sink=self._plan.name, **fields, reason=reason)
