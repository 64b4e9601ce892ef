"""A program: how long a record takes from the moment it is read until its destination owns it.

``python -m tests.bench.latency SINK FOLDER RECORDS RATE``. The real log on disk, the real worker and sink; a
record every 1/RATE seconds. Prints a note `latency` with, in milliseconds, median and p99 of the time to the
commit (a reader may have it) and of the time from there to the acknowledgement.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from bridge.changes.change import Change
from bridge.changes.envelope import Format
from bridge.collector import loading
from bridge.config import SinkConfig
from bridge.delivery.sink import Resume
from bridge.delivery.worker import Plan, Worker
from bridge.store.log import SqliteLog
from tests.bench.feeder import BRIDGE, PODS, changes, configured

_WARM = 200
"""Records at the beginning that do not count."""


class Clock:
    """When each record was appended, committed and acknowledged, by its place."""

    def __init__(self, log: SqliteLog, records: int) -> None:
        self._log = log
        self._first = log.end() + 1
        self.appended: list[float] = []
        self.committed: list[float] = []
        self.acknowledged: list[float] = []
        self._records = records
        self.done = trio.Event()

    async def watch(self) -> None:
        """A reader beside the sink's, which only looks at the clock."""
        after = self._first - 1
        while len(self.committed) < self._records:
            for batch in await self._log.read(after, 1 << 20):
                after = batch.last_position
            self._fill(self.committed, after)

    def acknowledge(self, position: int) -> None:
        """Everything up to here is owned."""
        self._fill(self.acknowledged, position)
        if len(self.acknowledged) >= self._records:
            self.done.set()

    def _fill(self, times: list[float], position: int) -> None:
        now = trio.current_time()
        times.extend([now] * (position - self._first + 1 - len(times)))


class _Reading:
    """The log as the worker sees it, with a clock on its acknowledgements."""

    def __init__(self, log: SqliteLog, clock: Clock) -> None:
        self.read, self.end, self.verify = log.read, log.end, log.verify
        self._log, self._clock = log, clock

    def acknowledge(self, name: str, position: int) -> None:
        self._log.acknowledge(name, position)
        self._clock.acknowledge(position)


async def main(sink: SinkConfig, folder: Path, records: int, rate: float) -> None:
    """Append at a steady rate, then print the figures."""
    async with SqliteLog.open(folder / "state") as log, trio.open_nursery() as nursery:
        await log.open_sink("out", "")
        clock = Clock(log, records)
        identity = log.identity
        resume = Resume(identity.log_id, identity.incarnation, log.end())
        plan = Plan("out", BRIDGE, form=Format(sink.format))
        nursery.start_soon(Worker(plan, sink.options, _Reading(log, clock), resume).run)
        nursery.start_soon(clock.watch)
        await trio.sleep(3)  # the sink has connected by then; nothing of it belongs to a record
        await _append(log, clock, records, rate)
        await clock.done.wait()
        commits = [done - begun for begun, done in zip(clock.appended, clock.committed, strict=True)]
        rest = [done - begun for begun, done in zip(clock.committed, clock.acknowledged, strict=True)]
        note = {"what": "latency", "commit": _figures(commits), "beyond": _figures(rest)}
        print(json.dumps(note), flush=True)
        nursery.cancel_scope.cancel()


async def _append(log: SqliteLog, clock: Clock, records: int, rate: float) -> None:
    made, begun = changes(), trio.current_time()
    for number in range(records):
        await trio.sleep_until(begun + number / rate)
        change: Change = made[number % len(made)]
        clock.appended.append(trio.current_time())
        await log.append(PODS, "", lambda _, one=change: (one,), size=len(change.object))  # type: ignore[misc]


def _figures(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times[_WARM:])
    return {"median": ordered[len(ordered) // 2] * 1000, "p99": ordered[len(ordered) * 99 // 100] * 1000}


if __name__ == "__main__":
    with loading():
        chosen = configured(json.loads(sys.argv[1]))
    trio.run(main, chosen, Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
