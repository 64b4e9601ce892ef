"""How a transaction can end, beside a commit and not knowing it. No I/O here."""

from collections.abc import Sequence
from typing import Final

from bridge.delivery.sink import Reopen, Stopped
from sinks.kafka.errors import NOT_THE_BATCH

__all__ = ["Aborted", "Moved", "Spoilt", "superseded"]

_TAKEN_BACK: Final = {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}


class Aborted(Exception):
    """The transaction was aborted, for certain; `errors` are the messages', with name, words and topic."""

    def __init__(self, errors: Sequence[tuple[str, str, str]]) -> None:
        super().__init__(errors)
        # An abort takes back what waits, and that may be reported before what it was for.
        self.errors = sorted(errors, key=lambda error: error[0] in _TAKEN_BACK)

    @property
    def one_by_one(self) -> bool:
        """Whether a single record may have spoilt it."""
        return any(name in NOT_THE_BATCH for name, _, _ in self.errors)


class Moved(Reopen):
    """The place in the log is another one than `open` has told: the sink must be opened anew."""


class Spoilt(Exception):
    """The client itself refused a message, so the transaction must be aborted."""


def superseded(name: str) -> Stopped:
    """Another instance uses the same transactional id."""
    return Stopped(
        f"Another instance has taken over the transactional id {name}: stop one of the two, "
        "or give their clusters or sinks different names."
    )
