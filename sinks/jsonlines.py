"""JSON lines to standard output or a file: one record, one line.

A file is owned record by record: a batch is written and synced before it is acknowledged, a torn last
line is cut when the file is opened, and what an earlier run has written already is not written again.
So each record stands in it once, also after a kill at any moment, and where it is rotated once in all files
together. It is opened anew when it was moved or removed. Of a pipe we only know that the kernel has taken
the bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Final, Protocol, Self

import trio

from bridge.delivery.sink import Context, Delivery, Overlap, Resume, Unavailable
from bridge.errors import InvariantError
from bridge.faults import crash_point
from bridge.settings import about
from sinks.appendfile import is_regular, problem
from sinks.fileoutput import FileOutput
from sinks.outlet import Outlet
from sinks.rotation import Rotate, rotation_problem

__all__ = ["JsonLines"]

_STDOUT: Final = "-"
_MOST_BYTES = 2 << 20
_LINE_ENDS: Final = 64
"""A batch is counted without its line ends; records of more than 64 bytes have less than a 64th of those."""


class _Output(Protocol):
    waits_for_reader: ClassVar[bool]

    def deliver(self, values: Sequence[bytes], *, replay: bool) -> None: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class _Runtime:
    """What an open sink holds beside its options."""

    def __init__(self) -> None:
        self.output: _Output | None = None
        self.turn = trio.Lock()  # a delivery and a reopening never meet


@dataclass(frozen=True)
class JsonLines:
    """Writes each record as one line.

    Attributes:
        path: a file, created if it is missing (mode 0600), or "-" for standard output. A named pipe or
            a device is written as it is.
        rotate: when a file is moved away and a new one begun; not part of which destination it is.
    """

    max_records: ClassVar[int] = 10_000
    overlap: ClassVar[Overlap] = Overlap.NONE
    concurrency: ClassVar[int] = 1

    path: str = field(
        metadata={
            "about": "A file, or `-` for standard output.",
            "example": "/var/lib/kube-bridge/changes.jsonl",
        }
    )
    # Another rotation is not another destination, so it does not show where a destination is told by.
    rotate: Rotate | None = field(
        default=None,
        repr=False,
        metadata=about(
            "When the file is moved away and a new one begun. Default: never.",
            example="{maxBytes: 256Mi, maxAge: 24h, keep: 30, compress: zstd}",
        ),
    )
    _runtime: _Runtime = field(init=False, repr=False, compare=False, default_factory=_Runtime)

    def __post_init__(self) -> None:
        if self.rotate is not None and (self.path == _STDOUT or not is_regular(self.path)):
            raise ValueError(
                f"`{self.path}` is no file, so there is nothing to rotate; write the path of a file "
                "or leave rotate out"
            )

    @property
    def max_bytes(self) -> int:
        """Most bytes it wants at once: with their line ends not more than one file may hold."""
        if self.rotate is None or self.rotate.max_bytes is None:
            return _MOST_BYTES
        return min(_MOST_BYTES, self.rotate.max_bytes - self.rotate.max_bytes // _LINE_ENDS)

    @property
    def ownership(self) -> str:
        """What it means that the destination owns a record."""
        written = "written and synced, once each" if is_regular(self.path) else "taken by the kernel"
        return "taken by the kernel" if self.path == _STDOUT else written

    async def __aenter__(self) -> Self:
        """Open the destination and repair the end of a file.

        Raises:
            Unavailable: it cannot be opened now; one sentence says why.
            UsageError: standard output is closed.
        """
        self._runtime.output = await trio.to_thread.run_sync(_open, self.path, self.rotate)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; everything that was acknowledged is synced already."""
        output, self._runtime.output = self._runtime.output, None
        if output is None:
            return
        if self.rotate is None:
            output.close()
            return
        with trio.CancelScope(shield=True):  # for as long as a block takes that is being compressed
            await trio.to_thread.run_sync(output.close)

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
        async with self._runtime.turn:
            crash_point("sink.begin")
            values = [record.value for record in batch.records]
            await trio.to_thread.run_sync(
                lambda: output.deliver(values, replay=batch.replay),
                abandon_on_cancel=output.waits_for_reader,
            )

    async def reopen(self) -> None:
        """Open the path anew if something else has taken its place (SIGHUP); never fails."""
        output = self._runtime.output
        if output is not None:
            async with self._runtime.turn:
                await trio.to_thread.run_sync(output.reopen)

    async def problems(self, context: Context) -> Sequence[str]:  # noqa: ARG002 - as above
        """Why this cannot be opened as things are; nothing is created that stays, nothing is cut."""
        if self.path == _STDOUT:
            return ()
        found = await trio.to_thread.run_sync(problem, self.path)
        if found is None and self.rotate is not None:
            found = await trio.to_thread.run_sync(rotation_problem, self.path)
        return () if found is None else (found,)


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

    def reopen(self) -> None:
        """Standard output is nobody's to open again; a pipe is opened with the next record."""
        if self._outlet is not None and self._path != _STDOUT:
            self._outlet.close()
            self._outlet = None

    def close(self) -> None:
        if self._outlet is not None:
            self._outlet.close()

    def _open(self) -> Outlet:
        return Outlet.stdout() if self._path == _STDOUT else Outlet.open(self._path)


def _open(path: str, rotate: Rotate | None) -> _Output:
    if path != _STDOUT and is_regular(path):
        return FileOutput(path, rotate)
    if rotate is not None:
        raise Unavailable(f"Cannot rotate {path}: it is no file; make it one or leave rotate out.")
    return _StreamOutput(path)
