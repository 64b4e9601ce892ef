"""Writes each record as one line, somewhere: what standard output, pipes and files have in common.

What `kube-bridge watch` writes with is here, apart from files and their options: it starts at once.
"""

from threading import Lock
from types import TracebackType
from typing import ClassVar, Protocol, Self

import trio

from bridge.delivery.sink import Context, Delivery, Overlap, Resume, Unavailable
from bridge.errors import InvariantError
from bridge.faults import crash_point
from sinks.jsonlines.outlet import Outlet

__all__ = ["STDOUT", "Lines", "Output", "Runtime", "Stdout", "StreamOutput"]

STDOUT = "-"
"""Stands for standard output where a path is asked for."""
_MOST_BYTES = 2 << 20


class Output(Protocol):
    """An open destination; everything here blocks."""

    waits_for_reader: ClassVar[bool]

    def deliver(self, batch: Delivery) -> None:
        """Write a batch."""
        ...

    def reopen(self) -> None:
        """Let go of what was moved away; another thread may be delivering."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Runtime:
    """What an open sink holds beside its options."""

    output: Output | None = None


class Lines:
    """A sink, but for where it writes to."""

    max_records: ClassVar[int] = 10_000
    overlap: ClassVar[Overlap] = Overlap.NONE
    concurrency: ClassVar[int] = 1

    _runtime: Runtime

    def _open(self) -> Output:
        """Open the destination; blocks."""
        raise NotImplementedError

    @property
    def max_bytes(self) -> int:
        """Most bytes it wants at once."""
        return _MOST_BYTES

    async def __aenter__(self) -> Self:
        """Open the destination; the end of a file is repaired.

        Raises:
            Unavailable: it cannot be opened now; one sentence says why.
            UsageError: standard output is closed.
        """
        self._runtime.output = await trio.to_thread.run_sync(self._open)
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
            with trio.CancelScope(shield=True):  # for as long as a block takes that is being compressed
                await trio.to_thread.run_sync(output.close)

    async def open(self, resume: Resume, context: Context) -> Resume:  # noqa: ARG002 - the same for every cluster
        """Go on where the cursor is: of a pipe nothing better is known."""
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
        await trio.to_thread.run_sync(output.deliver, batch, abandon_on_cancel=output.waits_for_reader)

    async def reopen(self) -> None:
        """Open the path anew if something else has taken its place (SIGHUP); never fails."""
        output = self._runtime.output
        if output is not None:
            await trio.to_thread.run_sync(output.reopen)


class Stdout(Lines):
    """Standard output."""

    def __init__(self) -> None:
        self._runtime = Runtime()

    def _open(self) -> Output:
        return StreamOutput(STDOUT)


class StreamOutput:
    """Standard output, a named pipe or a device."""

    waits_for_reader: ClassVar[bool] = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = Lock()  # held for moments only, never while a reader is waited for
        self._writing: Outlet | None = None
        self._outlet: Outlet | None = self._open()

    def deliver(self, batch: Delivery) -> None:
        """See `Output.deliver`; waits for the reader as long as it takes. A replay is written again."""
        with self._turn:
            if self._outlet is None:
                self._outlet = self._open()
            outlet = self._writing = self._outlet
        try:
            outlet.append(b"\n".join((*(record.value for record in batch.records), b"")))
        except Unavailable:
            self.reopen()
            raise
        finally:
            with self._turn:
                self._writing = None
                if self._outlet is not outlet:
                    outlet.close()

    def reopen(self) -> None:
        """The next record opens it anew; standard output is nobody's to open again."""
        if self._path != STDOUT:
            self.close()

    def close(self) -> None:
        """See `Output.close`; what is being written to is closed when that has ended."""
        with self._turn:
            outlet, self._outlet = self._outlet, None
            if outlet is not None and outlet is not self._writing:
                outlet.close()

    def _open(self) -> Outlet:
        return Outlet.stdout() if self._path == STDOUT else Outlet.open(self._path)
