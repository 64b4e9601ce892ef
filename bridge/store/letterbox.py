"""What the runtime may ask of a log about dead letters; part of its contract. No I/O here."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from bridge.changes.deadletter import DeadLetter

__all__ = ["Letters", "Redriven"]


class Redriven(msgspec.Struct, frozen=True):
    """What a redrive did.

    Attributes:
        redriven: letters that stand in the log again, addressed to their sink.
        superseded: letters left alone, because something newer is known of their object.
        foreign: letters left alone, because their stream is not one of those that were named.
    """

    redriven: int
    superseded: int
    foreign: int = 0


class Letters(Protocol):
    """Dead letters, kept within `state.maxBytes`. Part of `Log`; all calls raise as `append` does."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them; durable on return.

        A record of that sink at the same position is the same letter: after a crash between `bury` and
        `acknowledge` it is refused again, and then only its reason, attempts and `last_at` change. So is one
        that was redriven and is refused at its new position: it has its old number, and is counted on.

        Raises:
            LettersFull: none was kept: their share of `state.maxBytes` is used up, or the disk is full.
        """
        ...

    async def dead_letters(self, sink: str | None, after: int, limit: int) -> Sequence[DeadLetter]:
        """At most `limit` letters with a number greater than `after`, in order; of one sink or of all."""
        ...

    async def purge(self, sink: str | None, numbers: Collection[int] | None) -> int:
        """Forget letters (None for all of the sink, or of all sinks); returns how many."""
        ...

    async def redrive(
        self,
        sink: str,
        numbers: Collection[int] | None,
        *,
        force: bool,
        streams: Collection[str] | None = None,
    ) -> Redriven:
        """Put letters into the log again, oldest first, addressed to their sink and with their old ids.

        Only letters of these `streams` (None for all): what is known of the objects of a stream that is not
        watched any more grows old, and says nothing about what its sink was sent since.

        One transaction takes a letter out of the dead letters and appends it (many letters take several).
        Without `force` a letter whose object is known at another uid or a newer revision is left alone, as
        is one whose object is gone (but for a deletion: that one when the object is back): an older state
        must not be put over a newer one.

        Raises:
            Refused: the sink is not open, or there is no room; letters not yet redriven stay letters.
        """
        ...

    def letter_counts(self) -> Mapping[str, int]:
        """Dead letters kept, by sink; cheap enough for every scrape."""
        ...
