"""Portions of a snapshot: together they are all of it, each object once, in whatever order pages come."""

import random

from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Event
from bridge.changes.reconcile import object_key
from bridge.runtime.portions import Portion


def event(name: str, size: int) -> Event:
    return Event("ADDED", "n", name, f"u-{name}", "1", b"x" * size)


@given(
    sizes=st.dictionaries(
        st.text("abc", min_size=1, max_size=4), st.integers(0, 50), min_size=1, max_size=40
    ),
    room=st.integers(-10, 200),
    page=st.integers(1, 7),
    dice=st.none() | st.randoms(use_true_random=False),
)
def test_portions_are_all_of_a_snapshot_and_each_object_once(
    sizes: dict[str, int], room: int, page: int, dice: random.Random | None
) -> None:
    taken: list[str] = []
    after, full = b"", True
    while full:
        names = sorted(sizes)
        if dice is not None:
            dice.shuffle(names)
        portion, left = Portion(after), room
        before = len(taken)
        for begin in range(0, len(names), page):
            part = portion.take([event(name, sizes[name]) for name in names[begin : begin + page]], left)
            left -= sum(len(one.object) for one in part)
            taken += [one.name for one in part]
        assert all(portion.covers(event(name, 0)) for name in taken[before:])
        assert len(taken) > before or not portion.full, "there is always progress"
        after, full = portion.through, portion.full
    assert sorted(taken) == sorted(sizes)


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    room=st.integers(0, 200),
    page=st.integers(1, 7),
)
def test_a_portion_in_order_is_never_larger_than_the_room_but_for_one_object(
    sizes: list[int], room: int, page: int
) -> None:
    events = [event(f"{number:03}", size) for number, size in enumerate(sizes)]
    portion, left, taken = Portion(object_key("n", "")), room, list[Event]()
    for begin in range(0, len(events), page):
        part = portion.take(events[begin : begin + page], left)
        left -= sum(len(one.object) for one in part)
        taken += part
    assert len(taken) == 1 or sum(len(one.object) for one in taken) <= room
