"""Where a sink is checked: a log in memory, records, and a cancellation at a chosen await."""

from collections.abc import Sequence
from typing import Final

import trio

from bridge.changes.change import Batch, Change, StreamInfo
from bridge.changes.record import Record
from bridge.delivery.sink import Delivery, Resume
from bridge.errors import StateError

__all__ = ["RESUME", "STREAM", "UNWELCOME", "CancelAtStep", "FixedLog", "Troubles", "change", "delivery"]

UNWELCOME: Final = "unwelcome"
"""Stands in every record that a destination must refuse when it is checked with `refuses=True`."""

RESUME: Final = Resume("check", 1, 0)
"""Where everything begins."""
STREAM: Final = StreamInfo("checks", "", "v1", "configmaps", "ConfigMap")


class FixedLog:
    """What a worker reads: all records of the check, in memory."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._batches: list[Batch] = []
        self._grown = trio.Event()

    def append(self, changes: Sequence[Change]) -> None:
        """One batch more."""
        self._batches.append(Batch(self.end() + 1, STREAM, changes, sum(len(one.object) for one in changes)))
        self._grown.set()
        self._grown = trio.Event()

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:  # noqa: ARG002 - a batch at a time
        """The next batch."""
        while not (found := [batch for batch in self._batches if batch.last_position > after]):
            await self._grown.wait()
        return found[:1]

    def end(self) -> int:
        """Position of the newest change."""
        return self._batches[-1].last_position if self._batches else 0

    def acknowledge(self, name: str, position: int) -> None:  # noqa: ARG002 - there is one sink
        """Remember it."""
        self.acknowledged = position

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """Know every place that this check gave out, as the bridge's log does.

        Raises:
            StateError: the sink's destination names another one.
        """
        if (log_id, incarnation) != (RESUME.log_id, RESUME.incarnation) or position > self.end():
            raise StateError(f"position {position} of the log {log_id!r} was never given out")


class Troubles(list[str]):
    """What the worker says of a sink that raised what no sink should."""

    def __call__(self, level: str, event: str, /, **fields: object) -> None:
        """One line of the log."""
        if level == "error":
            self.append(str(fields.get("error") or fields.get("reason") or event))

    def __str__(self) -> str:
        return f"; it raised {self[-1]}" if self else ""


class CancelAtStep(trio.abc.Instrument):
    """Cancels a nursery when its tasks have run so often: at every await, one after the other."""

    def __init__(self, nursery: trio.Nursery, steps: int) -> None:
        self.fired = False
        self._nursery = nursery
        self._left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if self.fired or not self._is_inside(task):
            return
        if self._left == 0:
            self.fired = True
            self._nursery.cancel_scope.cancel()
        self._left -= 1

    def _is_inside(self, task: trio.lowlevel.Task) -> bool:
        nursery = task.parent_nursery
        while nursery is not None and nursery is not self._nursery:
            nursery = nursery.parent_task.parent_nursery
        return nursery is not None


def change(number: int, padding: int, word: str) -> Change:
    """The change at a position: the objects are few, so that many changes share a key."""
    name = f"{word}-{number % 2}"  # some of one batch share a key, so their order shows
    body = (
        f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"namespace":"checks","name":"{name}",'
        f'"resourceVersion":"{number}"}},"data":{{"padding":"{"x" * padding}"}}}}'
    )
    return Change("MODIFIED", "watch", number, "checks", name, f"uid-{name}", str(number), 0, body.encode())


def delivery(records: Sequence[Record]) -> Delivery:
    """Records that are handed over at once."""
    return Delivery(records[-1].position, records, sum(len(record.value) for record in records))
