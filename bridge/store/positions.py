"""The checks of a sink's position that every log makes. No I/O here."""

from collections.abc import Mapping

from bridge.errors import InvariantError, StateError
from bridge.store.contract import LogIdentity

__all__ = ["check_acknowledgement", "check_cursor", "check_kept"]


def check_acknowledgement(sink: str, before: int | None, position: int, end: int) -> None:
    """A cursor only moves forward, and only over what was handed out.

    Raises:
        InvariantError: else.
    """
    if before is None:
        raise InvariantError(f"sink {sink} acknowledges position {position}, but was not opened")
    if position < before:
        raise InvariantError(f"sink {sink} acknowledges position {position} after {before}")
    if position > max(before, end):
        raise InvariantError(f"sink {sink} acknowledges position {position}, but the log ends at {end}")


def check_cursor(
    identity: LogIdentity,
    incarnations: Mapping[int, int],
    end: int,
    log_id: str,
    incarnation: int,
    position: int,
) -> None:
    """A cursor that was kept outside came from this log, and from this life of it.

    Args:
        identity: of this log.
        incarnations: of each opening that this log remembers, by number: what follows the last record before.
        end: position of the newest record.
        log_id: of the cursor.
        incarnation: of the cursor.
        position: of the cursor.

    Raises:
        StateError: else.
    """
    advice = "set onStateLoss: resync on the sink to go on with a fresh snapshot, or bring that state back"
    if log_id != identity.log_id:
        raise StateError(
            f"the sink's destination was fed from another log ({log_id}, not {identity.log_id}): {advice}"
        )
    bound = min([next_ - 1 for number, next_ in incarnations.items() if number > incarnation], default=end)
    if incarnation not in incarnations or position > bound:
        raise StateError(
            f"the sink's destination is at position {position} of opening {incarnation}, "
            f"which this log does not know (its state was restored from an older copy?): {advice}",
        )


def check_kept(after: int, trimmed_to: int) -> None:
    """What follows a position is still there.

    Raises:
        StateError: else.
    """
    if after < trimmed_to:
        raise StateError(
            f"a sink asks for what follows position {after}, but the log keeps nothing before {trimmed_to}: "
            "what lies between was owned by every sink once, so its cursor is from an older copy",
        )
