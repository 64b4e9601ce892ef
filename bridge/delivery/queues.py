"""The lanes of one sink: a queue for each share of the keys, bounded together. No I/O here, and no clock."""

from collections import deque
from collections.abc import Sequence
from zlib import crc32

from bridge.changes.record import Record
from bridge.delivery.limits import Limits

__all__ = ["LaneQueues"]


class LaneQueues:
    """Records that are handed out and not yet settled, by lane.

    A key has one lane, so what a lane sends in order is in order for each of its keys.

    Attributes:
        records: in all lanes, on their way included.
        bytes: of those.
    """

    def __init__(self, limits: Limits) -> None:
        self.records = 0
        self.bytes = 0
        self._limits = limits
        self._queues: list[deque[Record]] = [deque() for _ in range(limits.concurrency)]
        self._sizes = [0] * limits.concurrency
        self._since = [0.0] * limits.concurrency

    def lane_of(self, record: Record) -> int:
        """The lane of a record; the same in every process."""
        return crc32(record.key.encode("utf-8", "surrogatepass")) % len(self._queues)

    def has_room(self, record: Record) -> bool:
        """Whether it may be put; one that is larger than all room may be alone."""
        limits = self._limits
        return not self.records or (
            self.records < limits.window_records and self.bytes + len(record.value) <= limits.window_bytes
        )

    def put(self, record: Record, now: float) -> int:
        """Add a record behind the others of its lane, and return the lane."""
        lane, size = self.lane_of(record), len(record.value)
        queue = self._queues[lane]
        if not queue:
            self._since[lane] = now
        queue.append(record)
        self._sizes[lane] += size
        self.records += 1
        self.bytes += size
        return lane

    def due_at(self, lane: int) -> float | None:
        """When what waits in a lane must go: at once if it fills a delivery. None when nothing waits."""
        queue, limits = self._queues[lane], self._limits
        if not queue:
            return None
        if len(queue) >= limits.records or self._sizes[lane] >= limits.bytes:
            return float("-inf")
        return self._since[lane] + limits.delay

    def take(self, lane: int, now: float) -> Sequence[Record]:
        """The head of a lane, as much as one delivery holds; it counts until it is `done`."""
        queue, limits = self._queues[lane], self._limits
        taken: list[Record] = []
        size = 0
        while queue and len(taken) < limits.records:
            size += len(queue[0].value)
            if taken and size > limits.bytes:
                break
            record = queue.popleft()
            self._sizes[lane] -= len(record.value)
            taken.append(record)
        self._since[lane] = now
        return taken

    def done(self, records: Sequence[Record]) -> None:
        """They are settled."""
        self.records -= len(records)
        self.bytes -= sum(len(record.value) for record in records)
