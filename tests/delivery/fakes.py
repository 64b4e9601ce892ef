"""A log in memory and a sink that does as a script says."""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import ClassVar, Self

import msgspec
import trio

from bridge.changes.change import Batch, Change, StreamInfo
from bridge.changes.deadletter import DeadLetter, LettersFull
from bridge.changes.envelope import Bridge
from bridge.changes.record import Record
from bridge.delivery.sink import Context, Delivery, Overlap, Resume
from bridge.errors import StateError

BRIDGE = Bridge("c", "cluster-uid")
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
NODES = StreamInfo("nodes", "", "v1", "nodes", "Node")
START = Resume("log", 1, 0)


def change(number: int, type_: str = "MODIFIED", size: int = 0) -> Change:
    body = b'{"n":%d,"pad":"%b"}' % (number, b"x" * size)
    extra = {"id": str(number), "phase": "begin"} if type_ == "RESYNC" else None
    return Change(type_, "watch", number, "ns", f"n{number}", f"u{number}", str(number), 0, body, extra)


def records(*values: bytes) -> list[Record]:
    """Records with these values and nothing else that matters."""
    nothing = change(0)
    return [Record(0, value, "", "", "", nothing, PODS) for value in values]


class MemoryLog:
    """Batches in memory; remembers what was acknowledged."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.reads: list[int] = []
        self.raises: BaseException | None = None
        self._grown = trio.Event()
        self._end = 0

    def append(self, changes: Sequence[Change], stream: StreamInfo = PODS, gap: int = 0) -> Batch:
        position = self._end + 1 + gap
        batch = Batch(position, stream, changes, sum(len(c.object) for c in changes))
        self._end = batch.last_position
        self.batches.append(batch)
        self._grown.set()
        self._grown = trio.Event()
        return batch

    async def read(self, after: int, max_bytes: int) -> Sequence[Batch]:
        self.reads.append(after)
        if self.raises is not None:
            raise self.raises
        while not (ready := [b for b in self.batches if b.last_position > after]):
            await self._grown.wait()
        taken = [ready[0]]
        for batch in ready[1:]:
            if sum(b.size for b in taken) + batch.size > max_bytes:
                break
            taken.append(batch)
        return taken

    def end(self) -> int:
        return self._end

    def acknowledge(self, name: str, position: int) -> None:
        before = max((reached for sink, reached in self.acknowledged if sink == name), default=0)
        assert position > before, "a cursor went back"
        self.acknowledged.append((name, position))

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        if (log_id, incarnation) != (START.log_id, START.incarnation) or position > self._end:
            raise StateError("this log never gave out that position")

    @property
    def cursor(self) -> int:
        return self.acknowledged[-1][1] if self.acknowledged else 0


class Letters:
    """Dead letters, as many as there is room for; one that is buried again is the same, as in the log."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.kept: list[DeadLetter] = []

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        await trio.lowlevel.checkpoint()
        if len(self.kept) + len(letters) > self.room:
            raise LettersFull("no room for another dead letter")
        for letter in letters:
            self.kept.append(self._counted_on(letter))

    def _counted_on(self, letter: DeadLetter) -> DeadLetter:
        for old in self.kept:
            if (old.sink, old.position) == (letter.sink, letter.position):
                self.kept.remove(old)
                attempts = old.attempts + letter.attempts
                return msgspec.structs.replace(letter, attempts=attempts, first_at=old.first_at)
        return letter


Step = BaseException | Callable[[Delivery], None] | None


class ScriptedSink:
    """Takes everything once its script has run out; each step of the script is one `deliver`."""

    max_records: ClassVar[int] = 10
    max_bytes: ClassVar[int] = 10_000
    overlap: ClassVar[Overlap] = Overlap.NONE
    concurrency: ClassVar[int] = 1

    def __init__(self, script: Iterable[Step] = (), enter: Iterable[BaseException] = ()) -> None:
        self.script = list(script)
        self.enter = list(enter)
        self.owned: list[Delivery] = []
        self.seen: list[Delivery] = []
        self.opened: list[Resume] = []
        self.closed = 0
        self.gate: trio.Event | None = None
        self.resumes_at: Resume | None = None

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        if self.enter:
            raise self.enter.pop(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed += 1

    async def open(self, resume: Resume, context: Context) -> Resume:
        assert context.cluster_uid == BRIDGE.cluster_uid
        self.opened.append(resume)
        return self.resumes_at or resume

    async def deliver(self, batch: Delivery) -> None:
        self.seen.append(batch)
        if self.gate is not None:
            await self.gate.wait()
        else:
            await trio.lowlevel.checkpoint()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            step(batch)
        self.owned.append(batch)

    @property
    def values(self) -> list[bytes]:
        return [record.value for batch in self.owned for record in batch.records]
