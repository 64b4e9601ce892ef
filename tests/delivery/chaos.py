"""A destination that fails in every way by a script, and an oracle that knows what it took."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

import trio

from bridge.delivery.sink import Context, Delivery, Overlap, Rejected, Resume, Stopped, Unavailable
from tests.delivery.fakes import Letters, MemoryLog


@dataclass(frozen=True)
class Fault:
    """What happens to one call.

    Attributes:
        kind: ok, unavailable, wait (Retry-After), error, lost (taken, and the answer is lost) or stopped.
        seconds: how long the call takes.
    """

    kind: str = "ok"
    seconds: float = 0.0


@dataclass
class Oracle:
    """What the destination took, and what was buried; held against each move of the cursor.

    Attributes:
        poison: numbers of the records that are refused, always.
        taken: numbers in the order of taking, by key.
    """

    log: MemoryLog
    letters: Letters
    poison: frozenset[int] = frozenset()
    taken: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def settled(self) -> set[int]:
        return {n for numbers in self.taken.values() for n in numbers} | {
            int(letter.change.rv) for letter in self.letters.kept
        }

    def check_cursor(self, position: int) -> None:
        known = self.settled()
        for batch in self.log.batches:
            for place, change in enumerate(batch.changes, batch.position):
                assert place > position or int(change.rv) in known, f"the cursor lost {change.rv}"

    def check_end(self, *, skips: bool = False) -> None:
        """Everything arrived, and the last word of each key is the newest one.

        Args:
            skips: whether a pipeline may have taken what follows a failed call before that came again.
        """
        wanted = defaultdict[str, list[int]](list)
        for batch in self.log.batches:
            for change in batch.changes:
                wanted[change.name].append(int(change.rv))
        assert self.settled() == {n for numbers in wanted.values() for n in numbers}
        buried = {int(letter.change.rv) for letter in self.letters.kept}
        assert buried == self.poison & self.settled()
        for name, numbers in wanted.items():
            order = [n for n in numbers if n not in buried]
            newest = -1
            for n in self.taken[name]:
                assert skips or order.index(n) <= newest + 1, f"{n} of {name} overtook"
                newest = max(newest, order.index(n))
            assert not order or self.taken[name][-1] == order[-1], f"the last word of {name} is stale"


class CheckedLog(MemoryLog):
    """Holds each acknowledgement against the oracle."""

    oracle: Oracle

    def acknowledge(self, name: str, position: int) -> None:
        super().acknowledge(name, position)
        self.oracle.check_cursor(position)


class ChaoticSink:
    """Fails by its script; once that has run out, it works."""

    max_bytes: ClassVar[int] = 2000

    def __init__(
        self, oracle: Oracle, script: Sequence[Fault], overlap: Overlap, concurrency: int, records: int
    ) -> None:
        self.overlap = overlap
        self.concurrency = concurrency
        self.max_records = records
        self.oracle = oracle
        self.script = list(script)
        self.flying: list[Delivery] = []
        self.most = 0
        self.begun: list[int] = []
        self.handed: dict[int, list[float]] = defaultdict(list)
        self.opened = 0
        self.errors = 0

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self.begun.clear()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert not self.flying, "a call outlived its session"

    async def open(self, resume: Resume, context: Context) -> Resume:
        assert context.name == "out"
        self.opened += 1
        return resume

    async def deliver(self, batch: Delivery) -> None:
        fault = self.script.pop(0) if self.script else Fault()
        self.errors += fault.kind == "error"
        self._check(batch)
        self.flying.append(batch)
        for record in batch.records:
            self.handed[record.position].append(trio.current_time())
        self.most = max(self.most, len(self.flying))
        takes = fault.kind in ("ok", "lost")
        # A pipeline keeps the order in which its calls begin, as a producer's queue does.
        early = self._take(batch) if takes and self.overlap is Overlap.PIPELINE else None
        try:
            await trio.sleep(fault.seconds)
        finally:
            self.flying.remove(batch)
        if fault.kind == "unavailable":
            raise Unavailable("no room")
        if fault.kind == "wait":
            raise Unavailable("slow down", retry_after=20.0, reason="throttled")
        if fault.kind == "error":
            raise OSError("broken")
        if fault.kind == "stopped":
            raise Stopped("gone")
        refused = self._take(batch) if early is None else early
        if fault.kind == "lost":
            raise Unavailable("the answer was lost")
        if refused:
            raise Rejected(dict.fromkeys(refused, "it is poison"))

    def _check(self, batch: Delivery) -> None:
        assert 1 <= len(batch.records) <= self.max_records
        assert batch.size <= self.max_bytes or len(batch.records) == 1
        assert len(self.flying) < self.concurrency, "too many calls in flight"
        if self.overlap is Overlap.LANES:
            keys = {record.key for record in batch.records}
            flying = {record.key for other in self.flying for record in other.records}
            assert not keys & flying, "two calls for one key"
        if self.overlap is Overlap.PIPELINE and self.flying:
            before = max(other.last_position for other in self.flying)
            assert batch.records[0].position > before, "calls begin in the order of the log"

    def _take(self, batch: Delivery) -> list[int]:
        refused = []
        for index, record in enumerate(batch.records):
            number = json.loads(record.value)["object"]["n"]
            if number in self.oracle.poison:
                refused.append(index)
            else:
                self.oracle.taken[record.change.name].append(number)
        return refused
