"""A sink is handed exactly the records it wants, in order, cut to the size it wants."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Batch, Change
from bridge.changes.envelope import Format, Renderer
from bridge.delivery.handout import HandOut, Selection
from bridge.delivery.sink import Delivery
from tests.delivery.fakes import BRIDGE, NODES, PODS, MemoryLog, change

TYPES = ["ADDED", "MODIFIED", "DELETED", "RESYNC"]


def hand_out(
    selection: Selection | None = None,
    form: Format = Format.NATIVE,
    *,
    records: int = 1000,
    size: int = 1 << 20,
) -> HandOut:
    return HandOut("out", BRIDGE, selection or Selection(), form, max_records=records, max_bytes=size)


def deliveries(
    out: HandOut, batches: Sequence[Batch], replay_through: int = 0, after: int = 0
) -> list[Delivery]:
    return list(out.deliveries(batches, after, replay_through))


def told(found: Sequence[Delivery], member: str) -> list[str]:
    return [json.loads(record.value).get(member, "-") for one in found for record in one.records]


def names(found: Sequence[Delivery]) -> list[str]:
    return told(found, "name")


BATCHES = st.lists(
    st.tuples(
        st.sampled_from([PODS, NODES]),
        st.lists(st.tuples(st.sampled_from(TYPES), st.integers(0, 400)), min_size=1, max_size=6),
        st.integers(0, 3),
    ),
    max_size=5,
)


@given(BATCHES, st.integers(1, 4), st.integers(1, 900), st.sampled_from(list(Format)), st.integers(0, 20))
def test_deliveries_hold_every_wanted_record_once_in_order_within_the_limits(
    shape: list[tuple[object, list[tuple[str, int]], int]],
    records: int,
    size: int,
    form: Format,
    replay_through: int,
) -> None:
    log, number, wanted, total = MemoryLog(), 0, [], 0
    for stream, items, gap in shape:
        assert stream is PODS or stream is NODES
        changes: list[Change] = []
        for type_, pad in items:
            number += 1
            changes.append(change(number, type_, pad))
        batch = log.append(changes, stream, gap)
        total += len(changes)
        renderer = Renderer(BRIDGE, stream, form)
        if stream is PODS:
            for position, item in enumerate(changes, batch.position):
                record = renderer.render(item, position)
                if item.type != "ADDED" and record is not None:
                    wanted.append(record)
    out = hand_out(
        Selection(streams={"pods"}, types={"MODIFIED", "DELETED"}), form, records=records, size=size
    )
    found = deliveries(out, log.batches, replay_through)
    assert [record for delivery in found for record in delivery.records] == wanted
    assert out.filtered == total - len(wanted)
    for delivery in found:
        assert delivery.size == sum(len(record.value) for record in delivery.records)
        assert len(delivery.records) <= records
        assert delivery.size <= size or len(delivery.records) == 1
        positions = [record.position for record in delivery.records]
        assert all(position <= delivery.last_position for position in positions)
        assert delivery.replay == any(position <= replay_through for position in positions)
    reached = [delivery.last_position for delivery in found]
    assert reached == sorted(set(reached))
    assert (reached[-1] if reached else 0) == log.end()


def test_both_the_stream_and_the_sink_must_want_a_type() -> None:
    log = MemoryLog()
    log.append([change(n, type_) for n, type_ in enumerate(TYPES)])
    selection = Selection(types={"ADDED", "DELETED"}, stream_types={"pods": {"DELETED", "MODIFIED"}})
    found = deliveries(hand_out(selection), log.batches)
    assert told(found, "type") == ["DELETED", "RESYNC"]


@pytest.mark.parametrize("types", [None, set[str](), {"ADDED"}])
def test_no_filter_of_types_hides_a_gap(types: set[str] | None) -> None:
    log = MemoryLog()
    log.append([change(1, "RESYNC")])
    found = deliveries(hand_out(Selection(types=types)), log.batches)
    assert told(found, "type") == ["RESYNC"]


def test_nothing_is_rendered_before_it_is_asked_for() -> None:
    log = MemoryLog()
    log.append([change(1), change(2, size=500), change(3, "RESYNC")])
    broken = log.append([Change("RESYNC", "resync", 0, "", "", "", "", 0, b"", None)])
    iterator = hand_out(size=300).deliveries(log.batches, 0, 0)
    assert names([next(iterator)]) == ["n1"]
    assert broken.position == 4


def test_a_sink_that_wants_nothing_of_it_still_learns_how_far_it_is() -> None:
    log = MemoryLog()
    log.append([change(1), change(2)], NODES)
    (delivery,) = deliveries(hand_out(Selection(streams={"pods"})), log.batches)
    assert delivery.records == []
    assert delivery.last_position == 2


def test_what_is_addressed_to_one_sink_is_handed_to_no_other() -> None:
    log = MemoryLog()
    for audience in ("", "out", "another"):
        batch = log.append([change(len(log.batches))])
        log.batches[-1] = msgspec.structs.replace(batch, audience=audience)
    out = hand_out()
    assert names(deliveries(out, log.batches)) == ["n0", "n1"]
    assert out.filtered == 1


@given(st.integers(0, 8))
def test_a_cursor_within_a_batch_hands_out_what_is_behind_it(after: int) -> None:
    log = MemoryLog()
    log.append([change(n) for n in range(1, 6)])
    log.append([change(n) for n in range(6, 9)])
    ahead = [batch for batch in log.batches if batch.last_position > after]
    found = deliveries(hand_out(), ahead, after=after)
    assert names(found) == [f"n{n}" for n in range(after + 1, 9)]
    assert [record.position for one in found for record in one.records] == list(range(after + 1, 9))
