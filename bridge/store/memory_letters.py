"""Dead letters of a log in memory (`bridge.store.contract.Letters`)."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec
import trio

from bridge.changes.change import Change, StreamInfo
from bridge.changes.deadletter import DeadLetter
from bridge.store.checks import closed_to, letters_full
from bridge.store.group import batch_size
from bridge.store.letterbox import Redriven

__all__ = ["MemoryLetters"]


class MemoryLetters(ABC):
    """The part of a memory log that keeps dead letters.

    Args:
        limit: bytes of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._letters: dict[int, DeadLetter] = {}
        self._redriven: dict[int, DeadLetter] = {}
        self._numbered = 0

    @abstractmethod
    def _is_open(self, sink: str) -> bool: ...

    @abstractmethod
    def _put_back(self, stream: StreamInfo, sink: str, change: Change) -> int: ...

    @abstractmethod
    def _superseded(self, letter: DeadLetter) -> bool: ...

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See `Letters.bury`."""
        await trio.lowlevel.checkpoint()
        kept = {(old.sink, old.position): old for old in (*self._redriven.values(), *self._letters.values())}
        fresh: dict[int, DeadLetter] = {}
        numbered = self._numbered
        for letter in letters:
            old = kept.get((letter.sink, letter.position))
            if old is None:
                numbered += 1
                fresh[numbered] = msgspec.structs.replace(letter, number=numbered)
            else:
                fresh[old.number] = msgspec.structs.replace(
                    letter,
                    number=old.number,
                    first_at=old.first_at,
                    attempts=old.attempts + letter.attempts,
                )
        after = {**self._letters, **fresh}
        if batch_size([letter.change for letter in after.values()]) > self._limit:
            raise letters_full(self._limit)
        self._letters, self._numbered = after, numbered
        for number in fresh:
            self._redriven.pop(number, None)

    async def dead_letters(self, sink: str | None, after: int, limit: int) -> Sequence[DeadLetter]:
        """See `Letters.dead_letters`."""
        await trio.lowlevel.checkpoint()
        return [letter for letter in self._meant(sink, None) if letter.number > after][:limit]

    async def purge(self, sink: str | None, numbers: Collection[int] | None) -> int:
        """See `Letters.purge`."""
        await trio.lowlevel.checkpoint()
        meant = self._meant(sink, numbers)
        for letter in meant:
            del self._letters[letter.number]
        return len(meant)

    async def redrive(
        self,
        sink: str,
        numbers: Collection[int] | None,
        *,
        force: bool,
        streams: Collection[str] | None = None,
    ) -> Redriven:
        """See `Letters.redrive`."""
        await trio.lowlevel.checkpoint()
        if not self._is_open(sink):
            raise closed_to(sink)
        named = self._meant(sink, numbers)
        meant = [letter for letter in named if streams is None or letter.stream.name in streams]
        chosen = [letter for letter in meant if force or not self._superseded(letter)]
        for letter in chosen:
            position = self._put_back(letter.stream, sink, letter.change)
            # Should it be refused there once more, it is this letter.
            self._redriven[letter.number] = msgspec.structs.replace(letter, position=position)
            del self._letters[letter.number]
        return Redriven(len(chosen), len(meant) - len(chosen), len(named) - len(meant))

    def letter_counts(self) -> Mapping[str, int]:
        """See `Letters.letter_counts`."""
        return Counter(letter.sink for letter in self._letters.values())

    def _rename_letters(self, old: str, new: str) -> None:
        for letters in (self._letters, self._redriven):
            for number, letter in letters.items():
                if letter.stream.name == old:
                    stream = msgspec.structs.replace(letter.stream, name=new)
                    letters[number] = msgspec.structs.replace(letter, stream=stream)

    def _meant(self, sink: str | None, numbers: Collection[int] | None) -> list[DeadLetter]:
        return [
            letter
            for _, letter in sorted(self._letters.items())
            if (sink is None or letter.sink == sink) and (numbers is None or letter.number in numbers)
        ]
