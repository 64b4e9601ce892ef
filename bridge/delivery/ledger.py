"""Which position of the log a sink has contiguously acknowledged. No I/O here.

Deliveries are taken in order and settled in any order; the mark moves only over what is settled. What is
outstanding is tracked, never what is done, so one stuck delivery and a wide filter need no memory.
"""

from collections import OrderedDict

from bridge.errors import InvariantError

__all__ = ["Ledger"]


class Ledger:
    """The contiguous acknowledged position of one sink.

    A delivery is named by the position it reaches, filtered records included. Every misuse raises
    `InvariantError`: a cursor that passed what no destination owns would lose it.
    """

    __slots__ = ("_outstanding", "_reached")

    def __init__(self, acknowledged: int) -> None:
        self._reached = acknowledged
        # Position reached -> position reached before it was taken, in order. All that lies between two
        # neighbours is settled, so the mark is what was reached before the oldest one was taken.
        self._outstanding: OrderedDict[int, int] = OrderedDict()

    @property
    def acknowledged(self) -> int:
        """Everything up to and with this position is owned by the destination, or was passed over."""
        return next(iter(self._outstanding.values()), self._reached)

    @property
    def reached(self) -> int:
        """Everything up to and with this position was taken or passed over."""
        return self._reached

    @property
    def outstanding(self) -> int:
        """How many deliveries are on their way."""
        return len(self._outstanding)

    def take(self, position: int) -> None:
        """What lies between the position reached and this one, with it, is on its way in one delivery."""
        if position <= self._reached:
            raise InvariantError(f"Position {position} was taken after position {self._reached}.")
        self._outstanding[position] = self._reached
        self._reached = position

    def pass_over(self, position: int) -> None:
        """Nothing between the position reached and this one, with it, concerns this sink."""
        if position < self._reached:
            raise InvariantError(f"Position {position} was passed over after position {self._reached}.")
        self._reached = position

    def settle(self, position: int) -> None:
        """The destination owns this delivery, or a policy that the user chose dropped it."""
        if self._outstanding.pop(position, None) is None:
            raise InvariantError(f"Position {position} was settled without being on its way.")

    def rewind(self) -> int:
        """Everything that is not acknowledged will be taken again.

        Returns:
            The acknowledged position, from which reading goes on.
        """
        self._reached = self.acknowledged
        self._outstanding.clear()
        return self._reached
