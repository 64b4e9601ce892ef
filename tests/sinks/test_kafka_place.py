"""What Kafka has of the log is known or asked for, never guessed; no cursor passes a refused record."""

from uuid import UUID

import pytest

from bridge.changes.change import Change, StreamInfo
from bridge.changes.envelope import Bridge, Renderer
from bridge.delivery.sink import Resume, Stopped
from bridge.secret import Secret
from sinks.kafka.cursor import CursorStore
from sinks.kafka.ends import Moved
from sinks.kafka.place import Cursor, Place
from sinks.kafka.sink import Kafka
from tests.sinks.kafka_support import record

GIVEN = Resume("log", 7, 40)
FOUND = Cursor("log", 6, 30, "theirs")


def opened(found: Cursor | None = FOUND) -> Place:
    """Opened, and the transactional id taken over."""
    place = Place("id", GIVEN, found)
    assert not place.resolve(found)
    return place


def test_a_sink_goes_on_where_kafka_is_or_from_the_beginning_of_the_log() -> None:
    assert opened().resume == Resume("log", 6, 30)
    assert opened(None).resume == Resume("log", 7, 0)


def test_a_place_that_kafka_had_before_is_not_taken_for_one_of_this_log() -> None:
    """After a rollback other records stand at the same positions."""
    assert opened().committed == -1
    assert not opened().has(record(30))


@pytest.mark.parametrize(("committed", "position"), [(True, 50), (False, -1)])
def test_an_open_end_is_what_kafka_shows_of_it(*, committed: bool, position: int) -> None:
    place = opened()
    tried = place.behind(50, [], {})
    place.attempt(tried)
    assert place.open_ended
    assert not place.resolve(tried if committed else FOUND)
    assert not place.open_ended
    assert place.committed == position
    assert place.resume == Resume("log", 7 if committed else 6, 50 if committed else 30)


def test_two_attempts_at_one_place_are_told_apart() -> None:
    place = opened()
    assert place.behind(50, [], {}) != place.behind(50, [], {})


def test_a_cursor_that_is_neither_ours_nor_tried_is_another_instance() -> None:
    place = opened()
    place.attempt(place.behind(50, [], {}))
    with pytest.raises(Stopped, match="Another instance has taken over the transactional id id"):
        place.resolve(Cursor("log", 9, 60, "other"))


def test_what_kafka_finished_after_the_opening_has_the_sink_opened_anew() -> None:
    with pytest.raises(Moved):
        Place("id", GIVEN, FOUND).resolve(Cursor("log", 6, 35, "theirs"))


def test_a_cursor_that_kafka_lost_is_told_once() -> None:
    place = opened()
    assert place.resolve(None)
    assert not place.resolve(None)


def test_a_cursor_stays_before_a_refused_record_and_names_what_is_owned_behind_it() -> None:
    place = opened()
    cursor = place.behind(50, [record(41), record(43)], {42: "too large"})
    assert (cursor.position, cursor.also) == (41, (record(43).id,))
    place.attempt(cursor)
    place.settle(cursor)
    assert [at for at in range(40, 50) if place.has(record(at))] == [40, 41, 43]


@pytest.mark.parametrize("largest", [None, 20_000])
def test_a_cursor_behind_a_batch_whose_first_record_is_refused_fits_into_a_message(
    largest: int | None,
) -> None:
    properties = {} if largest is None else {"message.max.bytes": Secret(value=b"%d" % largest)}
    sink = Kafka("b:9092", "t", delivery="transactional", properties=properties)
    assert sink.max_records == (5000 if largest is None else 100)
    stream = StreamInfo("s" * 63, "", "v1", "pods", "Pod")
    change = Change(
        "ADDED", "snapshot", 1, "ns", "n", str(UUID(int=1)), "9" * 10, 0, b"{}", {"snapshot": "a" * 16}
    )
    made = Renderer(Bridge("c", str(UUID(int=2))), stream).render(change, 2)
    assert made is not None
    owned = [made] * (sink.max_records - 1)
    cursor = opened().behind(sink.max_records, owned, {1: "refused"})
    assert len(cursor.also) == len(owned)
    assert len(CursorStore.encode(cursor)) < sink.most_message_bytes - 1000
