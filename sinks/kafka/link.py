"""Delivery at least once: one idempotent producer, served on the event loop.

librdkafka is asked for reports by `poll(0)` on trio's own thread, so there is one thread of ours, callbacks
are plain calls, and no record costs a switch. Many batches may be on their way; `Window` keeps their order.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import trio
from confluent_kafka import KafkaException, Producer
from trio.lowlevel import ParkingLot

from bridge.delivery.sink import Unavailable
from sinks.kafka.client import client
from sinks.kafka.errors import NOT_THE_BATCH, Acls, Trouble, delivery_trouble
from sinks.kafka.messages import Message
from sinks.kafka.voice import Voice
from sinks.kafka.window import LIMIT, Failure, Slot, Window

__all__ = ["Link", "Parcel"]

Parcel = tuple[int, Sequence[Message]]
"""The messages of the record at a position."""

_BUSY_SECONDS: Final = 0.002
_CROWDED_SECONDS: Final = 0.005
_CROWD: Final = 100
"""Messages on their way, of which many are reported at once: looking less often costs less."""
_WAITING_SECONDS: Final = 0.02
_IDLE_SECONDS: Final = 0.25
_QUIET_TICKS: Final = 500
_BURST: Final = 250
"""Messages handed over before others get the event loop again."""
PATIENCE_SECONDS: Final = 10.0
"""Without any report for so long, the worker is told that Kafka takes nothing."""
GRACE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 2.0
_FOLLOWS: Final = Trouble("order", "Kafka did not take an earlier batch; this one follows it.", certain=False)


class Link:
    """One producer and what is on its way.

    Args:
        configuration: for librdkafka, without its callbacks.
        voice: listens to it.
        acls: topics -> commands that give the rights, for the sentence about a missing one.

    Made in a thread: the client waits a second for a token where it needs one.
    """

    def __init__(self, configuration: dict[str, Any], voice: Voice, acls: Acls) -> None:
        callbacks = {"error_cb": voice.error, "logger": voice.logger}
        self.dead = False
        self._failure: Trouble | None = None
        self._producer = client(Producer, configuration | callbacks)
        self._voice = voice
        self._acls = acls
        self._window = Window()
        self._waiting: dict[trio.Event, Callable[[], bool]] = {}
        self._wake = ParkingLot()

    async def serve(self) -> None:
        """Serve reports and other callbacks until cancelled; one task for each link."""
        window, quiet = self._window, 0
        while True:
            delivered = window.delivered
            quiet = 0 if (moved := self._poll()) else quiet + 1
            if window.delivered != delivered:
                self._voice.calm()
                self._call_those_who_may_go_on()
            elif moved:
                self._call_all()
            with trio.move_on_after(self._delay(quiet)):
                await self._wake.park()

    def _delay(self, quiet: int) -> float:
        """Until the next look for reports, after so many looks in vain."""
        if not self._window.in_flight:
            return _IDLE_SECONDS
        if quiet >= _QUIET_TICKS:
            return _WAITING_SECONDS
        return _CROWDED_SECONDS if self._window.in_flight > _CROWD else _BUSY_SECONDS

    async def send(self, parcels: Sequence[Parcel], refused: dict[int, str], *, alone: bool) -> list[Slot]:
        """Hand records over, in order; one call at a time. What is on its way already is not sent twice.

        Args:
            parcels: in the order of the log.
            refused: gets position -> sentence of records that Kafka refuses for good.
            alone: no other batch was on its way when this call began.

        Raises:
            Unavailable: not all were handed over; whoever follows is refused until these come again.
        """
        await self._begin(parcels[0][0], alone=alone)
        window, slots, burst = self._window, list[Slot](), 0
        for position, messages in parcels:
            slot = window.slots.get(position)
            if slot is None:
                burst += len(messages)
                if burst > _BURST or window.in_flight + len(messages) > LIMIT:
                    burst = 0
                    await self._room(position, len(messages))
                slot = window.take(position, messages[0].topic, len(messages))
                for at, message in enumerate(messages):
                    if not self._produce(message, slot):
                        await self._insist(message, slot, unsent=len(messages) - at)
            if position <= window.singly_through and not await self._alone(slot, refused):
                continue
            slots.append(slot)
        self._wake.unpark()
        return slots

    async def settle(self, slots: Sequence[Slot]) -> None:
        """Wait until Kafka owns these.

        Cancelled, or after `Unavailable`, they stay on their way: when they come again, they are waited for.

        Raises:
            Unavailable: from the first of them that is not owned on, all must come again.
        """
        await self._wait(lambda: self._failed(slots) or not any(slot.left for slot in reversed(slots)))
        if self._failed(slots):
            self._give_up()
        self._window.forget(slot.position for slot in slots)

    def hold_back(self, first: int) -> None:
        """Records from this position on were not sent: none may overtake them."""
        window = self._window
        window.gap_at = first if window.gap_at is None else min(first, window.gap_at)

    async def close(self) -> None:
        """Give what is on its way a moment, then drop it. `serve` must have ended."""
        self.dead = True
        self._call_all()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close)

    def _close(self) -> None:
        try:
            if self._window.in_flight:
                self._producer.flush(_CLOSE_SECONDS)
                self._producer.purge()
                self._producer.flush(0.1)
        except KafkaException:
            pass  # a producer that has failed has nothing to wait for
        del self._producer  # the last reference: librdkafka's threads end here

    def _poll(self) -> bool:
        try:
            return self._producer.poll(0) > 0
        except KafkaException as error:
            self._fail(error.args[0])
            return True

    def _fail(self, error: Failure) -> None:
        """A fatal error: this producer will send nothing any more."""
        self.dead = True
        self._failure = delivery_trouble(error.name(), error.str(), "", self._acls)

    async def _begin(self, first: int, *, alone: bool) -> None:
        window = self._window
        self._check()
        if not window.may_begin(first, alone=alone):
            raise self._follows()
        if window.failed_at is not None:
            await self._wait(lambda: not window.in_flight)
        window.begin_again()

    async def _room(self, position: int, messages: int) -> None:
        window = self._window
        window.gap_at = position  # until we are back, whoever comes would overtake this record
        self._wake.unpark()
        await trio.lowlevel.checkpoint()
        await self._wait(lambda: window.in_flight + messages <= LIMIT or not window.in_flight)
        window.gap_at = None

    async def _insist(self, message: Message, slot: Slot, unsent: int) -> None:
        """Wait for room in librdkafka's queue; whoever follows is refused until this record is there."""
        self._window.gap_at = slot.position
        try:
            while not self._produce(message, slot):
                self._wake.unpark()
                await self._wait(partial(self._less_than, self._window.in_flight))
        except BaseException:
            # Nobody will report what librdkafka never got: the record counts as failed, and comes again.
            for _ in range(unsent):
                slot(_Unsent(), None)
            raise
        self._window.gap_at = None

    def _produce(self, message: Message, slot: Slot) -> bool:
        """Hand one message to librdkafka, which never waits; False when its queue is full."""
        try:
            self._producer.produce(
                message.topic, message.value, message.key, on_delivery=slot, headers=message.headers
            )
        except BufferError:
            return False
        except KafkaException as error:
            slot(error.args[0], None)
        return True

    def _less_than(self, in_flight: int) -> bool:
        return self._window.in_flight < in_flight

    async def _alone(self, slot: Slot, refused: dict[int, str]) -> bool:
        """Wait for one record that nothing else is sent with; False if Kafka refuses this very record."""
        window = self._window
        window.gap_at = slot.position + 1
        self._wake.unpark()
        await self._wait(lambda: not slot.left)
        window.gap_at = None
        if slot.error is None or slot.error.name() not in NOT_THE_BATCH:
            return True
        refused[slot.position] = (
            f"Kafka refuses this record for topic {slot.topic}: {slot.error.str()} ({slot.error.name()})."
        )
        window.forget((slot.position,))
        window.failed_at = None  # nothing was sent behind it
        return False

    def _failed(self, slots: Sequence[Slot]) -> bool:
        """Whether one of these, or one before them, has failed."""
        failed_at = self._window.failed_at
        return failed_at is not None and bool(slots) and failed_at <= slots[-1].position

    def _follows(self) -> Unavailable:
        """For a batch behind one that failed: why that did, as far as it is known."""
        trouble = self._voice.trouble or _FOLLOWS
        return Unavailable(trouble.sentence, reason=trouble.reason)

    def _give_up(self) -> NoReturn:
        """Say why; which records are to go one by one is settled with it."""
        window = self._window
        slot = window.slots.get(window.failed_at if window.failed_at is not None else -1)
        error = slot.error if slot is not None else None
        if error is None or error.name() in {"_UNSENT", "_PURGE_QUEUE", "_PURGE_INFLIGHT"}:
            raise self._follows()
        if error.name() in NOT_THE_BATCH:
            window.send_singly()
            raise Unavailable(
                f"Kafka refused a batch because of one record ({error.name()}); now they go one by one.",
                retry_after=0,
                reason="tooLarge",
            )
        trouble = delivery_trouble(
            error.name(), error.str(), slot.topic if slot is not None else "", self._acls
        )
        raise Unavailable(trouble.sentence, reason=trouble.reason)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; reports are progress, and without any the worker is told why.

        Raises:
            Unavailable: the connection is in trouble, or has been silent for long.
        """
        window, moved_at, delivered = self._window, trio.current_time(), self._window.delivered
        while True:
            self._check()
            if condition():
                return
            now = trio.current_time()
            if window.delivered != delivered:
                moved_at, delivered = now, window.delivered
            self._complain(now - moved_at)
            called = trio.Event()
            self._waiting[called] = condition
            try:
                with trio.move_on_after(GRACE_SECONDS):
                    await called.wait()
            finally:
                del self._waiting[called]

    def _call_those_who_may_go_on(self) -> None:
        """Reports come some hundred times a second: waking every task for each costs more than they do."""
        for called, condition in self._waiting.items():
            if condition():
                called.set()

    def _call_all(self) -> None:
        for called in self._waiting:
            called.set()

    def _complain(self, silent: float) -> None:
        trouble = self._voice.silence(silent)
        if silent >= (GRACE_SECONDS if trouble.certain else PATIENCE_SECONDS):
            raise Unavailable(trouble.sentence, reason=trouble.reason)

    def _check(self) -> None:
        if self.dead:
            trouble = self._failure or Trouble("closed", "The Kafka sink is closed.", certain=True)
            raise Unavailable(trouble.sentence, reason=trouble.reason)


class _Unsent:
    """In place of an error of librdkafka, for messages that it never got."""

    def name(self) -> str:
        """As `KafkaError`."""
        return "_UNSENT"

    def str(self) -> str:
        """As `KafkaError`."""
        return "not sent"
