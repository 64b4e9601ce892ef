"""A bridge reduced to its last step, to be killed: a fixed log, one worker, one JSON lines sink.

    python -m tests.sinks.program PATH CURSOR COUNT PAD [EVERY]

With ROTATE=BYTES in the environment the file is rotated at that size and compressed, and a run that is not
killed ends when all of that is done. Record n of COUNT is the same in every run. The cursor becomes durable
at every EVERY-th acknowledgement only, as in a real log, where that happens up to a second late: so a new run
replays a suffix.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from bridge.changes.change import Batch, Change, StreamInfo
from bridge.changes.envelope import Bridge, Renderer
from bridge.delivery.sink import ClosedPipe, Resume
from bridge.delivery.worker import Plan, Worker
from sinks.jsonlines import lines
from sinks.jsonlines.rotation import Rotate, rotated_files
from sinks.jsonlines.sink import JsonLines

BRIDGE = Bridge("c", "cluster-uid")
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
BATCH = 7


def record(number: int, pad: int) -> Change:
    body = b'{"n":%d,"pad":"%b"}' % (number, b"x" * pad)
    return Change("MODIFIED", "watch", number, "ns", f"n{number}", "u", str(number), 0, body)


def expected(count: int, pad: int) -> bytes:
    renderer = Renderer(BRIDGE, PODS)
    found = [renderer.render(record(number, pad), number) for number in range(1, count + 1)]
    lines = [rendered.value for rendered in found if rendered is not None]
    return b"\n".join((*lines, b""))


class FixedLog:
    def __init__(self, count: int, pad: int, cursor: Path, every: int) -> None:
        self._count, self._pad, self._every = count, pad, every
        self._acknowledgements = 0
        # Opened before anything else and written by position, so that strace shows it as one descriptor.
        self._cursor = os.open(cursor, os.O_RDWR | os.O_CREAT, 0o600)
        self.position = int(os.pread(self._cursor, 20, 0) or 0)

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        if after >= self._count:
            await trio.sleep_forever()
        batches, size = list[Batch](), 0
        while after < self._count and (not batches or size < max_bytes):
            last = min(after + BATCH, self._count)
            changes = [record(n, self._pad) for n in range(after + 1, last + 1)]
            batches.append(Batch(after + 1, PODS, changes, len(changes) * self._pad))
            size += batches[-1].size
            after = last
        return batches

    def end(self) -> int:
        return self._count

    def acknowledge(self, name: str, position: int) -> None:
        assert name == "out"
        self._acknowledgements += 1
        if position == self._count or self._acknowledgements % self._every == 0:
            os.pwrite(self._cursor, b"%020d" % position, 0)

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        assert (log_id, incarnation) == ("log", 1)
        assert position <= self._count


async def main(path: str, cursor: str, count: int, pad: int, every: int = 1) -> None:
    log = FixedLog(count, pad, Path(cursor), every)
    size = os.environ.get("ROTATE")
    sink = JsonLines(path, Rotate(max_bytes=int(size), compress="zstd") if size else None)
    worker = Worker(Plan("out", BRIDGE), sink, log, Resume("log", 1, log.position))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await worker.drain(trio.current_time() + 60)
        while any(file.plain for file in rotated_files(path)):  # noqa: ASYNC110 - a thread of nobody does it
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    lines._MOST_BYTES = int(os.environ.get("MAX_BYTES", lines._MOST_BYTES))
    place, mark, *sizes = sys.argv[1:]
    try:
        trio.run(lambda: main(place, mark, *map(int, sizes)))
    except* ClosedPipe:
        sys.exit(ClosedPipe.exit_code)
