"""A receiver that refuses who we are, whatever is sent: told once, as each record becomes a dead letter."""

from http import HTTPStatus
from typing import Final

from bridge.logs import Incidents, Logger, log

__all__ = ["Unwelcome"]

_IN_A_ROW: Final = 3
_OF_US: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Unwelcome:
    """Counts refusals of one receiver that follow each other.

    Attributes:
        sink: its name in the log.
    """

    def __init__(self, logger: Logger = log) -> None:
        self.sink = ""
        self._incidents = Incidents(logger)
        self._in_a_row = 0

    def answered(self, status: int, sentence: str) -> None:
        """Told of each answer that settles something.

        Args:
            status: of the answer.
            sentence: what is said of a refusal, "" where there is none.
        """
        if status not in _OF_US:
            self._in_a_row = 0
            self._incidents.end("unwelcome", "the receiver accepts who we are", sink=self.sink)
            return
        self._in_a_row += 1
        if self._in_a_row >= _IN_A_ROW:
            self._incidents.report(
                "unwelcome",
                "error",
                "the receiver refuses who we are, so no record arrives: renew `auth`; with `onReject: halt` "
                "the sink stops instead and keeps its records in order",
                sink=self.sink,
                reason=sentence,
            )
