"""The topics of one open sink: looked at before records go there, and again and again while it is open.

A topic that is gone is made again where that is configured. The producer keeps what it has until then: it
never has the broker make one (`allow.auto.create.topics`).
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import Final

import trio

from bridge.delivery.sink import Stopped, Unavailable
from bridge.logs import Level, log
from bridge.secret import SecretError
from sinks.kafka.admin import Broken, Findings, Identity, Preflight, Wanted
from sinks.kafka.errors import Trouble, authorization, missing
from sinks.kafka.link import Parcel
from sinks.kafka.plan import Plan
from sinks.kafka.topics import CreateTopics
from sinks.kafka.voice import Voice

__all__ = ["Keeper", "inspect", "rehearse"]

_EVERY_SECONDS: Final = 5.0


class Keeper:
    """Looks after topics.

    Args:
        plan: names, rights and clients.
        voice: is told what is wrong with a topic, for whoever waits for it.
        limits: gets topic -> its `max.message.bytes`.
        sent: topic -> names of streams whose changes were sent to it; grows.
    """

    def __init__(
        self, plan: Plan, voice: Voice, limits: dict[str, int], sent: Mapping[str, Collection[str]]
    ) -> None:
        self._plan = plan
        self._voice = voice
        self._limits = limits
        self._sent = sent
        self._seen = plan.options.topics_seen
        self._data: set[str] = set()
        self._control: set[str] = set()
        self._trouble: Trouble | None = None
        self._delivered = False

    async def check_first(self, wanted: Wanted, *, delivered: bool) -> None:
        """As `check`, of topics that can be named before the first record.

        Args:
            wanted: these.
            delivered: whether the log says that this sink has delivered something before.

        Raises:
            Unavailable: records cannot go there now.
        """
        self._delivered = delivered
        await self._doubt(wanted)

    async def _doubt(self, wanted: Wanted) -> None:
        """As `check`; one that had to be made may have been there before, and not only be a first one."""
        unseen = set(wanted.names).difference(self._seen)
        made = await self.check(wanted)
        for name in sorted(unseen.intersection(made)) if self._delivered else ():
            self._say("warning", "kafka topic made; if there was one before, what was in it is gone", name)

    async def check(self, wanted: Wanted) -> Sequence[str]:
        """Look at topics, and make those that are missing if so configured.

        Returns:
            Those that were made.

        Raises:
            Unavailable: records cannot go there now.
        """
        if not wanted.names:
            return ()
        try:
            found, made = await self._inspect(wanted)
        except Broken as error:
            raise _unavailable(error.trouble) from error
        trouble = await self._take(found, made, wanted)
        if trouble is not None:
            raise _unavailable(trouble)
        self._data.update(wanted.data)
        self._control.update(wanted.control)
        return made

    async def look_at(self, parcels: Sequence[Parcel], control: set[str]) -> bool:
        """Look at topics that these records are the first for.

        Args:
            parcels: of one batch.
            control: which topics are control topics.

        Returns:
            Whether there were any: what they take was not known yet.

        Raises:
            Unavailable: records cannot go there now.
        """
        if self._trouble is not None:
            raise _unavailable(self._trouble)
        names = {messages[0].topic for _, messages in parcels} - self._data - self._control
        if names:
            # Namespaces come and go, and each new one has a topic that was never there.
            look = self.check if self._plan.topics.namespaced else self._doubt
            await look(self._plan.wanted(sorted(names - control), sorted(names & control)))
        return bool(names)

    async def watch(self) -> None:
        """See whether topics are still those that were looked at; until cancelled."""
        preflight: Preflight | None = None
        while True:
            await trio.sleep(_EVERY_SECONDS)
            names = self._plan.wanted(sorted(self._data), sorted(self._control)).names
            names = [name for name in names if name in self._seen]
            if not names:
                continue
            try:
                if preflight is None:
                    preflight = await trio.to_thread.run_sync(self._quiet, abandon_on_cancel=True)
                now = await trio.to_thread.run_sync(preflight.identities, names, abandon_on_cancel=True)
                await self._compare(now)
                limits = await trio.to_thread.run_sync(preflight.limits, names, abandon_on_cancel=True)
                self._hold_to(limits)
            except (Broken, Stopped, SecretError, OSError):
                if preflight is not None:
                    preflight.close()
                preflight = None  # the producer says what is wrong; its credentials may be new

    async def _compare(self, now: dict[str, Identity | None]) -> None:
        changed = {name for name, identity in now.items() if identity != self._seen[name]}
        if not changed and self._trouble is None:
            return
        # What keeps records from going somewhere may be seen of the topic, or of no topic at all.
        asked = changed if self._trouble is None else self._data | self._control
        wanted = self._plan.wanted(sorted(self._data & asked), sorted(self._control & asked))
        try:
            found, made = await self._inspect(wanted)
        except Broken as error:
            if error.trouble.reason in {"topic", "authorization"}:
                self._set(error.trouble)
        else:
            self._set(await self._take(found, made, wanted))

    def _hold_to(self, limits: Mapping[str, int]) -> None:
        """From now on; whoever has raised one may redrive dead letters without opening the sink anew."""
        for topic, limit in limits.items():
            if self._limits.get(topic, limit) != limit:
                log(
                    "info",
                    "kafka topic has another max.message.bytes",
                    sink=self._plan.context.name,
                    topic=topic,
                    bytes=limit,
                )
        self._limits |= limits

    def _set(self, trouble: Trouble | None) -> None:
        if trouble is None and self._voice.trouble == self._trouble:
            self._voice.trouble = None
        elif trouble is not None:
            self._voice.trouble = trouble
        self._trouble = trouble

    async def _inspect(self, wanted: Wanted) -> tuple[Findings, list[str]]:
        return await trio.to_thread.run_sync(
            inspect, self._plan, wanted, self._plan.options.create_topics, abandon_on_cancel=True
        )

    def _quiet(self) -> Preflight:
        """One whose connection is of no interest: the producer's own says what is wrong."""
        return _preflight(self._plan, quiet=True)

    async def _take(self, found: Findings, made: Sequence[str], wanted: Wanted) -> Trouble | None:
        """Tell what is new; what keeps records from going there."""
        if made:
            log("info", "kafka topics made", sink=self._plan.context.name, topics=made)
        for name, identity in found.identities.items():
            before = self._seen.get(name)
            if before is not None and before.id != identity.id:
                await self._tell_lost(name)
            elif before is not None and before.partitions != identity.partitions:
                log(
                    "warning",
                    "kafka topic has another number of partitions: a key may be in another one than before",
                    sink=self._plan.context.name,
                    topic=name,
                    partitions=identity.partitions,
                )
            self._seen[name] = identity
        if found.forbidden:
            return authorization(found.forbidden, self._plan.acls(found.forbidden))
        troubles = (*found.troubles, *(missing(name, wanted.how(name)) for name in found.missing))
        if trouble := next(iter(troubles), None):
            return trouble
        for advice in found.advice:
            log("warning", "kafka topic", sink=self._plan.context.name, advice=advice)
        self._limits |= found.limits
        return None

    async def _tell_lost(self, topic: str) -> None:
        context, streams = self._plan.context, self._streams_of(topic)
        event = "kafka topic is a new one: what was in the old one is gone"
        if streams and await context.lost(streams):
            log("error", f"{event}; a snapshot follows", sink=context.name, topic=topic, streams=streams)
        else:
            self._say("error", event, topic)

    def _streams_of(self, topic: str) -> list[str]:
        """Names of streams whose changes may be there; those that were not known at `open` have sent some."""
        known = self._plan.topics.streams_of(topic, self._plan.context.streams)
        return sorted({*known, *self._sent.get(topic, ())})

    def _say(self, level: Level, event: str, topic: str) -> None:
        context = self._plan.context
        commands = [
            f"kube-bridge snapshot --stream {name} --sink {context.name}" for name in self._streams_of(topic)
        ]
        advice = {"snapshot": "; ".join(commands)} if commands else {}
        log(level, event, sink=context.name, topic=topic, **advice)


def rehearse(plan: Plan, wanted: Wanted) -> Findings:
    """Look at topics, and ask whether what is missing could be made; blocks for some seconds at most.

    Raises:
        Broken: Kafka cannot be asked.
        Stopped: the client refuses its configuration.
    """
    with closing(_preflight(plan)) as preflight:
        return _rehearse(preflight, plan, wanted)


def _rehearse(preflight: Preflight, plan: Plan, wanted: Wanted) -> Findings:
    create, found = plan.options.create_topics, preflight.look(wanted)
    for name in found.missing:
        if create is None:
            found.troubles.append(missing(name, wanted.how(name)))
            continue
        try:
            preflight.create([name], wanted, create, rehearse=True)
        except Broken as error:
            if error.trouble.reason == "authorization":
                found.forbidden.append(name)
            else:
                found.troubles.append(error.trouble)
    if found.forbidden:
        found.troubles.append(authorization(found.forbidden, plan.acls(found.forbidden), lines=True))
    return found


def inspect(plan: Plan, wanted: Wanted, create: CreateTopics | None) -> tuple[Findings, list[str]]:
    """Look at topics, and make what is missing if so configured; blocks for some seconds at most.

    Returns:
        What was found, and the names that were made.

    Raises:
        Broken: Kafka cannot be asked, or refuses to make one.
        Stopped: the client refuses its configuration.
    """
    with closing(_preflight(plan)) as preflight:
        found = preflight.look(wanted)
        if not found.missing or create is None:
            return found, []
        made = preflight.create(found.missing, wanted, create)
        return preflight.look_for(found.missing, wanted), made


def _preflight(plan: Plan, *, quiet: bool = False) -> Preflight:
    return Preflight(plan.shared(), plan.voice(quiet=quiet), plan.options.bootstrap_servers, plan.acls)


def _unavailable(trouble: Trouble) -> Unavailable:
    return Unavailable(trouble.sentence, reason=trouble.reason)
