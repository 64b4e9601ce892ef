"""A program: one sink behind its worker, fed from memory. ``python -m tests.bench.feeder SINK RECORDS``.

What it leaves out is the log, which other figures measure; what it has is everything from there to the
destination: hand-out, rendering, order, acknowledgement. It prints notes as JSON lines: `begin` when the sink
is open, `end` when the last record is acknowledged.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice

import trio

from bridge.changes.change import Batch, Change, StreamInfo
from bridge.changes.envelope import Bridge, Format
from bridge.collector import loading
from bridge.config import SinkConfig, loads
from bridge.delivery.sink import Resume
from bridge.delivery.worker import Plan, Worker
from bridge.errors import InvariantError
from tests.bench.pods import LAST_LISTED, World

__all__ = ["BRIDGE", "PODS", "Feed", "changes", "configured"]

BRIDGE = Bridge("bench", "bench-uid")
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
_OBJECTS = 1000
_BATCH_BYTES = 256 << 10


def changes(seed: int = 1) -> list[Change]:
    """One change of each of a thousand Pods."""
    world = World(_OBJECTS, seed)
    made = []
    for index in range(_OBJECTS):
        body = world.pod(index).at(LAST_LISTED + index)
        metadata = json.loads(body)["metadata"]
        made.append(
            Change(
                "MODIFIED", "watch", 1_764_000_000_000_000 + index, metadata["namespace"], metadata["name"],
                metadata["uid"], metadata["resourceVersion"], 0, body,
            )
        )  # fmt: skip
    return made


class Feed:
    """A log of so many records, the same thousand changes over and over, as fast as they are read."""

    def __init__(self, records: int, made: Sequence[Change]) -> None:
        self._records = records
        self._batches = list(_cut(made))
        self._length = len(made)
        self._size = sum(len(each.object) for each in made) // len(made)
        self.began = 0.0
        self.done = trio.Event()

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        """As `Log.read`."""
        if not self.began:
            self.began = time.monotonic()
            _note("begin", self.began)
        if after >= self._records:
            await trio.sleep_forever()
        found: list[Batch] = []
        size, lap = 0, after // self._length * self._length
        while after < self._records and (not found or size < max_bytes):
            first, held = next((b for b in self._batches if b[0] + len(b[1]) > after - lap), self._batches[0])
            if first + len(held) <= after - lap:  # pragma: no cover - the laps are whole
                raise InvariantError("a lap has no batch at its end")
            some = held[after - lap - first :][: self._records - after]
            found.append(Batch(after + 1, PODS, some, len(some) * self._size))
            size += found[-1].size
            after += len(some)
            lap = after // self._length * self._length
        return found

    def end(self) -> int:
        """As `Log.end`."""
        return self._records

    def acknowledge(self, name: str, position: int) -> None:
        """As `Log.acknowledge`; notes the last one."""
        del name
        if position >= self._records and not self.done.is_set():
            _note("end", time.monotonic())
            self.done.set()

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """Every cursor is ours."""


def _cut(made: Sequence[Change]) -> Sequence[tuple[int, list[Change]]]:
    cut: list[tuple[int, list[Change]]] = []
    rest, first = iter(made), 0
    size = sum(len(each.object) for each in made) // len(made)
    while held := list(islice(rest, max(_BATCH_BYTES // size, 1))):
        cut.append((first, held))
        first += len(held)
    return cut


def configured(sink: Mapping[str, object]) -> SinkConfig:
    """A sink as a configuration names it."""
    document = {
        "configVersion": 1,
        "cluster": {"name": "bench"},
        "state": {"path": "unused"},
        "streams": [{"name": "pods", "resource": "pods"}],
        "sinks": [{"name": "out", **sink}],
    }
    return loads(json.dumps(document), "bench").sinks[0]


def _note(what: str, at: float) -> None:
    print(json.dumps({"what": what, "at": at}), flush=True)


async def main(sink: SinkConfig, records: int) -> None:
    """Deliver so many records, then end."""
    feed = Feed(records, changes())
    # A name of its own, or a transactional sink would find the place of an earlier run.
    plan = Plan(f"out-{os.getpid()}", BRIDGE, form=Format(sink.format))
    worker = Worker(plan, sink.options, feed, Resume("bench", 1, 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await feed.done.wait()
        await trio.sleep_forever()  # whoever measures reads our figures, then kills us


if __name__ == "__main__":
    with loading():
        chosen = configured(json.loads(sys.argv[1]))
    trio.run(main, chosen, int(sys.argv[2]))
