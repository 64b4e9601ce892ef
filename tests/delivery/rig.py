"""One worker over a destination that fails by a script, with an oracle beside it."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio
from trio.testing import MockClock

from bridge.changes.change import Change
from bridge.delivery.pacing import Retry
from bridge.delivery.sink import Overlap
from bridge.delivery.stats import SinkState
from bridge.delivery.worker import Hooks, Plan, Worker
from tests.delivery.chaos import ChaoticSink, CheckedLog, Fault, Oracle
from tests.delivery.fakes import BRIDGE, START, Letters, change

__all__ = ["Rig", "of"]


def of(number: int, key: int) -> Change:
    return msgspec.structs.replace(change(number), name=f"n{key}", uid=f"u{key}")


class Rig:
    """One worker, its log and its chaotic sink."""

    def __init__(
        self,
        overlap: Overlap,
        script: Sequence[Fault] = (),
        *,
        concurrency: int = 4,
        records: int = 3,
        poison: frozenset[int] = frozenset(),
        room: int = 1 << 30,
        **plan: Any,
    ) -> None:
        self.log, self.letters = CheckedLog(), Letters(room)
        self.oracle = self.log.oracle = Oracle(self.log, self.letters, poison)
        most = 1 if overlap is Overlap.NONE else concurrency
        self.sink = ChaoticSink(self.oracle, script, overlap, most, records)
        self.said = list[tuple[str, str]]()
        self.worker = Worker(
            Plan("out", BRIDGE, **{"retry": Retry(initial=1, max=8), **plan}),
            self.sink,
            self.log,
            START,
            hooks=Hooks(letters=self.letters),
            jitter=lambda: 0.7,
            logger=self._say,
        )

    def _say(self, level: str, event: str, /, **_: object) -> None:
        self.said.append((level, event))

    def append(self, keys: Sequence[int], at_once: int = 3) -> None:
        first = self.log.end()
        changes = [of(first + index, key) for index, key in enumerate(keys, 1)]
        for begin in range(0, len(changes), at_once):
            self.log.append(changes[begin : begin + at_once])

    def run(self, scenario: Callable[[], Any]) -> None:
        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.worker.run)
                await scenario()
                nursery.cancel_scope.cancel()

        trio.run(main, clock=MockClock(autojump_threshold=0))
        assert self.worker.stats.retries["error"] <= self.sink.errors, "no error of our own"

    async def finish(self) -> None:
        """Until everything is delivered, with the help of a person where one is needed."""
        with trio.fail_after(3000):
            while self.worker.stats.position < self.log.end():
                if self.worker.stats.state in (SinkState.PARKED, SinkState.PAUSED):
                    self.worker.resume()
                await trio.sleep(5)
