"""One try to hand records to a sink, and what becomes of those that it refuses."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import trio

from bridge.changes.deadletter import DeadLetter, LettersFull
from bridge.delivery.containment import contained
from bridge.delivery.gate import Gate
from bridge.delivery.pacing import Backoff, Retry
from bridge.delivery.sink import Delivery, Rejected, Sink, Unavailable
from bridge.delivery.throttle import Throttle
from bridge.delivery.tries import Parcel, Tries
from bridge.delivery.trouble import Trouble
from bridge.delivery.waits import Waits

__all__ = ["Halted", "Handover", "LetterBox"]

_MICROS: Final = 1_000_000
_ROOM: Final = Retry(initial=1.0, max=30.0)


class LetterBox(Protocol):
    """Where dead letters are kept; `bridge.store.contract.Letters` has it."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them, durably; raises `LettersFull` when there is no room."""
        ...


class Halted(Exception):
    """The destination refused records for good, and the sink shall stop before them.

    Attributes:
        delivery: what was handed over.
        reasons: of the refused ones, by index.
    """

    def __init__(self, delivery: Delivery, reasons: Mapping[int, str]) -> None:
        super().__init__(f"{len(reasons)} of {len(delivery.records)} records were refused for good")
        self.delivery = delivery
        self.reasons = reasons


class Handover:
    """The calls of one open sink.

    Args:
        name: of the sink.
        sink: entered and opened.
        gate: paces calls after failures.
        throttle: paces all calls; None for no limit.
        letters: where refused records are buried; None halts the sink before them.
        tries: counts them.
        trouble: is told what fails.
        waits: of this session.
        jitter: uniform in [0, 1).
        retry: how a lane paces itself.
    """

    def __init__(  # noqa: PLR0913 - the parts of one session
        self,
        name: str,
        sink: Sink,
        *,
        gate: Gate,
        throttle: Throttle | None,
        letters: LetterBox | None,
        tries: Tries,
        trouble: Trouble,
        waits: Waits,
        jitter: Callable[[], float],
        retry: Retry,
    ) -> None:
        self._name = name
        self._sink = sink
        self._gate = gate
        self._throttle = throttle
        self._letters = letters
        self._tries = tries
        self._trouble = trouble
        self._waits = waits
        self._jitter = jitter
        self._retry = retry
        self._burying = trio.Lock()
        self._room: trio.Event | None = None

    async def insist(self, parcel: Parcel, lane: int = 0) -> Mapping[int, str]:
        """Try until the destination answers for all of it.

        Returns:
            The records that it refused for good, by index, and why; it owns the others.

        Raises:
            Quit: the sink shall rest.
            Stopped: the destination wants nothing any more.
            Exception: whatever else the sink throws.
        """
        backoff: Backoff | None = None
        while True:
            ticket = await self.admit(parcel)
            try:
                return await self.call(parcel, ticket, lane)
            except Unavailable:
                if parcel.paced:
                    backoff = backoff or Backoff(self._retry, self._jitter)
                    await self._waits.pause(backoff.next())

    async def admit(self, parcel: Parcel) -> int:
        """Return when a call may begin, with its ticket; between that and `call` nothing may wait."""
        while self._room is not None:
            with self._waits.idle():
                await self._room.wait()
        if self._throttle is not None:
            with self._waits.idle():
                await self._throttle.acquire(len(parcel.delivery.records), parcel.delivery.size)
        return await self._gate.enter(parcel.attempts)

    def forgo(self) -> None:
        """The call that was admitted will not begin."""
        self._gate.forgo()

    async def call(self, parcel: Parcel, ticket: int, lane: int = 0) -> Mapping[int, str]:
        """Hand it over once; returns and raises as `insist`, or `Unavailable`: none is promised."""
        self._tries.begin(parcel, int(time.time() * _MICROS))
        refused: Mapping[int, str] = {}
        begun = trio.current_time()
        try:
            with contained():
                await self._sink.deliver(parcel.delivery)
        except Unavailable as error:
            parcel.paced = self._gate.failed(ticket, lane, error.retry_after)
            self._trouble.failed(error, error.reason, lane)
            raise
        except Rejected as error:
            refused = _checked(error, len(parcel.delivery.records))
        parcel.seconds = trio.current_time() - begun
        self._gate.succeeded(ticket)
        self._trouble.recovered(lane)
        return refused

    async def refuse(self, parcel: Parcel, refused: Mapping[int, str]) -> None:
        """Bury what was refused; while there is no room for it, the sink is parked.

        Raises:
            Halted: that is what is configured.
            Quit: the sink shall rest; the records come again, and are refused again.
        """
        if self._letters is None:
            raise Halted(parcel.delivery, refused)
        letters = [self._letter(parcel, index, refused[index]) for index in sorted(refused)]
        async with self._burying:
            backoff = Backoff(_ROOM, lambda: 1.0)
            while not await self._bury(parcel, letters):
                await self._waits.pause(backoff.next())
        self._trouble.refused(refused)

    async def _bury(self, parcel: Parcel, letters: Sequence[DeadLetter]) -> bool:
        if self._letters is None:
            return False
        try:
            with trio.CancelScope(shield=True):  # cut off, it would be unknown whether they count these tries
                await self._letters.bury(letters)
        except LettersFull as error:
            if self._room is None:
                self._room = trio.Event()
            self._trouble.park(str(error))
            return False
        self._tries.settle(parcel)
        if self._room is not None:
            self._room.set()
            self._room = None
        self._trouble.unpark()
        return True

    def _letter(self, parcel: Parcel, index: int, reason: str) -> DeadLetter:
        record = parcel.delivery.records[index]
        tried = self._tries.of(parcel, record)
        return DeadLetter(
            sink=self._name,
            position=record.position,
            stream=record.stream,
            change=record.change,
            id=record.id,
            key=record.key,
            sequence=record.sequence,
            reason=reason,
            attempts=tried.attempts,
            first_at=tried.first_at,
            last_at=int(time.time() * _MICROS),
        )


def _checked(error: Rejected, records: int) -> Mapping[int, str]:
    """What was refused; a sink that names other records than it was handed has answered nothing."""
    if not error.reasons or not all(0 <= index < records for index in error.reasons):
        raise ValueError(
            f"the sink refused the records {sorted(error.reasons)} of {records}, which cannot be"
        ) from error
    return error.reasons
