"""The kit finds each promise that a sink breaks, and names that one."""

from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self

import pytest
import trio

from bridge.changes.record import Record
from bridge.delivery.sink import Context, Delivery, Overlap, Resume, Unavailable
from bridge.testing import UNWELCOME
from tests.testing.good import Good, broken


class TellsProblems(Good):
    async def problems(self, context: Context) -> Sequence[str]:
        return [f"nothing is right with {context.name}"]


class Early(Good):
    """Returns before the destination has it; a cancellation loses it."""

    async def deliver(self, batch: Delivery) -> None:
        self.kept.append(batch)
        while len(self.kept) > 1:
            await super().deliver(self.kept.pop(0))

    @property
    def kept(self) -> list[Delivery]:
        return self.place.__dict__.setdefault("kept", [])  # type: ignore[no-any-return]  # just above


class Lossy(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        return await super().put(records[:-1]) if len(records) > 1 else await super().put(records)


class Forgetful(Good):
    """What a cancellation cut off it takes for delivered."""

    async def deliver(self, batch: Delivery) -> None:
        if batch.records[0].id in self.place.__dict__.setdefault("begun", set()):
            return
        self.place.__dict__["begun"].add(batch.records[0].id)
        await super().deliver(batch)


class Doubling(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        await super().put(records)
        return await super().put(records)


class Shuffling(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        return await super().put(sorted(records, key=lambda record: record.id, reverse=True))


class Garbling(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        self.place.values.append(b"half a rec")
        return await super().put(records)


class Torn(Good):
    """Half of a record stays there when it is cancelled in between."""

    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        self.place.values.append(records[0].value[:10])
        await trio.lowlevel.checkpoint()
        self.place.values.pop()
        return await super().put(records)


class Swallowing(Good):
    async def deliver(self, batch: Delivery) -> None:
        try:
            await super().deliver(batch)
        except trio.Cancelled:
            raise ConnectionError("closed") from None


class Once(Good):
    """Cannot be entered a second time."""

    async def __aenter__(self) -> Self:
        if self in self.place.__dict__.setdefault("entered", []):
            raise Unavailable("it is closed")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.__dict__["entered"].append(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Changing(Good):
    @property
    def destination(self) -> str:
        return f"the place with {len(self.place.values)} values"

    async def __aenter__(self) -> Self:
        self.place.values.append(b"")
        return self


class OpensNothing(Good):
    async def open(self, resume: Resume, context: Context) -> Resume:
        await super().open(resume, context)
        return None  # type: ignore[return-value]  # what a sink in Python may do


class Choking(Good):
    """Breaks over a record larger than it said."""

    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        if any(len(record.value) > self.max_bytes for record in records):
            return {}
        return await super().put(records)


class NotAway(Good):
    async def deliver(self, batch: Delivery) -> None:
        if self.place.away:
            return
        await super().deliver(batch)


class RaisesOther(Good):
    async def deliver(self, batch: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        if self.place.away:
            raise ConnectionError("refused")
        await super().deliver(batch)


class RefusesAll(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        refused = await super().put(records)
        return dict.fromkeys(range(len(records)), "no") if refused else {}


class RefusesTheRest(Good):
    """Names the right one and drops the others."""

    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        if refused := {i: "no" for i, record in enumerate(records) if UNWELCOME.encode() in record.value}:
            return refused
        return await super().put(records)


class RefusesSilently(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        await super().put(records)
        return {}


class RefusesForNow(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        if await super().put(records):
            raise Unavailable("later")
        return {}


class WithoutReason(Good):
    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        return dict.fromkeys(await super().put(records), "")


BAD: list[tuple[type[Good], str]] = [
    (TellsProblems, "`problems` finds some in a destination that works: nothing is right with checked."),
    (Early, "records are lost"),
    (Lossy, "records are lost"),
    (Forgetful, "records are lost after a cancellation and a restart."),
    (Doubling, "A record is delivered twice although nothing went wrong."),
    (Shuffling, "Records of one object are out of order"),
    (Garbling, "The destination holds what was never handed over: b'half a rec'."),
    (Torn, "The destination holds what was never handed over after a cancellation and a restart"),
    (Swallowing, "It does not let a cancellation through; it raised ConnectionError('closed')."),
    (Once, "It raises Unavailable('it is closed') when it is entered a second time."),
    (Changing, "Its place changes when it is open, so a restart takes it for another sink."),
    (OpensNothing, "`open` must return where to go on"),
    (Choking, "1 of 1 records are lost, of one record over its limit, which comes alone."),
    (NotAway, "It returns from `deliver` while its destination is away."),
    (RaisesOther, "While its destination is away it must raise Unavailable; it raised ConnectionError('ref"),
    (RefusesAll, "Rejected names [0, 1, 2], not [1], the index that was refused."),
    (RefusesTheRest, "With Rejected, what it names is never at the destination and all the rest is owned."),
    (RefusesSilently, "It returns from `deliver` though its destination refused a record."),
    (RefusesForNow, "A refused record must raise Rejected, not Unavailable (later)."),
    (WithoutReason, "Rejected gives no reason; say in one sentence why."),
]  # fmt: skip


class Pipelined(Good):
    """Takes the next records before it owns the last ones, in order."""

    overlap: ClassVar[Overlap] = Overlap.PIPELINE
    concurrency: ClassVar[int] = 4

    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        refused = await super().put(records)
        await trio.sleep(0.001)
        return refused


class Lanes(Pipelined):
    overlap: ClassVar[Overlap] = Overlap.LANES


class Racing(Good):
    """Says that it keeps the order of overlapping calls, and does not."""

    overlap: ClassVar[Overlap] = Overlap.PIPELINE
    concurrency: ClassVar[int] = 4

    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        await trio.sleep(0.002 if records[0].position % 2 else 0)
        return await super().put(records)


@pytest.mark.parametrize("sink", [Good, Pipelined, Lanes])
async def test_a_sink_that_keeps_every_promise_passes(sink: type[Good]) -> None:
    assert await broken(sink) == []


async def test_a_pipeline_that_reorders_is_told() -> None:
    assert "Records of one object are out of order." in await broken(Racing)


@pytest.mark.parametrize(("sink", "sentence"), BAD, ids=[sink.__name__ for sink, _ in BAD])
async def test_a_broken_promise_is_told_in_one_sentence(
    sink: type[Good], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.testing.promises._PATIENCE", 1.0)
    told = await broken(sink)
    assert any(sentence in line for line in told), told


async def test_it_is_cancelled_at_every_await() -> None:
    """Each of the awaits in here is the last one of some run."""
    last = set[str]()

    class Noted(Good):
        async def note(self, where: str) -> None:
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled:
                last.add(where)
                raise

        async def __aenter__(self) -> Self:
            await self.note("enter")
            return self

        async def open(self, resume: Resume, context: Context) -> Resume:
            await self.note("open")
            return await super().open(resume, context)

        async def deliver(self, batch: Delivery) -> None:
            await self.note("before")
            await super().deliver(batch)
            await self.note("behind")

    assert await broken(Noted) == []
    assert last == {"enter", "open", "before", "behind"}
