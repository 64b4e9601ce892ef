"""What every log asks before it keeps a dead letter or puts one back. No I/O here."""

from bridge.changes.change import Change, Type
from bridge.changes.identity import CONTROL_TYPES
from bridge.changes.reconcile import Known
from bridge.changes.revision import newer
from bridge.store.contract import LettersFull, Refused

__all__ = ["closed_to", "letters_full", "superseded"]


def superseded(change: Change, known: Known | None, epoch: int) -> bool:
    """Whether telling this now would put an older state over a newer one.

    Args:
        change: of a dead letter.
        known: what the inventory says of its object.
        epoch: how often the server's revisions went backwards until now.
    """
    if change.type in CONTROL_TYPES:
        return False
    if known is None:
        return change.type != Type.DELETED
    if known.uid != change.uid or change.type == Type.DELETED:
        return True
    return known.rv != change.rv and (change.epoch < epoch or newer(known.rv, change.rv))


def letters_full(share: int) -> LettersFull:
    """The share of the dead letters is used up."""
    return LettersFull(
        f"the dead letters have used up their share of state.maxBytes ({share >> 10} KiB): "
        "redrive or purge some, or raise state.maxBytes"
    )


def closed_to(sink: str) -> Refused:
    """What is addressed to a sink that holds back nothing would be trimmed before it comes back."""
    return Refused(f"sink {sink} is not open (parked, or not configured): resume it first")
