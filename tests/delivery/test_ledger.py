"""A cursor is the contiguous acknowledged position, whatever the order of the acknowledgements."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.delivery.ledger import Ledger
from bridge.errors import InvariantError


class AgainstANaiveModel(RuleBasedStateMachine):
    """The model keeps every position from the start on and whether it is done."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(0)
        self.done: list[bool] = []
        self.spans: dict[int, range] = {}

    def acknowledged(self) -> int:
        return self.done.index(False) if False in self.done else len(self.done)

    @rule(length=st.integers(1, 5))
    def take(self, length: int) -> None:
        begin = len(self.done)
        self.done += [False] * length
        self.ledger.take(begin + length)
        self.spans[begin + length] = range(begin, begin + length)

    @rule(length=st.integers(0, 5))
    def pass_over(self, length: int) -> None:
        self.done += [True] * length
        self.ledger.pass_over(len(self.done))

    @precondition(lambda self: self.spans)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.spans)))
        for index in self.spans.pop(position):
            self.done[index] = True
        self.ledger.settle(position)

    @rule()
    def rewind(self) -> None:
        assert self.ledger.rewind() == self.acknowledged()
        del self.done[self.acknowledged() :]
        self.spans.clear()

    @invariant()
    def same_mark(self) -> None:
        assert self.ledger.acknowledged == self.acknowledged()
        assert self.ledger.reached == len(self.done)


TestAgainstANaiveModel = AgainstANaiveModel.TestCase


def test_a_million_records_behind_a_stuck_one_need_no_memory_once_they_are_settled() -> None:
    ledger = Ledger(0)
    ledger.take(1)
    ledger.pass_over(1_000_000)
    for position in range(1_000_001, 1_001_000):
        ledger.take(position)
        ledger.settle(position)
    assert ledger.acknowledged == 0
    assert ledger.outstanding == 1
    ledger.settle(1)
    assert ledger.acknowledged == 1_000_999


def test_what_was_never_taken_cannot_be_settled() -> None:
    ledger = Ledger(5)
    with pytest.raises(InvariantError, match="without being on its way"):
        ledger.settle(6)
    ledger.take(9)
    with pytest.raises(InvariantError, match="without being on its way"):
        ledger.settle(8)


def test_nothing_is_settled_twice() -> None:
    ledger = Ledger(0)
    ledger.take(1)
    ledger.take(2)
    ledger.settle(2)
    with pytest.raises(InvariantError, match="without being on its way"):
        ledger.settle(2)


def test_positions_never_go_back() -> None:
    ledger = Ledger(5)
    with pytest.raises(InvariantError, match="taken after"):
        ledger.take(5)
    with pytest.raises(InvariantError, match="passed over after"):
        ledger.pass_over(4)
