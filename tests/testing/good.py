"""A sink that keeps every promise, what is told of the ones that do not, and where they write."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

import trio

from bridge.changes.record import Record
from bridge.delivery.sink import Context, Delivery, Overlap, Rejected, Resume, Unavailable
from bridge.testing import UNWELCOME, PromiseBroken, check_sink


class Place:
    """A destination."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.away = False

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.away = True
        yield
        self.away = False


@dataclass(frozen=True)
class Good:
    """Keeps every promise; the tests derive from it what breaks one of them."""

    max_records: ClassVar[int] = 3
    max_bytes: ClassVar[int] = 2000
    overlap: ClassVar[Overlap] = Overlap.NONE
    concurrency: ClassVar[int] = 1

    place: Place = field(init=False, repr=False, compare=False, default_factory=Place)

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def open(self, resume: Resume, context: Context) -> Resume:
        assert [stream.name for stream in context.streams] == ["checks"]
        await trio.lowlevel.checkpoint()
        return resume

    async def deliver(self, batch: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        if self.place.away:
            raise Unavailable("away")
        refused = await self.put(batch.records)
        await trio.lowlevel.checkpoint()
        if refused:
            raise Rejected(refused)

    async def put(self, records: Sequence[Record]) -> dict[int, str]:
        refused = {}
        for index, record in enumerate(records):
            if UNWELCOME.encode() in record.value:
                refused[index] = "no"
            else:
                self.place.values.append(record.value)
        return refused


async def broken(make: Callable[[], Good]) -> list[str]:
    place = Place()

    def here() -> Good:
        sink = make()
        object.__setattr__(sink, "place", place)
        return sink

    with trio.fail_after(60):
        try:
            await check_sink(here, lambda: place.values, outage=place.outage, refuses=True)
        except PromiseBroken as error:
            return str(error).splitlines()
    return []
