"""librdkafka reduced to a queue: what the broker does with it is the test's to say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from sinks import kafka_link

if TYPE_CHECKING:
    import pytest

    from sinks.kafka_window import Slot

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
