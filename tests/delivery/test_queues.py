"""A lane keeps the order of its keys, fills deliveries, and all lanes together stay within their room."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.record import Record
from bridge.delivery.limits import Limits
from bridge.delivery.queues import LaneQueues
from tests.delivery.fakes import PODS, change


def record(position: int, key: str, size: int = 1) -> Record:
    return Record(position, b"x" * size, key, "", "", change(position), PODS)


def queues(records: int = 3, size: int = 10, delay: float = 0, window: int = 8, room: int = 30) -> LaneQueues:
    return LaneQueues(Limits(records, size, delay, 4, window, room))


STEPS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 12), st.booleans()), max_size=60)


@given(STEPS)
def test_each_lane_hands_out_what_was_put_into_it_in_order_within_all_limits(
    steps: list[tuple[str, int, bool]],
) -> None:
    lanes = queues()
    put, taken = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    outstanding = list[list[Record]]()

    def take() -> None:
        for lane in range(4):
            if lanes.due_at(lane) is None:
                continue
            batch = list(lanes.take(lane, 0))
            assert 1 <= len(batch) <= 3
            assert len(batch) == 1 or sum(len(one.value) for one in batch) <= 10
            assert {lanes.lane_of(one) for one in batch} == {lane}
            outstanding.append(batch)
            for one in batch:
                taken[one.key].append(one.position)

    for position, (key, size, drain) in enumerate(steps, 1):
        one = record(position, key, size)
        while not lanes.has_room(one):
            take()
            lanes.done(outstanding.pop(0))
        lanes.put(one, 0)
        put[key].append(position)
        assert lanes.records <= 8
        assert lanes.bytes <= 30
        if drain:
            take()
    while any(lanes.due_at(lane) is not None for lane in range(4)):
        take()
    for batch in outstanding:
        lanes.done(batch)
    assert taken == put
    assert (lanes.records, lanes.bytes) == (0, 0)


def test_a_lane_that_is_not_full_is_due_when_its_oldest_record_has_waited() -> None:
    lanes = queues(records=2, delay=5)
    lane = lanes.put(record(1, "a"), now=10)
    assert lanes.due_at(lane) == 15
    lanes.put(record(2, "a"), now=12)
    assert lanes.due_at(lane) == float("-inf"), "it is full"
    lanes.put(record(3, "a"), now=13)
    lanes.take(lane, now=14)
    assert lanes.due_at(lane) == 19, "what is left was in a full queue, and waits from now on"
    assert lanes.due_at((lane + 1) % 4) is None


def test_a_record_larger_than_all_room_is_let_in_alone() -> None:
    lanes = queues()
    assert lanes.has_room(record(1, "a", 500))
    lanes.put(record(1, "a", 500), 0)
    assert not lanes.has_room(record(2, "b", 1))
