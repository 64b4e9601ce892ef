"""librdkafka reduced to a queue: what the broker does with it is the test's to say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import msgspec
import trio
from confluent_kafka import KafkaException

from sinks.kafka import link as kafka_link
from sinks.kafka import transactions as kafka_transactions
from sinks.kafka.cursor import CursorStore, Unreadable
from sinks.kafka.place import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from sinks.kafka.window import Slot

_RECONNECT_SECONDS = 5


class Error:
    """As `KafkaError`."""

    def __init__(self, name: str, text: str = "as scripted") -> None:
        self._name, self._text = name, text

    def name(self) -> str:
        return self._name

    def str(self) -> str:
        return self._text


class Producer:
    """A queue.

    Attributes:
        configuration: what librdkafka would be told.
        waiting: positions and reports of messages that the broker has not seen.
        most: messages that waited at once.
        log: positions as the broker took them.
        takes: whether there is a broker.
        fails: position -> name of the error that it gets once.
        full: whether librdkafka's queue is.
        refuses: whether a broker that is not there is told as such, and not only silent.
    """

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.waiting: list[tuple[int, Slot]] = []
        self.most = 0
        self.log: list[int] = []
        self.takes = True
        self.fails: dict[int, str] = {}
        self.full = False
        self.refuses = False
        self._connects_at = 0.0

    def produce(self, _topic: str, _value: bytes, _key: bytes, *, on_delivery: Slot, headers: Any) -> None:
        del headers
        if self.full:
            raise BufferError
        self.waiting.append((on_delivery.position, on_delivery))
        self.most = max(self.most, len(self.waiting))

    def poll(self, _timeout: float) -> int:
        if not self.takes:
            self._complain()
            return 0
        waiting, self.waiting = self.waiting, []
        for position, slot in waiting:
            name = self.fails.pop(position, None)
            if name is None:
                self.log.append(position)
            slot(Error(name) if name else None, None)
        return len(waiting)

    def flush(self, _timeout: float) -> None: ...

    def purge(self) -> None: ...

    def _complain(self) -> None:
        """As often as the real one, which tries to connect and says each time that it cannot."""
        if not self.refuses or trio.current_time() < self._connects_at:
            return
        self._connects_at = trio.current_time() + _RECONNECT_SECONDS
        text = (
            "b:9092/1: Connect to ipv4#1.2.3.4:9092 failed: Connection refused (after 0ms in state CONNECT)"
        )
        self.configuration["error_cb"](Error("_TRANSPORT", text))
        self.configuration["logger"].log(logging.ERROR, "FAIL %s", text)


def install(patch: pytest.MonkeyPatch) -> list[Producer]:
    """Let links make producers of this kind; returns those that are made."""
    made: list[Producer] = []

    def make(configuration: dict[str, Any]) -> Producer:
        made.append(Producer(configuration))
        return made[-1]

    patch.setattr(kafka_link, "Producer", make)
    return made


class TransactionBroker:
    """What a broker makes of transactions; installs itself as the one of all transactional producers.

    Attributes:
        away: whether no call is answered.
        log: positions that were committed.
        cursor: that was committed last.
        alive: producers that were not let go.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.log: list[int] = []
        self.cursor: Cursor | None = None
        self.alive = WeakSet[TransactionalProducer]()
        patch.setattr(kafka_transactions, "Producer", lambda _: TransactionalProducer(self))
        patch.setattr(CursorStore, "read", lambda _: self.read())

    def answer(self) -> None:
        if self.away:
            raise KafkaException(_NoAnswer("_TIMED_OUT"))

    def read(self) -> Cursor | None:
        if self.away:
            raise Unreadable("no answer")
        return self.cursor

    def commit(self, messages: Sequence[tuple[bytes, Mapping[str, bytes]]]) -> None:
        *records, (cursor, _) = messages
        self.log += [int(headers["resourceVersion"]) for _, headers in records]
        self.cursor = msgspec.json.decode(cursor, type=Cursor)


class TransactionalProducer:
    """librdkafka's, reduced to what is open."""

    def __init__(self, broker: TransactionBroker) -> None:
        self._broker = broker
        self._open: list[tuple[bytes, Mapping[str, bytes]]] = []
        broker.alive.add(self)

    def init_transactions(self, _timeout: float) -> None:
        self._broker.answer()

    def begin_transaction(self) -> None:
        self._open = []

    def produce(self, _topic: str, value: bytes, _key: bytes, *, headers: Any, on_delivery: Any) -> None:
        del on_delivery
        self._open.append((value, dict(headers)))

    def commit_transaction(self, _timeout: float) -> None:
        self._broker.answer()
        self._broker.commit(self._open)

    def abort_transaction(self, _timeout: float) -> None:
        self._broker.answer()

    def flush(self, _timeout: float) -> None: ...

    def poll(self, _timeout: float) -> int:
        return 0


class _NoAnswer(Error):
    """As librdkafka's, of a call that may be made again."""

    def retriable(self) -> bool:
        return True

    def txn_requires_abort(self) -> bool:
        return False
