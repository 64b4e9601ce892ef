"""JSON lines to standard output or a file: one record, one line.

A file is owned record by record: a batch is written and synced before it is acknowledged, a torn last
line is cut when the file is opened, and what an earlier run has written already is not written again.
So each record stands in it once, also after a kill at any moment. It is opened anew when it was moved
or removed. Of a pipe we only know that the kernel has taken the bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import ClassVar, NamedTuple, Protocol, Self

import trio

from bridge.delivery.sink import Context, Delivery, Overlap, Resume, Unavailable
from bridge.errors import InvariantError
from bridge.faults import crash_point
from sinks.appendfile import AppendFile, is_regular, problem
from sinks.outlet import Outlet

__all__ = ["JsonLines"]

_STDOUT = "-"
_COPIED_AT_ONCE = 1 << 20


class _Output(Protocol):
    waits_for_reader: ClassVar[bool]

    def deliver(self, values: Sequence[bytes], *, replay: bool) -> None: ...

    def close(self) -> None: ...


class _Runtime:
    """What an open sink holds beside its options."""

    output: _Output | None = None


@dataclass(frozen=True)
class JsonLines:
    """Writes each record as one line.

    Attributes:
        path: a file, created if it is missing (mode 0600), or "-" for standard output. A named pipe or
            a device is written as it is.
    """

    max_records: ClassVar[int] = 10_000
    max_bytes: ClassVar[int] = 2 << 20
    overlap: ClassVar[Overlap] = Overlap.NONE
    concurrency: ClassVar[int] = 1

    path: str = field(
        metadata={
            "about": "A file, or `-` for standard output.",
            "example": "/var/lib/kube-bridge/changes.jsonl",
        }
    )
    _runtime: _Runtime = field(init=False, repr=False, compare=False, default_factory=_Runtime)

    async def __aenter__(self) -> Self:
        """Open the destination and repair the end of a file.

        Raises:
            Unavailable: it cannot be opened now; one sentence says why.
            UsageError: standard output is closed.
        """
        self._runtime.output = await trio.to_thread.run_sync(_open, self.path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; everything that was acknowledged is synced already."""
        output, self._runtime.output = self._runtime.output, None
        if output is not None:
            output.close()

    async def open(self, resume: Resume, context: Context) -> Resume:  # noqa: ARG002 - the same for every cluster
        """Go on where the cursor is: a file recognises replayed records by themselves."""
        return resume

    async def deliver(self, batch: Delivery) -> None:
        """Write the batch; a file is synced before this returns.

        Cancellation: a file's batch is finished first, it is one write and one sync; on a pipe whose
        reader does not read, the write is left behind in its thread.

        Raises:
            Unavailable: no room, or the destination cannot be opened; nothing of the batch is left.
            ClosedPipe: nobody reads our standard output any more.
            OSError: the disk failed; the file must be opened anew.
        """
        output = self._runtime.output
        if output is None:
            raise InvariantError("A JSON lines sink was asked to deliver while it was closed.")
        crash_point("sink.begin")
        values = [record.value for record in batch.records]
        await trio.to_thread.run_sync(
            lambda: output.deliver(values, replay=batch.replay),
            abandon_on_cancel=output.waits_for_reader,
        )

    async def problems(self, context: Context) -> Sequence[str]:  # noqa: ARG002 - as above
        """Why this cannot be opened as things are; nothing is created that stays, nothing is cut."""
        found = None if self.path == _STDOUT else await trio.to_thread.run_sync(problem, self.path)
        return () if found is None else (found,)


class _Match(NamedTuple):
    """Where a replay was found in the file, and up to where it has gone on so far."""

    begin: int
    reached: int

    def chunks(self, file: AppendFile) -> Iterator[bytes]:
        for offset in range(self.begin, self.reached, _COPIED_AT_ONCE):
            yield file.read(offset, min(_COPIED_AT_ONCE, self.reached - offset))


class _FileOutput:
    """A file, and how much of a replay it holds already."""

    waits_for_reader: ClassVar[bool] = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: AppendFile | None = AppendFile.open(path)
        self._search = True  # the next batch may begin with what an earlier run has written
        self._suspect = False  # so may it after a write that could not be taken back
        self._match: _Match | None = None

    def deliver(self, values: Sequence[bytes], *, replay: bool) -> None:
        file = self._current()
        data = b"\n".join((*values, b""))
        if self._search and (replay or self._suspect):
            found = file.find_last(values[0] + b"\n")
            self._match = None if found is None else _Match(found, found)
        self._search = False
        if self._match is None:
            file.append((data,))
        else:
            self._match = self._go_on(file, self._match, data, replay=replay or self._suspect)
        self._suspect = False

    @staticmethod
    def _go_on(file: AppendFile, match: _Match, data: bytes, *, replay: bool) -> _Match | None:
        """Write what of a replayed batch is missing; whether the file still holds more of the replay.

        Only a replay that goes on to the end of the file is one. Where it breaks off before, its
        beginning was older and equal by chance (without ids, two records can be): it is written again.
        """
        present = file.read(match.reached, len(data))
        if not replay or not data.startswith(present):
            file.append(chain(match.chunks(file), (data,)))
            return None
        reached = match.reached + len(present)
        left = file.end - reached
        if len(present) < len(data):
            file.append((data[len(present) :],))
        return _Match(match.begin, reached) if left else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _current(self) -> AppendFile:
        """The file that the path names now, opened anew if that is another one or its end is unknown."""
        file = self._file
        if file is not None and file.sound and file.is_current():
            return file
        if file is not None:
            self._suspect = self._search = not file.sound
            self._match = None
            self._file = None
            file.close()
        self._file = AppendFile.open(self._path)
        return self._file


class _StreamOutput:
    """Standard output, a named pipe or a device."""

    waits_for_reader: ClassVar[bool] = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._outlet: Outlet | None = self._open()

    def deliver(self, values: Sequence[bytes], *, replay: bool) -> None:  # noqa: ARG002 - a pipe cannot be read back
        if self._outlet is None:
            self._outlet = self._open()
        try:
            self._outlet.append(b"\n".join((*values, b"")))
        except Unavailable:
            if self._path != _STDOUT:
                self._outlet.close()
                self._outlet = None
            raise

    def close(self) -> None:
        if self._outlet is not None:
            self._outlet.close()

    def _open(self) -> Outlet:
        return Outlet.stdout() if self._path == _STDOUT else Outlet.open(self._path)


def _open(path: str) -> _Output:
    return _FileOutput(path) if path != _STDOUT and is_regular(path) else _StreamOutput(path)
