"""A file, or a row of rotated ones, that holds each record once: a replay writes what is missing only.

Everything here blocks; it is called in a worker thread.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from threading import Lock
from typing import ClassVar, NamedTuple

from msgspec.structs import replace

from bridge.delivery.sink import Delivery, Resume, Unavailable
from sinks.jsonlines.appendfile import AppendFile
from sinks.jsonlines.filecursor import FileCursor, Place
from sinks.jsonlines.rotation import Rotate, Rotation, rotated_files
from sinks.jsonlines.tidying import Tidier
from sinks.jsonlines.trail import Trail

__all__ = ["FileOutput"]

_COPIED_AT_ONCE = 1 << 20


class _Match(NamedTuple):
    """Where a replay was found in what is written, and up to where it has gone on so far."""

    trail: Trail
    begin: int
    reached: int

    def chunks(self) -> Iterator[bytes]:
        for offset in range(self.begin, self.reached, _COPIED_AT_ONCE):
            yield self.trail.read(offset, min(_COPIED_AT_ONCE, self.reached - offset))


class FileOutput:
    """A file, and how much of a replay it holds already."""

    waits_for_reader: ClassVar[bool] = False

    def __init__(self, path: str, rotate: Rotate | None = None) -> None:
        """Open the file and, where it is rotated, begin to tidy up what was rotated.

        Raises:
            Unavailable: it cannot be opened now; one sentence says why.
        """
        self._path = path
        self._rotation = Rotation(path, rotate) if rotate else None
        self._file: AppendFile | None = None
        self._search = True  # the next batch may begin with what an earlier run has written
        self._suspect = False  # so may it after a write that could not be taken back
        self._match: _Match | None = None
        self._turn = Lock()  # a delivery and a reopening never meet
        self._place: Place | None = None  # where the file is, once it is known whose log it holds
        self._cursor = FileCursor(path)
        self._cursor.forget_without_file()
        self._open()
        self._tidier = Tidier(path, rotate) if rotate else None
        if self._tidier:
            self._tidier.start()

    def resume(self, given: Resume, sink: str) -> Resume:
        """Where to go on: what was given, or what is known beside the file; from now on that is kept."""
        self._place = Place(given.log_id, given.incarnation, given.position, sink)
        return self._cursor.resume(given, sink)

    def deliver(self, batch: Delivery) -> None:
        """Write and sync one batch, or what of it is missing.

        Raises:
            Unavailable: no room, or the file cannot be opened or rotated; nothing of the batch is left.
            OSError: the disk failed; the file must be opened anew.
        """
        with self._turn:
            self._deliver([record.value for record in batch.records], replay=batch.replay)
            if self._place is not None:
                self._place = replace(self._place, position=batch.last_position)
                self._cursor.write(self._place)

    def _deliver(self, values: list[bytes], *, replay: bool) -> None:
        file = self._current()
        data = b"\n".join((*values, b""))
        if self._search and (replay or self._suspect):
            self._look_for(file, values[0] + b"\n", replay=replay)
        self._search = False
        if self._match is None:
            self._append(file, data)
        else:
            self._go_on(file, self._match, data, replay=replay or self._suspect)
        self._suspect = False

    def reopen(self) -> None:
        """Let go of a file that was moved away; what cannot be opened now is said by the next delivery."""
        with self._turn, suppress(Unavailable):
            self._current()

    def close(self) -> None:
        """Close everything; waits for a block that is being compressed."""
        self._forget_match()
        if self._tidier:
            self._tidier.close()
        self._cursor.close()
        if self._file is not None:
            self._file.close()

    def _look_for(self, file: AppendFile, line: bytes, *, replay: bool) -> None:
        # A write of our own that went wrong is in the current file; what an earlier run wrote may be rotated.
        earlier = rotated_files(self._path) if self._rotation and replay else ()
        trail = Trail(file, earlier)
        found = trail.find_last(line)
        if found is None:
            trail.close()
        else:
            self._match = _Match(trail, found, found)

    def _go_on(self, file: AppendFile, match: _Match, data: bytes, *, replay: bool) -> None:
        """Write what of a replayed batch is missing.

        Only a replay that goes on to the end of the file is one. Where it breaks off before, its
        beginning was older and equal by chance (without ids, two records can be): it is written again.
        """
        present = match.trail.read(match.reached, len(data))
        if not replay or not data.startswith(present):
            file.append(chain(match.chunks(), (data,)))
            self._forget_match()
            return
        reached = match.reached + len(present)
        left = file.end - reached
        if len(present) < len(data):
            self._append(file, data[len(present) :])
        if left:
            self._match = match._replace(reached=reached)
        else:
            self._forget_match()

    def _append(self, file: AppendFile, data: bytes) -> None:
        if self._rotation and self._rotation.is_due(file, len(data)):
            file = self._rotate(file, self._rotation)
        file.append((data,))

    def _rotate(self, file: AppendFile, rotation: Rotation) -> AppendFile:
        rotation.move_away()
        self._file = None
        file.close()
        opened = self._open()
        if self._tidier:
            self._tidier.wake()
        return opened

    def _forget_match(self) -> None:
        if self._match is not None:
            self._match.trail.close()
            self._match = None

    def _current(self) -> AppendFile:
        """The file that the path names now, opened anew if that is another one or its end is unknown."""
        file = self._file
        if file is not None and file.sound and file.is_current():
            return file
        if file is not None:
            self._suspect = self._search = not file.sound
            self._forget_match()
            self._file = None
            file.close()
        return self._open()

    def _open(self) -> AppendFile:
        file = self._file = AppendFile.open(self._path)
        self._cursor.release()
        if self._rotation:
            self._rotation.opened(file)
        return file
