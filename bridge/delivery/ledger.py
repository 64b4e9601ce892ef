"""Which position of the log a sink has contiguously acknowledged. No I/O here.

Deliveries are taken in order and settled in any order; the mark moves only over what is settled. What is
outstanding is tracked, never what is done, so one stuck delivery and a wide filter need no memory.
"""

from bridge.errors import InvariantError

__all__ = ["Ledger"]


class Ledger:
    """The contiguous acknowledged position of one sink.

    A delivery is named by the position it reaches, filtered records included. Every misuse raises
    `InvariantError`: a cursor that passed what no destination owns would lose it.
    """

    __slots__ = ("_outstanding", "_reached", "_settled")

    def __init__(self, acknowledged: int) -> None:
        self._reached = acknowledged
        self._outstanding: dict[int, int] = {}  # position reached -> position before it, in order
        self._settled: set[int] = set()

    @property
    def acknowledged(self) -> int:
        """Everything up to and with this position is owned by the destination, or was passed over."""
        return next(iter(self._outstanding.values()), self._reached)

    @property
    def reached(self) -> int:
        """Everything up to and with this position was taken or passed over."""
        return self._reached

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
        if self._outstanding and position > self._reached:
            self.take(position)
            self.settle(position)
        self._reached = position

    def settle(self, position: int) -> bool:
        """The destination owns this delivery, or a policy that the user chose dropped it.

        Returns:
            Whether the acknowledged position moved.
        """
        if position not in self._outstanding or position in self._settled:
            raise InvariantError(f"Position {position} was settled without being on its way.")
        before = self.acknowledged
        self._settled.add(position)
        while (head := next(iter(self._outstanding), None)) in self._settled:
            self._settled.remove(head)
            del self._outstanding[head]
        return self.acknowledged != before

    def rewind(self) -> int:
        """Everything that is not acknowledged will be taken again.

        Returns:
            The acknowledged position, from which reading goes on.
        """
        self._reached = self.acknowledged
        self._outstanding.clear()
        self._settled.clear()
        return self._reached
