"""Changes of few objects that flow steadily through the bridge's own worker into a Kafka that is hurt."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import ParkingLot

from bridge.changes.change import Change
from bridge.delivery.pacing import Retry
from bridge.delivery.worker import Hooks, Plan, Worker
from bridge.logs import Incidents
from tests.components.process import PATIENCE
from tests.delivery.fakes import MemoryLog
from tests.sinks.kafka_support import BRIDGE, PODS, START, check_whole, fresh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from sinks.kafka.sink import Kafka
    from tests.sinks.kafka_support import Got

KEYS = 7
BATCH = 20
_PACE_SECONDS = 0.1
_MORE = 5 * BATCH
_PATIENCE_SECONDS = 120 * PATIENCE
_TROUBLE = ("sink takes no records", "kafka does not answer")


class Flow:
    """One log that grows for as long as it runs, one worker, one sink.

    Args:
        sink: the one.
        pad: bytes that make a record larger.
        resync: what the destination has lost is sent anew.

    Attributes:
        lost: streams of which that was asked for.
        said: the sentences that the worker and the sink wrote into the bridge's log.
    """

    def __init__(self, sink: Kafka, *, pad: int = 100, resync: bool = False) -> None:
        self.said: list[str] = []
        self.lost: list[str] = []
        self._pad = b"x" * pad
        self._log = _Log()
        plan = Plan(fresh("flow"), BRIDGE, retry=Retry(initial=0.05, max=1.0), resync_on_state_loss=resync)
        hooks = Hooks(streams=lambda: [PODS], on_state_loss=self._send_anew)
        self.worker = Worker(plan, sink, self._log, START, hooks=hooks, logger=self._hear)
        sink._kept.incidents = Incidents(self._hear)
        self._token: trio.lowlevel.TrioToken | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Flows in the body; behind it everything is delivered, and that is the end."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.worker.run)
            with trio.CancelScope() as flowing:
                nursery.start_soon(self._grow, flowing)
                yield
            flowing.cancel()
            assert await self.worker.drain(trio.current_time() + _PATIENCE_SECONDS), self.worker.stats
            nursery.cancel_scope.cancel()

    @property
    def end(self) -> int:
        """Position of the newest change."""
        return self._log.end()

    async def goes_on(self) -> None:
        """Returns when Kafka owns records that are newer than this call."""
        wanted = self._log.end() + _MORE
        with trio.fail_after(_PATIENCE_SECONDS):
            while self.worker.stats.position < wanted:
                await self._log.moved.park()

    async def hears_of_trouble(self, seconds: float = _PATIENCE_SECONDS, about: str = "") -> str:
        """Returns what the bridge's log first says of a Kafka that takes nothing (and `about` something)."""
        with trio.move_on_after(seconds):
            while True:
                for sentence in self.said:
                    if sentence.startswith(_TROUBLE) and about in sentence:
                        return sentence
                await self._log.moved.park()
        raise AssertionError(f"no word of trouble within {seconds} s: {self.said}")

    def check(self, got: Sequence[Got]) -> None:
        """Kafka has all that flowed, and each key in order."""
        check_whole(got, self._log.end())

    async def _send_anew(self, _: str, streams: Collection[str] | None) -> None:
        await trio.lowlevel.checkpoint()
        self.lost += streams or ()

    async def _grow(self, flowing: trio.CancelScope) -> None:
        while not flowing.cancel_called:
            first = self._log.end() + 1
            self._log.append([self._change(number) for number in range(first, first + BATCH)])
            await trio.sleep(_PACE_SECONDS)

    def _change(self, number: int) -> Change:
        body = b'{"n":%d,"pad":"%b"}' % (number, self._pad)
        return Change("MODIFIED", "watch", number, "ns", f"n{number % KEYS}", "u", str(number), 0, body)

    def _hear(self, _level: str, event: str, /, **fields: object) -> None:
        """Called by threads, too: a client tells what it has to tell to whoever serves it."""
        told = next((fields[name] for name in ("reason", "error", "says") if name in fields), "")
        self.said.append(f"{event}: {told}")
        if self._token is not None:
            self._token.run_sync_soon(self._log.moved.unpark_all)


class _Log(MemoryLog):
    """Its positions are dense, so they count the records."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = ParkingLot()

    def acknowledge(self, name: str, position: int) -> None:
        super().acknowledge(name, position)
        self.moved.unpark_all()

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        assert (log_id, incarnation) == (START.log_id, START.incarnation)
        assert position <= self.end()
