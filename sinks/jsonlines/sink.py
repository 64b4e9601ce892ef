"""JSON lines to standard output or a file: one record, one line.

A file is owned record by record: a batch is written and synced before it is acknowledged, a torn last
line is cut when the file is opened, and what an earlier run has written already is not written again.
So each record stands in it once, also after a kill at any moment, and where it is rotated once in all files
together. It is opened anew when it was moved or removed. Up to where it holds the log stands beside it, so
that a state that was lost or rolled back is noticed. Of a pipe we only know that the kernel has taken the
bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import trio

from bridge.delivery.sink import Context, Resume, Unavailable
from bridge.settings import Looks, Rule, about, enforce
from sinks.jsonlines.appendfile import is_regular, problem
from sinks.jsonlines.filecursor import cursor_path
from sinks.jsonlines.fileoutput import FileOutput
from sinks.jsonlines.lines import STDOUT, Lines, Output, Runtime, StreamOutput
from sinks.jsonlines.rotation import Rotate, rotation_problem

__all__ = ["JsonLines"]

_LINE_ENDS: Final = 64
"""A batch is counted without its line ends; records of more than 64 bytes have less than a 64th of those."""


def _nothing_to_rotate(rotate: Rotate | None, path: str) -> Iterator[str]:
    if rotate is not None and path == STDOUT:
        yield _no_file(path)


def _no_file(path: str) -> str:
    return f"`{path}` is no file, so there is nothing to rotate; write the path of a file or leave rotate out"


def _place_problems(path: str, rotate: Rotate | None) -> Iterator[str]:
    if path == STDOUT:
        return
    found = problem(path)
    if found is None and rotate is not None:
        found = rotation_problem(path) if is_regular(path) else _no_file(path)
    if found is not None:
        yield found


@dataclass(frozen=True)
class JsonLines(Lines):
    """Writes each record as one line.

    Attributes:
        path: a file, created if it is missing (mode 0600), or "-" for standard output. A named pipe or
            a device is written as it is.
        rotate: when a file is moved away and a new one begun.
    """

    path: str = field(
        metadata={
            "about": "A file, or `-` for standard output.",
            "example": "/var/lib/kube-bridge/changes.jsonl",
        }
    )
    rotate: Rotate | None = field(
        default=None,
        metadata=about(
            "When the file is moved away and a new one begun. Default: never.",
            example="{maxBytes: 256Mi, maxAge: 24h, keep: 30, compress: zstd}",
        ),
    )
    _runtime: Runtime = field(init=False, repr=False, compare=False, default_factory=Runtime)

    RULES: ClassVar = (
        Rule(("rotate", "path"), _nothing_to_rotate),
        Rule(("path", "rotate"), _place_problems, Looks.DESTINATION),
    )

    def __post_init__(self) -> None:
        enforce(self)

    @property
    def destination(self) -> str:
        """The file."""
        return self.path

    @property
    def max_bytes(self) -> int:
        """Most bytes it wants at once: with their line ends not more than one file may hold."""
        if self.rotate is None or self.rotate.max_bytes is None:
            return super().max_bytes
        return min(super().max_bytes, self.rotate.max_bytes - self.rotate.max_bytes // _LINE_ENDS)

    @property
    def ownership(self) -> str:
        """What it means that the destination owns a record."""
        is_file = self.path != STDOUT and is_regular(self.path)
        return "written and synced, once each" if is_file else "taken by the kernel"

    @property
    def forgetting(self) -> str:
        """What a person does so that the file no longer knows a place in a log."""
        return f"remove {cursor_path(self.path)} to begin anew"

    async def open(self, resume: Resume, context: Context) -> Resume:
        """Go on where the cursor is, or where the file is if it knows better."""
        output = self._runtime.output
        if not isinstance(output, FileOutput):
            return resume
        return await trio.to_thread.run_sync(output.resume, resume, context.name)

    def _open(self) -> Output:
        if self.path != STDOUT and is_regular(self.path):
            return FileOutput(self.path, self.rotate)
        if self.rotate is not None:
            raise Unavailable(f"Cannot rotate {self.path}: it is no file; make it one or leave rotate out.")
        return StreamOutput(self.path)

    async def problems(self, context: Context) -> Sequence[str]:  # noqa: ARG002 - as above
        """Why this cannot be opened as things are; nothing is created that stays, nothing is cut."""
        return await trio.to_thread.run_sync(lambda: tuple(_place_problems(self.path, self.rotate)))
