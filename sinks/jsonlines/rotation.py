"""When a file is rotated, what the rotated ones are called, and which of them are kept.

A rotated file is `<path>.<number>-<time>`, as `changes.jsonl.00000042-20261128T101112Z`, and once it is
compressed `.zst` stands behind that. Numbers only grow, so names sort by age also when the clock was set
back; the time keeps them apart from files that were taken away before. A rotated file is whole lines,
synced, and never written to again.
"""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, NamedTuple

from bridge.delivery.sink import Unavailable
from bridge.faults import crash_point
from bridge.settings import Range, Rule, Seconds, Size, about, enforce
from sinks.jsonlines.appendfile import NO_ROOM, AppendFile, no_room

__all__ = [
    "PACKED",
    "UNFINISHED",
    "Rotate",
    "RotatedFile",
    "Rotation",
    "rotated_files",
    "rotation_problem",
    "unfinished_files",
]

PACKED: Final = ".zst"
"""Behind the name of a compressed file."""
UNFINISHED: Final = f"{PACKED}.tmp"
"""Behind the name of one that is being compressed."""
_SMALLEST: Final = 64 << 10
_TIME: Final = "%Y%m%dT%H%M%SZ"
_HEAD: Final = 4096
_READ_AT: Final = re.compile(rb'\{"type":"[^"]*","id":"[^"]*","time":"([^"]+)"').match
"""When the bridge read the record of a line; the kubernetes format does not say."""


def _no_limit(*limits: float | None) -> Iterator[str]:
    if all(limit is None for limit in limits):
        yield "has no limit; write maxBytes, maxAge or both"


@dataclass(frozen=True)
class Rotate:
    """When the file is moved away and a new one begun. What is moved away keeps its name but for a suffix."""

    max_bytes: Annotated[Size, Range(minimum=_SMALLEST)] | None = field(
        default=None,
        metadata=about(
            "A file that would become larger is rotated first; only a single record can be larger.",
            example="256Mi",
        ),
    )
    max_age: Annotated[Seconds, Range(minimum=1)] | None = field(
        default=None,
        metadata=about(
            "A file whose first record was written so long ago is rotated before the next record.",
            example="24h",
        ),
    )
    keep: Annotated[int, Range(minimum=1)] | None = field(
        default=None,
        metadata=about("How many rotated files are kept, the newest ones. Default: all.", example="30"),
    )
    compress: Literal["none", "zstd"] = field(
        default="none",
        metadata=about("How rotated files are compressed; `zstdcat` reads them.", example="zstd"),
    )

    RULES: ClassVar = (Rule(("max_bytes", "max_age"), _no_limit),)

    def __post_init__(self) -> None:
        enforce(self)


class RotatedFile(NamedTuple):
    """One of them, compressed or not, or for a moment both.

    Attributes:
        number: its place in the order of all.
        moved_at: when it was rotated, in seconds since the Unix epoch.
        path: of the file that is not compressed; `path + PACKED` is the other one.
        plain: the first is there.
        packed: the second is there.
    """

    number: int
    moved_at: float
    path: str
    plain: bool
    packed: bool


def rotated_files(path: str) -> list[RotatedFile]:
    """The rotated files of a path, the oldest first."""
    real = Path(path).resolve()
    pattern = _names_of(real, rf"({re.escape(PACKED)})?")
    found: dict[str, RotatedFile] = {}
    for entry in _names(real.parent):
        match = pattern.fullmatch(entry)
        moved_at = _moved_at(match[2]) if match else None
        if match is None or moved_at is None:
            continue
        plain = str(real.parent / entry.removesuffix(PACKED))
        packed = match[3] is not None
        old = found.get(plain)
        found[plain] = RotatedFile(
            int(match[1]),
            moved_at,
            plain,
            plain=not packed or (old is not None and old.plain),
            packed=packed or (old is not None and old.packed),
        )
    return sorted(found.values())


def unfinished_files(path: str) -> list[Path]:
    """What rotated files of a path were being compressed into; of other files with similar names nothing."""
    real = Path(path).resolve()
    pattern = _names_of(real, re.escape(UNFINISHED))
    return [real.parent / entry for entry in _read(real.parent) if pattern.fullmatch(entry)]


class Rotation:
    """Decides when one path's file is rotated, and moves it away."""

    def __init__(self, path: str, options: Rotate) -> None:
        self._path = path
        self._options = options
        self._begun = 0.0  # when the first record was written, on the clock that is never set

    def opened(self, file: AppendFile) -> None:
        """From now on this is the file; one that an earlier run has begun is as old as can be told."""
        age = max(time.time() - self._begun_at(file), 0.0) if file.end else 0.0
        self._begun = time.monotonic() - age

    def is_due(self, file: AppendFile, more: int) -> bool:
        """Whether the file must be rotated before `more` bytes are written. An empty one never is."""
        now = time.monotonic()
        if not file.end:
            self._begun = now
            return False
        most, longest = self._options.max_bytes, self._options.max_age
        return (most is not None and file.end + more > most) or (
            longest is not None and now - self._begun >= longest
        )

    def move_away(self) -> None:
        """Give the file the name of a rotated one. Opening the new one makes this durable as well.

        Raises:
            Unavailable: it cannot be renamed now; one sentence says why.
        """
        crash_point("rotate.begin")
        real = Path(self._path).resolve()
        files = rotated_files(self._path)
        number = files[-1].number + 1 if files else 1
        stamp = datetime.now(UTC).strftime(_TIME)
        try:
            real.rename(f"{real}.{number:08d}-{stamp}")
        except FileNotFoundError:
            return  # somebody else was faster
        except OSError as error:
            raise _cannot_rotate(self._path, error) from error
        crash_point("rotate.moved")

    def _begun_at(self, file: AppendFile) -> float:
        """The least that the time of the first write can be: rotated early rather than late.

        It was written after it was read, and after the file before it was moved away. Where neither is
        known that is long ago.
        """
        known = [rotated.moved_at for rotated in rotated_files(self._path)[-1:]]
        if first := _READ_AT(file.read(0, _HEAD)):
            with suppress(ValueError, OverflowError):  # a line of somebody else
                known.append(datetime.fromisoformat(first[1].decode()).timestamp())
        return max(known, default=0.0)


def rotation_problem(path: str) -> str | None:
    """Why files could not be rotated here, in one sentence, or None."""
    if os.access(Path(path).resolve().parent, os.W_OK | os.X_OK):
        return None
    return str(_cannot_rotate(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))))


def _cannot_rotate(path: str, error: OSError) -> Unavailable:
    if error.errno in NO_ROOM:
        return no_room(path, error)
    why = (error.strerror or str(error)).lower()
    return Unavailable(f"Cannot rotate {path}: {why}; let this user create files in its directory.")


def _names_of(real: Path, ending: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(real.name)}\.(\d{{8,}})-(\d{{8}}T\d{{6}}Z){ending}")


def _names(folder: Path) -> set[str]:
    """Read twice: one reading may miss, under both names, a file whose compressing ends meanwhile."""
    return _read(folder) | _read(folder)


def _read(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()


def _moved_at(text: str) -> float | None:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
