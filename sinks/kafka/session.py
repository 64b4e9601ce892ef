"""One open Kafka sink: topics looked at, one client, records composed and handed to it."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio

from bridge.delivery.sink import Context, Delivery, Rejected, Reopen, Resume, Stopped, Unavailable
from bridge.errors import InvariantError
from bridge.faults import crash_point
from bridge.logs import log
from bridge.secret import SecretError
from sinks.kafka.admin import Broken
from sinks.kafka.client import message_max_bytes, transactional
from sinks.kafka.cursor import CursorStore
from sinks.kafka.keeper import Keeper, rehearse
from sinks.kafka.link import Link, Parcel
from sinks.kafka.messages import Composer, Refused
from sinks.kafka.options import KafkaOptions
from sinks.kafka.plan import Plan
from sinks.kafka.topics import name_problem
from sinks.kafka.transactions import Transactions
from sinks.kafka.voice import Voice

__all__ = ["CredentialsChanged", "Session", "problems"]

T = TypeVar("T")
_BURST: Final = 200
_OLD_TOKEN_SECONDS: Final = 60.0
_CREDENTIALS: Final = ("authentication", "tls")


class CredentialsChanged(Reopen):
    """Kafka refuses us, and there are other credentials now: the sink must be opened anew with them."""


class Session:
    """One open Kafka sink.

    Args:
        options: what is configured.
        nursery: where the client is served; `close` ends that.
    """

    def __init__(self, options: KafkaOptions, nursery: trio.Nursery) -> None:
        self._options = options
        self._nursery = nursery
        self._limiter = trio.CapacityLimiter(1)
        self._serving = trio.CancelScope()
        self._keeper: Keeper | None = None
        self._watching = trio.CancelScope()
        self._plan: Plan | None = None
        self._composer: Composer | None = None
        self._voice: Voice | None = None
        self._credentials: list[bytes] = []
        self._link: Link | None = None
        self._transactions: Transactions | None = None
        self._order = trio.StrictFIFOLock()
        self._calls = 0

    async def open(self, resume: Resume, context: Context) -> Resume:
        """See `Kafka.open`."""
        await self.close()
        plan = self._plan = Plan(self._options, context)
        wanted = plan.wanted_first()
        for name in wanted.names:
            problem = name_problem(name)
            if problem is not None:
                raise Stopped(f"Kafka cannot have this topic: {problem}.")
        try:
            options = self._options
            self._composer = Composer(
                plan.topics,
                options.on_delete,
                options.on_too_large,
                context.content_type,
                message_max_bytes(options.properties),
            )
            self._voice, self._credentials = plan.voice(), plan.credentials()
            self._keeper = Keeper(plan, self._voice, self._composer.limits, self._composer.streams)
            await self._keeper.check_first(wanted, delivered=resume.position > 0 and not context.fresh)
            if options.transactional:
                resume = await self._begin_transactions(plan, resume)
            else:
                await self._new_link(plan)
            self._watching = trio.CancelScope()
            self._nursery.start_soon(_until, self._watching, self._keeper.watch)
        except SecretError as error:
            raise Unavailable(f"Kafka: {error}.", reason="secret") from error
        except OSError as error:
            raise Unavailable(f"Kafka: a file of `tls` cannot be read: {error}.", reason="secret") from error
        return resume

    async def deliver(self, batch: Delivery) -> None:
        """See `Kafka.deliver`."""
        plan, composer = self._plan, self._composer
        if plan is None or composer is None:
            raise InvariantError("A Kafka sink was asked to deliver before it was opened.")
        self._look_at_credentials(plan)
        crash_point("sink.begin")
        refused: dict[int, str] = {}
        try:
            await self._deliver(plan, composer, batch, refused)
        except SecretError as error:
            raise Unavailable(f"Kafka: {error}.", reason="secret") from error
        crash_point("sink.written")
        if refused:
            raise Rejected(
                {at: refused[r.position] for at, r in enumerate(batch.records) if r.position in refused}
            )

    async def _deliver(
        self, plan: Plan, composer: Composer, batch: Delivery, refused: dict[int, str]
    ) -> None:
        if self._transactions is not None:
            parcels = await self._parcels(composer, batch, refused)
            await self._transactions.deliver(batch, dict(parcels), refused)
        else:
            await self._pipeline(plan, composer, batch, refused)

    def _look_at_credentials(self, plan: Plan) -> None:
        """A client keeps the credentials that it was made with; rotated ones want a new client.

        Raises:
            CredentialsChanged: what Kafka refuses is not what the files say now.
        """
        trouble = self._voice.trouble if self._voice is not None else None
        if trouble is None or trouble.reason not in _CREDENTIALS:
            return
        with suppress(SecretError, OSError):
            aged = plan.token is not None and plan.token.age > _OLD_TOKEN_SECONDS
            if aged or plan.credentials() != self._credentials:
                raise CredentialsChanged("Kafka's credentials have changed: connecting anew with them.")

    async def _pipeline(
        self, plan: Plan, composer: Composer, batch: Delivery, refused: dict[int, str]
    ) -> None:
        """Send behind what is on its way already, and wait until these are owned."""
        alone = not self._calls
        self._calls += 1
        try:
            async with self._order:
                try:
                    parcels = await self._parcels(composer, batch, refused)
                    link = await self._living_link(plan, alone=alone)
                except BaseException:
                    if self._link is not None:
                        self._link.hold_back(batch.records[0].position)
                    raise
                slots = [] if not parcels else await link.send(parcels, refused, alone=alone)
            await link.settle(slots)
        finally:
            self._calls -= 1

    async def _parcels(self, composer: Composer, batch: Delivery, refused: dict[int, str]) -> list[Parcel]:
        """The messages of a batch, for topics that are there and take them."""
        parcels = await _compose(composer, batch, refused)
        if self._keeper is not None and await self._keeper.look_at(parcels, composer.control):
            refused.clear()
            parcels = await _compose(composer, batch, refused)
        return parcels

    async def close(self) -> None:
        """End the client within some seconds; what it has not delivered comes again."""
        self._watching.cancel()
        self._serving.cancel()
        link, self._link = self._link, None
        transactions, self._transactions = self._transactions, None
        if link is not None:
            await link.close()
        if transactions is not None:
            await transactions.close()

    @property
    def _limits(self) -> list[int]:
        return list(self._composer.limits.values()) if self._composer is not None else []

    async def _blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks for some seconds at most, one at a time, in a thread."""
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)

    async def _begin_transactions(self, plan: Plan, resume: Resume) -> Resume:
        configuration = plan.producer(self._limits)
        configuration |= transactional(plan.id, configuration)
        store = CursorStore(plan.shared(), plan.cursor_topic, plan.id, plan.voice(quiet=True))
        self._transactions = Transactions(
            configuration, store, self._voice or plan.voice(), plan.acls, self._blocking
        )
        self._serving = trio.CancelScope()
        self._nursery.start_soon(_until, self._serving, self._transactions.serve)
        return await self._transactions.open(resume)

    async def _living_link(self, plan: Plan, *, alone: bool) -> Link:
        """The link, made anew after a fatal error; only for who cannot overtake what the old one had."""
        if self._link is not None and self._link.dead and alone:
            link, self._link = self._link, None
            self._serving.cancel()
            await link.close()
            log("info", "kafka producer is made anew", sink=plan.context.name)
        if self._link is None and alone:
            await self._new_link(plan)
        if self._link is None:
            raise Unavailable(
                "The Kafka producer is being made anew; this batch follows others.", reason="order"
            )
        return self._link

    async def _new_link(self, plan: Plan) -> None:
        voice = self._voice or plan.voice()
        self._link = await self._blocking(Link, plan.producer(self._limits), voice, plan.acls)
        self._serving = trio.CancelScope()
        self._nursery.start_soon(_until, self._serving, self._link.serve)
        await trio.lowlevel.checkpoint()


async def problems(options: KafkaOptions, context: Context) -> Sequence[str]:
    """See `Kafka.problems`."""
    plan = Plan(options, context)
    wanted = plan.wanted_first()
    wrong = [f"{problem}." for problem in map(name_problem, wanted.names) if problem is not None]
    if wrong:
        return wrong
    try:
        found = await trio.to_thread.run_sync(rehearse, plan, wanted, abandon_on_cancel=True)
    except Broken as error:
        return [error.trouble.sentence]
    except SecretError as error:
        return [f"Kafka: {error}."]
    except Stopped as error:
        return [str(error)]
    return [*(trouble.sentence for trouble in found.troubles), *found.advice]


async def _compose(composer: Composer, batch: Delivery, refused: dict[int, str]) -> list[Parcel]:
    """The messages of all records; others get the event loop between bursts of them."""
    parcels: list[Parcel] = []
    for number, record in enumerate(batch.records, 1):
        if number % _BURST == 0:
            await trio.lowlevel.checkpoint()
        try:
            parcels.append((record.position, composer.compose(record)))
        except Refused as error:
            refused[record.position] = str(error)
    return parcels


async def _until(scope: trio.CancelScope, work: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await work()
