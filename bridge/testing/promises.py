"""The promises of a sink, each tried out in the bridge's own worker."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import trio

from bridge.changes.envelope import Bridge, Format, Renderer
from bridge.changes.record import Record
from bridge.delivery.pacing import Retry
from bridge.delivery.plan import limits_of, place_of
from bridge.delivery.sink import Checked, Context, Rejected, Resume, Sink, Unavailable
from bridge.delivery.worker import Hooks, Plan, Worker
from bridge.testing.stage import RESUME, STREAM, UNWELCOME, CancelAtStep, FixedLog, Troubles, change, delivery

__all__ = ["Broken", "Outage", "Promises", "Read"]

Read = Callable[[], Sequence[bytes] | Awaitable[Sequence[bytes]]]
Outage = Callable[[], AbstractAsyncContextManager[object]]

_BRIDGE: Final = Bridge("check", "check-uid")
_NAME: Final = "checked"
_PATIENCE: Final = 30.0
_TRIES: Final = 3
_FIRST_STEPS: Final = 40
_LARGEST: Final = 8 << 20


class Broken(Exception):
    """One promise, in one sentence."""


class Promises:
    """One sink, one destination, one log; each promise goes on where the one before ended."""

    def __init__(self, make_sink: Callable[[], Sink], read: Read, form: Format) -> None:
        self._make_sink = make_sink
        self._read = read
        self._form = form
        self._log = FixedLog()
        self._renderer = Renderer(_BRIDGE, STREAM, form)
        self._handed: dict[bytes, Record] = {}

    async def finds_no_problem_where_none_is(self) -> None:
        """`kube-bridge check` is not told what is not so."""
        sink = self._make_sink()
        problems = await sink.problems(self._context(sink)) if isinstance(sink, Checked) else ()
        if problems:
            raise Broken(f"`problems` finds some in a destination that works: {'; '.join(problems)}.")

    async def owns_what_is_acknowledged(self) -> None:
        """What `deliver` returned for is at the destination, once and in order."""
        before = self._log.end()
        for _ in range(3):
            self._append(4)
        troubles = await self._deliver_all(before, "is handed records")
        values = await self._content(before)
        if len(values) > self._log.end() - before and not troubles:
            raise Broken("A record is delivered twice although nothing went wrong.")

    async def can_be_entered_again(self) -> None:
        """As the worker does after an unexpected error."""
        before, sink = self._log.end(), self._make_sink()
        place = place_of(sink)
        for _ in range(2):
            [record] = self._append(1)
            async with self._opened(sink) as opened:
                if place_of(sink) != place:
                    raise Broken("Its place changes when it is open, so a restart takes it for another sink.")
                await opened.deliver(delivery([record]))
        await self._content(before, " after it was entered a second time")

    async def survives_being_cancelled_anywhere(self) -> None:
        """Cancelled at each await and started again, it loses nothing, whatever became of the cursor."""
        step, ended = 0, False
        while not ended:
            before = self._log.end()
            for _ in range(2):
                self._append(3)
            self._log.acknowledged = before
            troubles = Troubles()
            ended = await self._run_until(step, before, troubles)
            await self._holds_acknowledged(before)
            if troubles:
                raise Broken(f"It does not let a cancellation through{troubles}.")
            # A cursor is durable a little later than the acknowledgement, so it may be lost.
            await self._deliver_all(
                self._log.acknowledged if step % 2 else before, "starts again after a cancellation"
            )
            await self._content(before, " after a cancellation and a restart")
            step += 1 if step < _FIRST_STEPS else step // 8

    async def takes_or_refuses_a_record_over_its_limit(self) -> None:
        """A record larger than `max_bytes` comes alone, and is owned or refused."""
        sink = self._make_sink()
        if sink.max_bytes > _LARGEST:
            return
        before = self._log.end()
        [record] = self._append(1, padding=sink.max_bytes)
        async with self._opened(sink) as opened:
            try:
                await opened.deliver(delivery([record]))
            except Rejected:
                return
        await self._content(before, ", of one record over its limit, which comes alone")

    async def waits_for_its_destination(self, outage: Outage) -> None:
        """`Unavailable` promises nothing, and all of it comes again."""
        before, troubles = self._log.end(), Troubles()
        self._append(2)
        worker = self._worker(self._make_sink(), before, troubles)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await self._drain(worker, "is handed records", troubles)
            async with outage():
                self._append(2)
                await self._tried(worker, troubles)
            await self._drain(worker, "finds its destination back", troubles)
            nursery.cancel_scope.cancel()
        if troubles:
            raise Broken(f"While its destination is away it must raise Unavailable{troubles}.")
        await self._content(before, " after its destination was away")

    async def names_what_is_refused(self) -> None:
        """`Rejected` names what the destination refused; it owns the rest of the batch."""
        sink = self._make_sink()
        size = min(3, limits_of(sink, self._plan).records)
        portions = [self._append(size, unwelcome=size // 2) for _ in range(2)]
        async with self._opened(sink) as opened:
            for records in portions:
                await self._refused(opened, records, size // 2)
        held = set(await self._values())
        for records in portions:
            for index, record in enumerate(records):
                if (record.value in held) is (index == size // 2):
                    raise Broken(
                        "With Rejected, what it names is never at the destination and all the rest is owned."
                    )

    @staticmethod
    async def _refused(sink: Sink, records: Sequence[Record], expected: int) -> None:
        try:
            await sink.deliver(delivery(records))
        except Rejected as error:
            if set(error.reasons) != {expected}:
                raise Broken(
                    f"Rejected names {sorted(error.reasons)}, not [{expected}], the index that was refused."
                ) from error
            if not all(error.reasons.values()):
                raise Broken("Rejected gives no reason; say in one sentence why.") from error
        except Unavailable as error:
            raise Broken(f"A refused record must raise Rejected, not Unavailable ({error}).") from error
        else:
            raise Broken("It returns from `deliver` though its destination refused a record.")

    @property
    def _plan(self) -> Plan:
        return Plan(_NAME, _BRIDGE, form=self._form, retry=Retry(initial=0.01, max=0.05))

    def _context(self, sink: Sink) -> Context:
        most = limits_of(sink, self._plan).records
        return Context(_NAME, _BRIDGE.cluster, _BRIDGE.cluster_uid, (STREAM,), self._form.content_type, most)

    def _append(self, count: int, *, padding: int = 0, unwelcome: int | None = None) -> list[Record]:
        """More changes of few objects; as records, which is how the destination will hold them."""
        first = self._log.end() + 1
        changes = [
            change(number, padding, UNWELCOME if number - first == unwelcome else "welcome")
            for number in range(first, first + count)
        ]
        self._log.append(changes)
        records = [self._renderer.render(change, first + index) for index, change in enumerate(changes)]
        made = [record for record in records if record is not None]
        self._handed |= {record.value: record for record in made}
        return made

    def _worker(self, sink: Sink, position: int, troubles: Troubles) -> Worker:
        hooks = Hooks(streams=lambda: [STREAM])
        return Worker(self._plan, sink, self._log, _at(position), hooks=hooks, logger=troubles)

    @asynccontextmanager
    async def _opened(self, sink: Sink) -> AsyncIterator[Sink]:
        async with sink as entered:
            known = await entered.open(_at(self._log.end()), self._context(sink))
            if not isinstance(known, Resume):
                raise Broken(
                    "`open` must return where to go on: the Resume that it was given, or a better one."
                )
            yield entered

    async def _deliver_all(self, position: int, when: str) -> Troubles:
        troubles = Troubles()
        worker = self._worker(self._make_sink(), position, troubles)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await self._drain(worker, when, troubles)
            nursery.cancel_scope.cancel()
        return troubles

    @staticmethod
    async def _drain(worker: Worker, when: str, troubles: Troubles) -> None:
        if not await worker.drain(trio.current_time() + _PATIENCE):
            reason = str(troubles) or f"; {worker.stats.reason}"
            raise Broken(f"When it {when} it does not take them all within {_PATIENCE:.0f} s{reason}.")

    async def _run_until(self, steps: int, position: int, troubles: Troubles) -> bool:
        """Cancel a worker when it has taken so many steps; True when it had delivered everything before."""
        worker = self._worker(self._make_sink(), position, troubles)
        async with trio.open_nursery() as nursery:
            stop = CancelAtStep(nursery, steps)
            trio.lowlevel.add_instrument(stop)
            try:
                nursery.start_soon(worker.run)
                with trio.CancelScope(shield=True):
                    done = await worker.drain(trio.current_time() + _PATIENCE)
            finally:
                trio.lowlevel.remove_instrument(stop)
                nursery.cancel_scope.cancel()
        return done and not stop.fired

    async def _tried(self, worker: Worker, troubles: Troubles) -> None:
        reached = self._log.acknowledged
        with trio.move_on_after(_PATIENCE):
            while worker.stats.retries.total() < _TRIES:
                if self._log.acknowledged > reached:
                    raise Broken("It returns from `deliver` while its destination is away.")
                await trio.sleep(0.01)
            return
        raise Broken(f"While its destination is away nothing is raised within {_PATIENCE:.0f} s{troubles}.")

    async def _holds_acknowledged(self, before: int) -> None:
        held = {record.position for value in await self._values() if (record := self._handed.get(value))}
        if missing := [at for at in range(before + 1, self._log.acknowledged + 1) if at not in held]:
            raise Broken(
                f"It returned from `deliver` before its destination owned all of it ({len(missing)} lost)."
            )

    async def _content(self, before: int, when: str = "") -> list[bytes]:
        """What the destination holds of the records behind `before`: all of them, in order, nothing else."""
        values = await self._values()
        foreign = next((value for value in values if value not in self._handed), None)
        if foreign is not None:
            raise Broken(f"The destination holds what was never handed over{when}: {foreign[:60]!r}.")
        records = [self._handed[value] for value in values]
        held = {record.position for record in records}
        if lost := [at for at in range(before + 1, self._log.end() + 1) if at not in held]:
            raise Broken(f"{len(lost)} of {self._log.end() - before} records are lost{when}.")
        newest: dict[str, int] = {}
        seen = set[int]()
        for record in records:
            if record.position not in seen and record.position < newest.get(record.key, 0):
                raise Broken(f"Records of one object are out of order{when}.")
            seen.add(record.position)
            newest[record.key] = max(record.position, newest.get(record.key, 0))
        return [value for value in values if self._handed[value].position > before]

    async def _values(self) -> Sequence[bytes]:
        found = self._read()
        return await found if inspect.isawaitable(found) else found


def _at(position: int) -> Resume:
    return Resume(RESUME.log_id, RESUME.incarnation, position)
