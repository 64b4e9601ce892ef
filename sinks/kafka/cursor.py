"""Where Kafka keeps the cursor of a transactional sink: one compacted topic of one partition.

Everything of `CursorStore` blocks and is called in a thread.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bridge.secret import SecretError
from sinks.kafka.client import client
from sinks.kafka.place import Cursor
from sinks.kafka.voice import Voice

__all__ = ["CursorStore", "Unreadable"]

_SECONDS: Final = 10.0
_SLICE_SECONDS: Final = 0.2
_FIRST_LOOK: Final = 200
_WIDER: Final = 20


class Unreadable(Exception):
    """The cursor cannot be read now; one sentence says why."""


class CursorStore:
    """Where the cursor is kept.

    Attributes:
        topic: its topic.
        key: of its messages.
    """

    def __init__(self, configuration: Mapping[str, Any], topic: str, name: str, voice: Voice) -> None:
        """`configuration` is librdkafka's for any client; `name` is the transactional id."""
        self.topic = topic
        self.key = name.encode()
        self._configuration = dict(configuration) | {
            "error_cb": voice.error,
            "logger": voice.logger,
            # Nothing is committed under this group: a consumer must have one.
            "group.id": name,
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            "isolation.level": "read_committed",
            "enable.partition.eof": "true",
            # The end is behind a control record, at which a broker would wait for more.
            "fetch.wait.max.ms": "10",
            "auto.offset.reset": "earliest",
        }

    @staticmethod
    def encode(cursor: Cursor) -> bytes:
        """The message's value."""
        return msgspec.json.encode(cursor)

    def read(self) -> Cursor | None:
        """The newest committed cursor, or None when there is none.

        After `init_transactions`, which ends what an earlier instance has left open, it is the last one;
        before, what is still open is not seen.

        Raises:
            Unreadable: Kafka does not give it now.
        """
        try:
            consumer = client(Consumer, self._configuration)
        except SecretError as error:
            raise Unreadable(f"the cursor topic {self.topic} cannot be read: {error}") from error
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, 0), timeout=_SECONDS)
            look, newest = _FIRST_LOOK, None
            while True:
                start = max(low, high - look)
                newest = self._newest(consumer, start, high)
                if newest is not None or start == low:
                    break
                look *= _WIDER
        except KafkaException as error:
            brokers = self._configuration["bootstrap.servers"]
            raise Unreadable(
                f"the cursor topic {self.topic} cannot be read from {brokers}: {error.args[0].str()}"
            ) from error
        finally:
            consumer.close()
        if newest is None:
            return None
        try:
            return msgspec.json.decode(newest, type=Cursor)
        except msgspec.MsgspecError as error:
            raise Unreadable(f"the newest record of topic {self.topic} is not ours: {error}") from error

    def _newest(self, consumer: Consumer, start: int, end: int) -> bytes | None:
        newest: bytes | None = None
        if start >= end:
            return None
        consumer.assign([TopicPartition(self.topic, 0, start)])
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(_SLICE_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is None:
                if message.key() == self.key and message.value() is not None:
                    newest = message.value()
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - that is its name
                raise KafkaException(error)
            elif (message.offset() or 0) >= end:
                return newest
        brokers = self._configuration["bootstrap.servers"]
        raise Unreadable(
            f"the end of the cursor topic {self.topic} at {brokers} was not reached within {_SECONDS:.0f} s"
        )
