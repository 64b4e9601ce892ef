"""The place in the log travels with the records, and Kafka's word about it wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from confluent_kafka import KafkaException, Producer

from bridge.delivery.sink import Context, Overlap, Rejected, Resume, Stopped, Unavailable
from bridge.secret import Secret
from sinks.kafka import transactions as kafka_transactions
from sinks.kafka.ends import Aborted, Moved
from sinks.kafka.place import Cursor
from sinks.kafka.sink import Kafka
from tests.sinks.kafka_support import (
    START,
    TIMEOUT,
    context,
    create_topic,
    delivery,
    fresh,
    opened,
    read,
    read_now,
    record,
    sink,
    span,
)

if TYPE_CHECKING:
    from tests.components.kafka import Broker


@pytest.fixture
def topic() -> str:
    return fresh("topic")


@pytest.fixture
def where() -> Context:
    return context()


def transactional(kafka: Broker, topic: str, **options: Any) -> Kafka:
    return sink(kafka.bootstrap, topic, delivery="transactional", **options)


async def positions(kafka: Broker, topic: str) -> list[int]:
    return [message.position for message in await read(kafka.bootstrap, topic)]


def test_transactions_follow_each_other() -> None:
    assert (Kafka("b", "t", delivery="transactional").overlap, Kafka("b", "t").overlap) == (
        Overlap.NONE,
        Overlap.PIPELINE,
    )


async def test_a_restart_goes_on_where_kafka_is_not_where_the_log_was(
    kafka: Broker, topic: str, where: Context
) -> None:
    """The log's own cursor was never durable: what Kafka has must not be sent again."""
    async with transactional(kafka, topic) as first:
        assert await first.open(START, where) == START
        await first.deliver(span(1, 30))
        await first.deliver(span(31, 50))
    async with transactional(kafka, topic) as second:
        assert await second.open(Resume("log", 2, 0), where) == Resume("log", 1, 50)
        await second.deliver(span(51, 60))
        assert await second.open(Resume("log", 3, 20), where) == Resume("log", 2, 60)
    assert await positions(kafka, topic) == list(range(1, 61))


async def test_a_log_that_kafka_does_not_know_is_told_not_decided(
    kafka: Broker, topic: str, where: Context
) -> None:
    """The worker holds this against its log: exit code 3, or a new snapshot."""
    async with opened(transactional(kafka, topic), where) as first:
        await first.deliver(span(1, 5))
    async with transactional(kafka, topic) as second:
        assert await second.open(Resume("another-log", 1, 3), where) == Resume("log", 1, 5)
        await second.deliver(span(1, 3))  # where so decided, it goes on with the new log
        assert await second.open(Resume("another-log", 2, 0), where) == Resume("another-log", 1, 3)
    assert await positions(kafka, topic) == [1, 2, 3, 4, 5, 1, 2, 3]


async def test_a_kafka_without_a_cursor_says_that_it_has_nothing_and_gets_what_follows(
    kafka: Broker, topic: str, where: Context
) -> None:
    """The worker then tells that the destination was emptied, and goes on where the log is."""
    async with transactional(kafka, topic) as emptied:
        assert await emptied.open(Resume("log", 2, 5), where) == Resume("log", 2, 0)
        await emptied.deliver(span(6, 8))
        assert await emptied.open(Resume("log", 2, 5), where) == Resume("log", 2, 8)
    assert await positions(kafka, topic) == [6, 7, 8]


async def test_a_log_that_went_back_is_not_skipped_to_its_head(
    kafka: Broker, topic: str, where: Context
) -> None:
    """After a rollback new records stand at positions that Kafka has from the old future: they are new."""
    async with opened(transactional(kafka, topic), where) as first:
        await first.deliver(span(1, 100))
    async with opened(transactional(kafka, topic), where, Resume("log", 1, 40)) as second:
        await second.deliver(span(41, 60))
    assert await positions(kafka, topic) == [*range(1, 101), *range(41, 61)]


async def test_a_second_instance_fences_the_first(kafka: Broker, topic: str, where: Context) -> None:
    async with opened(transactional(kafka, topic), where) as first:
        await first.deliver(span(1, 5))
        async with opened(transactional(kafka, topic), where) as second:
            await second.deliver(span(6, 7))
            with pytest.raises(Stopped, match="Another instance has taken over the transactional id"):
                await first.deliver(span(6, 9))
            await second.deliver(span(8, 8))
    assert await positions(kafka, topic) == list(range(1, 9))


async def test_who_is_refused_for_its_place_fences_nobody(kafka: Broker, topic: str, where: Context) -> None:
    """A second bridge with a state of its own: its worker ends it after `open`."""
    async with opened(transactional(kafka, topic), where) as first:
        await first.deliver(span(1, 5))
        async with transactional(kafka, topic) as second:
            assert await second.open(Resume("another-log", 1, 0), where) == Resume("log", 1, 5)
        await first.deliver(span(6, 7))
    assert await positions(kafka, topic) == list(range(1, 8))


async def begun_by_another(kafka: Broker, where: Context) -> Producer:
    """An open transaction with a cursor, of an earlier instance."""
    name = f"kube-bridge.c.{where.name}"
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": name})
    await trio.to_thread.run_sync(producer.init_transactions, 20)
    producer.begin_transaction()
    producer.produce(f"{name}.cursor", msgspec.json.encode(Cursor("log", 1, 3, "mark")), name)
    await trio.to_thread.run_sync(producer.flush, 20)
    return producer


async def test_what_an_earlier_instance_commits_behind_our_look_is_not_sent_again(
    kafka: Broker, topic: str, where: Context
) -> None:
    """Its transaction is still open when the cursor is read, and that keeps nobody waiting."""
    async with transactional(kafka, topic) as second:
        await second.open(START, where)  # makes the topics
        first = await begun_by_another(kafka, where)
        assert await second.open(START, where) == START
        await trio.to_thread.run_sync(first.commit_transaction, 20)
        with pytest.raises(Moved, match="asked anew"):
            await second.deliver(span(1, 5))
        assert await second.open(START, where) == Resume("log", 1, 3)
        await second.deliver(span(4, 5))
    assert await positions(kafka, topic) == [4, 5]


async def test_a_refused_record_stays_before_the_cursor_until_it_is_a_dead_letter(
    kafka: Broker, topic: str, where: Context
) -> None:
    """A crash before the dead letter is kept repeats the refusal, and no record that was owned."""
    batch = delivery(record(1), record(2, pad=1_000_000), record(3), record(4))
    async with opened(transactional(kafka, topic), where) as first:
        with pytest.raises(Rejected) as refused:
            await first.deliver(batch)
        assert list(refused.value.reasons) == [1]
    async with transactional(kafka, topic) as second:
        assert (await second.open(START, where)).position == 1
        with pytest.raises(Rejected) as refused:
            await second.deliver(delivery(*batch.records[1:], record(5)))
        assert list(refused.value.reasons) == [0]
        await second.deliver(span(6, 7))
        assert (await second.open(START, where)).position == 7
    assert await positions(kafka, topic) == [1, 3, 4, 5, 6, 7]


async def test_what_only_the_broker_refuses_is_found_and_the_others_are_committed(
    kafka: Broker, topic: str, where: Context
) -> None:
    limit = {"max.message.bytes": "20000", "cleanup.policy": "compact"}
    create_topic(kafka.bootstrap, topic, **limit)
    properties = {"compression.type": Secret(value=b"none")}
    async with opened(transactional(kafka, topic, properties=properties), where) as open_sink:
        session = open_sink._runtime.session
        assert session is not None
        assert session._composer is not None
        session._composer.limits.clear()  # as if the limit had been lowered a moment ago
        with pytest.raises(Rejected, match="MSG_SIZE_TOO_LARGE") as refused:
            await open_sink.deliver(
                delivery(record(1), record(2), record(3, pad=50_000), record(4), record(5))
            )
        assert list(refused.value.reasons) == [2]
        await open_sink.deliver(span(6, 8))
    assert await positions(kafka, topic) == [1, 2, 4, 5, 6, 7, 8]


def test_an_abort_is_explained_by_its_cause_not_by_what_it_took_back() -> None:
    """Seen on a busy machine: the cursor's message was taken back before the culprit's error was told."""
    taken_back = ("_PURGE_QUEUE", "Local: Purged in queue", "cursor")
    culprit = ("MSG_SIZE_TOO_LARGE", "Broker: Message size too large", "t")
    assert Aborted([taken_back, culprit, taken_back]).errors == [
        culprit,
        taken_back,
        taken_back,
    ]


class Cancelled(Producer):
    """A producer during whose call, the first of its kind, the delivery is cancelled."""

    during: str
    commits = False
    scope: trio.CancelScope | None = None

    def init_transactions(self, timeout: float = 0) -> None:
        super().init_transactions(timeout)
        self._cancel("init")

    def commit_transaction(self, timeout: float = 0) -> None:
        if Cancelled.scope is None or Cancelled.during != "commit":
            super().commit_transaction(timeout)
            return
        if self.commits:
            super().commit_transaction(30)
        self._cancel("commit")
        raise KafkaException(_Retriable())

    @staticmethod
    def _cancel(what: str) -> None:
        scope = Cancelled.scope
        if scope is not None and Cancelled.during == what:
            Cancelled.scope = None
            trio.from_thread.run_sync(scope.cancel)


async def cancelled(open_sink: Kafka, first: int, last: int) -> None:
    """A delivery that is cut off where `Cancelled` says."""
    with trio.CancelScope() as scope:
        Cancelled.scope = scope
        await open_sink.deliver(span(first, last))
    assert scope.cancelled_caught


@pytest.mark.parametrize("commits", [True, False])
async def test_a_cancelled_delivery_is_resolved_not_repeated(
    kafka: Broker, topic: str, where: Context, monkeypatch: pytest.MonkeyPatch, *, commits: bool
) -> None:
    monkeypatch.setattr(Cancelled, "during", "commit", raising=False)
    monkeypatch.setattr(Cancelled, "commits", commits)
    monkeypatch.setattr(kafka_transactions, "Producer", Cancelled)
    async with opened(transactional(kafka, topic), where) as open_sink:
        await open_sink.deliver(span(1, 3))
        await cancelled(open_sink, 4, 6)
        await open_sink.deliver(span(4, 9))
        assert (await open_sink.open(START, where)).position == 9
    assert await positions(kafka, topic) == list(range(1, 10))


async def test_a_delivery_that_is_cancelled_before_it_asks_for_the_cursor_asks_the_next_time(
    kafka: Broker, topic: str, where: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cancelled, "during", "init", raising=False)
    monkeypatch.setattr(kafka_transactions, "Producer", Cancelled)
    async with transactional(kafka, topic) as second:
        await second.open(START, where)  # makes the topics
        first = await begun_by_another(kafka, where)
        assert await second.open(START, where) == START
        await trio.to_thread.run_sync(first.commit_transaction, 20)
        await cancelled(second, 1, 5)
        with pytest.raises(Moved, match="asked anew"):
            await second.deliver(span(1, 5))
        assert await second.open(START, where) == Resume("log", 1, 3)
    assert await positions(kafka, topic) == []


class Treacherous(Producer):
    """A producer whose commits end without an answer, after or before they were done."""

    commits: bool
    armed = True

    def commit_transaction(self, timeout: float = 0) -> None:
        if not Treacherous.armed:
            super().commit_transaction(timeout)
            return
        Treacherous.armed = False
        if self.commits:
            super().commit_transaction(30)
        raise KafkaException(_Indefinite())


class _Indefinite:
    def name(self) -> str:
        return "_TIMED_OUT"

    def str(self) -> str:
        return "no answer"

    def retriable(self) -> bool:
        return False

    def txn_requires_abort(self) -> bool:
        return False


class _Retriable(_Indefinite):
    def retriable(self) -> bool:
        return True


@pytest.mark.parametrize("commits", [True, False])
async def test_an_open_end_is_asked_for_never_guessed(
    kafka: Broker, topic: str, where: Context, monkeypatch: pytest.MonkeyPatch, *, commits: bool
) -> None:
    monkeypatch.setattr(Treacherous, "commits", commits, raising=False)
    monkeypatch.setattr(Treacherous, "armed", True)
    monkeypatch.setattr(kafka_transactions, "Producer", Treacherous)
    async with opened(transactional(kafka, topic), where) as open_sink:
        with pytest.raises(Unavailable, match="did not say whether") as unknown:
            await open_sink.deliver(span(1, 4))
        assert unknown.value.reason == "indefinite"
        await open_sink.deliver(span(1, 6))
        await open_sink.deliver(span(7, 8))
    assert await positions(kafka, topic) == list(range(1, 9))


class Sleeping(Producer):
    """A producer whose machine sleeps, once, until Kafka has ended the transaction."""

    where: tuple[str, str] | None

    def commit_transaction(self, timeout: float = 0) -> None:
        if Sleeping.where is not None:
            self.flush(TIMEOUT)
            read_now(*Sleeping.where)  # which waits for the end of what is open
            Sleeping.where = None
        super().commit_transaction(timeout)


async def test_a_transaction_that_lasted_too_long_is_no_other_instance(
    kafka: Broker, topic: str, where: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sleeping, "where", (kafka.bootstrap, topic), raising=False)
    monkeypatch.setattr(kafka_transactions, "Producer", Sleeping)
    properties = {"transaction.timeout.ms": Secret(value=b"5000")}
    async with opened(transactional(kafka, topic, properties=properties), where) as open_sink:
        with pytest.raises(Unavailable, match="took too long"):
            await open_sink.deliver(span(1, 4))
        await open_sink.deliver(span(1, 4))
        await open_sink.deliver(span(5, 6))
    assert await positions(kafka, topic) == list(range(1, 7))


async def test_the_cursor_topic_must_be_compacted_and_of_one_partition(kafka: Broker, topic: str) -> None:
    where = context()
    create_topic(kafka.bootstrap, f"kube-bridge.c.{where.name}.cursor", partitions="2")
    problems = await transactional(kafka, topic).problems(where)
    assert any(
        "has 2 partitions; it must have one partition and cleanup.policy=compact" in p for p in problems
    )
    assert any("has cleanup.policy=delete; it must have" in p for p in problems)
    async with transactional(kafka, topic) as open_sink:
        with pytest.raises(Unavailable, match="must have one partition"):
            await open_sink.open(START, where)


async def test_the_cursor_is_found_behind_many_records(kafka: Broker, topic: str, where: Context) -> None:
    """The topic holds a record a transaction, and only its end is read."""
    async with opened(transactional(kafka, topic), where) as open_sink:
        for n in range(1, 260):
            await open_sink.deliver(span(n, n))
        assert (await open_sink.open(START, where)).position == 259
