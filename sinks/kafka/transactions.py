"""Delivery in transactions: the records of a batch and the place behind them, both or none.

What a timeout or a lost answer leaves open is never guessed. The producer is thrown away; a new one with the
same transactional id makes Kafka finish or abort what was open, and the cursor that Kafka then shows says
which of the two it was.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import trio
from confluent_kafka import KafkaError, KafkaException, Producer

from bridge.delivery.sink import Delivery, Resume, Unavailable
from bridge.errors import InvariantError
from bridge.logs import log
from sinks.kafka.client import client
from sinks.kafka.cursor import CursorStore, Unreadable
from sinks.kafka.ends import Aborted, Spoilt, superseded
from sinks.kafka.errors import Acls, delivery_trouble, shorten
from sinks.kafka.messages import Message
from sinks.kafka.place import Cursor, Place
from sinks.kafka.voice import Voice

__all__ = ["Transactions"]

_SLICE_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 8.0  # after which it is told that there is no answer
_INIT_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 45.0
_ABORT_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 3.0
_FULL_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 0.25


class Run(Protocol):
    """Runs in a thread what blocks for a second or some."""

    def __call__(self, function: Callable[..., Any], /, *arguments: Any) -> Awaitable[Any]:
        """Its result."""
        ...


class Transactions:
    """One transactional producer, and what Kafka is known to have.

    Args:
        configuration: librdkafka's, with the transactional id, without callbacks.
        store: where the cursor is kept.
        voice: listens to the producer.
        acls: topics -> commands that give the rights.
        run: runs blocking calls, one at a time.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        store: CursorStore,
        voice: Voice,
        acls: Acls,
        run: Run,
    ) -> None:
        callbacks = {"error_cb": voice.error, "logger": voice.logger}
        # A commit confirms all records at once; a report for each would copy its value.
        self._configuration = {**configuration, **callbacks, "delivery.report.only.error": True}
        self._id = str(configuration["transactional.id"])
        self._store = store
        self._voice = voice
        self._acls = acls
        self._run = run
        self._producer: Producer | None = None
        self._busy = False
        self._place = Place(self._id, Resume("", 0, 0), None)
        self._errors: list[tuple[str, str, str]] = []
        self._begun = 0.0
        self._timeout = int(configuration["transaction.timeout.ms"]) / 1000
        self._dropped: list[Producer] = []

    async def open(self, resume: Resume) -> Resume:
        """Read the cursor. Nobody is fenced yet: the place may be one that this log does not know.

        Returns:
            The place that Kafka has; the beginning of the given log when it has none.

        Raises:
            Unavailable: Kafka cannot be reached, or a right is missing.
        """
        self._place = Place(self._id, resume, await self._read())
        return self._place.resume

    async def deliver(
        self, batch: Delivery, parcels: Mapping[int, Sequence[Message]], refused: dict[int, str]
    ) -> None:
        """Commit the records and the place behind them.

        Args:
            batch: as it was handed out.
            parcels: position -> messages, of records that can be sent.
            refused: position -> sentence, of those that cannot; gets more of them.

        Raises:
            Unavailable: none of what is left is promised.
            Stopped: another instance has taken over.
        """
        await self._resolve()
        for position in [at for at in refused if at <= self._place.committed]:
            del refused[position]
        left = [r for r in batch.records if r.position in parcels and not self._place.has(r)]
        owned = [r for r in batch.records if self._place.has(r)]
        moves = not refused and batch.last_position > self._place.committed
        work = [left] if left or moves else []
        while work:
            chunk = work.pop(0)
            through = batch.last_position if not work else chunk[-1].position
            cursor = self._place.behind(through, [*owned, *chunk], refused)
            messages = [message for record in chunk for message in parcels[record.position]]
            try:
                await self._commit(messages, cursor)
            except Aborted as aborted:
                if not chunk or not aborted.one_by_one:
                    self._complain(aborted)
                # This one would go on with a sequence that the refused batch has torn.
                self._discard()
                if len(chunk) == 1:
                    name, text, topic = aborted.errors[0]
                    refused[chunk[0].position] = (
                        f"Kafka refuses this record for topic {topic}: {text} ({name})."
                    )
                else:
                    work[:0] = [chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]]
            else:
                owned += chunk

    async def serve(self) -> None:
        """Let the producer tell what it has to tell, while nothing else uses it; until cancelled."""
        while True:
            if self._producer is not None and not self._busy:
                try:
                    self._producer.poll(0)
                except KafkaException:
                    self._discard()
            await trio.sleep(_IDLE_SECONDS)

    async def close(self) -> None:
        """Let go. Between calls no transaction is open, unless its end is not known."""
        last = self._producer if self._place.open_ended else None
        self._discard()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_end, self._dropped, last)

    async def _resolve(self) -> None:
        """Find out what became of an open end, and have a producer. Raises as `Place.resolve`, too."""
        if self._place.open_ended:
            self._discard()
        if self._producer is not None:
            return
        try:
            lost = self._place.resolve(await self._take_over())
        except BaseException:
            self._discard()  # a producer is one whose cursor was held against ours
            raise
        if lost:
            log("error", "kafka lost the cursor of this sink; going on at the log's own", sink=self._id)

    async def _take_over(self) -> Cursor | None:
        """A new producer, which fences any other, and the cursor once everything older is finished."""
        self._discard()
        producer = self._producer = await self._alone(client, Producer, self._configuration)
        begun = trio.current_time()
        while True:
            try:
                await self._alone(producer.init_transactions, _SLICE_SECONDS)
                break
            except KafkaException as error:
                self._consider(error.args[0], late=self._late(begun, _INIT_SECONDS))
        return await self._read()

    async def _read(self) -> Cursor | None:
        try:
            return await self._alone(self._store.read)  # type: ignore[no-any-return]
        except Unreadable as error:
            raise Unavailable(f"Kafka: {error}.", reason="cursor") from error

    def _consider(self, error: KafkaError, *, late: bool) -> None:
        """Whether to go on with `init_transactions`."""
        trouble = self._voice.silence(_INIT_SECONDS)
        if not error.retriable():
            trouble = delivery_trouble(error.name(), error.str(), self._store.topic, self._acls)
        elif not late and not trouble.certain:
            return
        raise Unavailable(trouble.sentence, reason=trouble.reason)

    def _late(self, begun: float, limit: float) -> bool:
        """Whether an answer is overdue; long before that it is told what is waited for."""
        waited = trio.current_time() - begun
        if waited <= _PATIENCE_SECONDS:
            return False
        trouble = self._voice.silence(waited)
        self._voice.tell(trouble)
        return trouble.certain or waited > limit

    def _indefinite(self, error: KafkaError, what: str) -> Unavailable:
        """It is not known what became of the transaction; the next call finds out."""
        self._discard()
        why = self._voice.trouble.sentence.rstrip(".") if self._voice.trouble else shorten(error.str())
        return Unavailable(f"Kafka {what} ({why}); its cursor will be asked.", reason="indefinite")

    async def _commit(self, messages: Sequence[Message], cursor: Cursor) -> None:
        """One transaction. On return it is committed.

        Raises:
            Aborted: it is aborted.
            Unavailable: which of both is not known yet; `_resolve` will.
            Stopped: another instance has taken over.
        """
        await self._resolve()
        self._place.attempt(cursor)
        self._errors = []
        begun = trio.current_time()
        step: Callable[[], None] = lambda: self._transact(messages, cursor)  # noqa: E731
        while True:
            try:
                await self._alone(step)
            except KafkaException as error:
                problem = error.args[0]
                if problem.name() in {"_FENCED", "PRODUCER_FENCED"}:
                    self._fenced(error)
                if problem.txn_requires_abort():
                    await self._abort()
                if not problem.retriable() or self._late(begun, _COMMIT_SECONDS):
                    raise self._indefinite(problem, "did not say whether it has committed") from error
                step = self._commit_slice
            except Spoilt:
                await self._abort()
            else:
                self._place.settle(cursor)
                self._voice.calm()
                return

    async def _abort(self) -> None:
        """Abort what is open. Messages still on their way would end in a fatal error: they settle first.

        Raises:
            Aborted: it is done.
            Unavailable: it is not known.
        """
        begun = trio.current_time()
        while True:
            try:
                await self._alone(self._abort_slice)
            except KafkaException as error:
                if not error.args[0].retriable() or self._late(begun, _ABORT_SECONDS):
                    raise self._indefinite(error.args[0], "did not abort a transaction") from error
            else:
                self._place.give_up()
                raise Aborted(self._errors)

    def _fenced(self, error: KafkaException) -> None:
        """Another instance did it, or Kafka itself, if this transaction lasted longer than it may.

        Raises:
            Unavailable: Kafka may have; its cursor will be asked.
            Stopped: another instance did.
        """
        self._discard()
        if _now() - self._begun < self._timeout:
            raise superseded(self._id) from error
        raise Unavailable(
            "Kafka ended a transaction that took too long; its cursor will be asked.", reason="timeout"
        ) from error

    def _complain(self, aborted: Aborted) -> None:
        name, text, topic = aborted.errors[0] if aborted.errors else ("aborted", "no reason was given", "")
        trouble = delivery_trouble(name, text, topic, self._acls)
        if name in {"_MSG_TIMED_OUT", "aborted"} and self._voice.trouble is not None:
            trouble = self._voice.trouble
        raise Unavailable(trouble.sentence, reason=trouble.reason)

    async def _alone(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._busy = True
        try:
            return await self._run(self._dropping, function, *arguments)
        finally:
            self._busy = False

    def _discard(self) -> None:
        """Never use this producer again; what librdkafka does to end it may block, so a thread ends it."""
        if self._producer is not None:
            self._dropped.append(self._producer)
            self._producer = None

    def _dropping(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._dropped.clear()
        return function(*arguments)

    def _alive(self) -> Producer:
        if self._producer is None:
            raise InvariantError("A Kafka transaction was begun without a producer.")
        return self._producer

    def _transact(self, messages: Sequence[Message], cursor: Cursor) -> None:
        producer = self._alive()
        self._begun = _now()
        producer.begin_transaction()
        for message in messages:
            self._produce(producer, message)
        self._produce(producer, Message(self._store.topic, self._store.key, self._store.encode(cursor), []))
        producer.commit_transaction(_SLICE_SECONDS)

    def _produce(self, producer: Producer, message: Message) -> None:
        while True:
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    headers=message.headers,
                    on_delivery=self._report,
                )
            except BufferError:
                producer.poll(_FULL_SECONDS)
            except KafkaException as error:
                self._errors.append((error.args[0].name(), error.args[0].str(), message.topic))
                raise Spoilt from error
            else:
                return

    def _report(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._errors.append((error.name(), error.str(), message.topic()))

    def _commit_slice(self) -> None:
        self._alive().commit_transaction(_SLICE_SECONDS)

    def _abort_slice(self) -> None:
        producer = self._alive()
        producer.flush(_SLICE_SECONDS)
        producer.abort_transaction(_SLICE_SECONDS)


def _now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _end(dropped: list[Producer], unfinished: Producer | None) -> None:
    """End producers; a transaction is aborted, so that committed readers need not wait for its timeout."""
    if unfinished is not None:
        try:
            unfinished.flush(_CLOSE_SECONDS)
            unfinished.abort_transaction(_CLOSE_SECONDS)
        except KafkaException as error:
            log("info", "kafka transaction left open", why=shorten(error.args[0].str()))
    dropped.clear()
