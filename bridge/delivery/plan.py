"""What a worker is told: what is configured of its sink, and whom it asks and tells."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Final

from bridge.changes.change import StreamInfo
from bridge.changes.envelope import Bridge, Format
from bridge.delivery.breaker import Breaker
from bridge.delivery.handout import HandOut, Selection
from bridge.delivery.handover import LetterBox
from bridge.delivery.limits import Limits
from bridge.delivery.pacing import Backoff, Retry
from bridge.delivery.sink import Context, Located, Overlap, Sink, Sparing, no_snapshot, unlimited
from bridge.delivery.throttle import Throttle

__all__ = [
    "Batching",
    "Hooks",
    "Plan",
    "breaker_of",
    "context_of",
    "hand_out_of",
    "limits_of",
    "place_of",
]

_WINDOW_RECORDS: Final = 10_000
_FAILURES: Final = 5
"""Failures in a row, of two lanes or more, after which a sink with lanes is taken to be down."""


@dataclass(frozen=True, slots=True)
class Batching:
    """The `batch:` of a sink; None leaves it to the sink.

    Attributes:
        max_records: most records in one delivery.
        max_bytes: most bytes in one delivery.
        max_delay: seconds that a delivery which is not full waits for more.
    """

    max_records: int | None = None
    max_bytes: int | None = None
    max_delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is configured about one sink, beyond the sink itself.

    Attributes:
        name: the configured name; the cursor's name in the log.
        bridge: whose records these are.
        selection: which records it is handed.
        form: how they are rendered.
        retry: how tries are paced.
        batching: how much is handed over at once.
        throttle: a rate limit, perhaps shared with other sinks.
        window_bytes: most bytes that are handed out and not yet settled, where calls overlap.
        resync_on_state_loss: go on with a new snapshot when the destination knows a place that the log never
            gave out; else that ends the bridge.
    """

    name: str
    bridge: Bridge
    selection: Selection = field(default_factory=Selection)
    form: Format = Format.NATIVE
    retry: Retry = field(default_factory=Retry)
    batching: Batching = field(default_factory=Batching)
    throttle: Throttle | None = None
    window_bytes: int = 4 << 20
    resync_on_state_loss: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a worker asks and tells others.

    Attributes:
        letters: where refused records are buried; None halts the sink before them.
        streams: the streams that are known by now.
        on_state_loss: awaited with the sink's name, and names of streams or None for all, when its
            destination has lost what it had, or before it goes on from its own cursor although its
            destination is elsewhere: has a new snapshot made for it.
    """

    letters: LetterBox | None = None
    streams: Callable[[], Sequence[StreamInfo]] = tuple
    on_state_loss: Callable[[str, Collection[str] | None], Awaitable[None]] | None = None


def limits_of(sink: Sink, plan: Plan) -> Limits:
    """How much of everything a sink may hold, by its own word and by what is configured."""
    batching = plan.batching
    usual = sink.default_records if isinstance(sink, Sparing) else sink.max_records
    overlapping = sink.overlap is not Overlap.NONE
    return Limits(
        records=min(batching.max_records or usual, sink.max_records),
        bytes=min(batching.max_bytes or sink.max_bytes, sink.max_bytes),
        delay=batching.max_delay,
        concurrency=sink.concurrency if overlapping else 1,
        window_records=_WINDOW_RECORDS,
        window_bytes=plan.window_bytes,
    )


def context_of(plan: Plan, hooks: Hooks, limits: Limits, *, fresh: bool) -> Context:
    """Where a sink stands when it is opened now."""
    wanted = plan.selection.streams
    return Context(
        plan.name,
        plan.bridge.cluster,
        plan.bridge.cluster_uid,
        [stream for stream in hooks.streams() if wanted is None or stream.name in wanted],
        plan.form.content_type,
        limits.records,
        admit=unlimited if plan.throttle is None else plan.throttle.acquire,
        fresh=fresh,
        control=plan.form.has_control,
        lost=_lost_of(plan, hooks),
    )


def _lost_of(plan: Plan, hooks: Hooks) -> Callable[[Collection[str]], Awaitable[bool]]:
    resync = hooks.on_state_loss
    if resync is None or not plan.resync_on_state_loss:
        return no_snapshot

    async def lost(streams: Collection[str]) -> bool:
        await resync(plan.name, streams)
        return True

    return lost


def hand_out_of(plan: Plan, limits: Limits) -> HandOut:
    """What a sink gets of the log."""
    return HandOut(
        plan.name,
        plan.bridge,
        plan.selection,
        plan.form,
        max_records=limits.records,
        max_bytes=limits.bytes,
    )


def breaker_of(sink: Sink, plan: Plan, jitter: Callable[[], float]) -> Breaker:
    """When a sink is taken to be down."""
    backoff = Backoff(plan.retry, jitter)
    if sink.overlap is not Overlap.LANES or sink.concurrency == 1:
        return Breaker(backoff)
    return Breaker(backoff, failures=_FAILURES, lanes=2)


def place_of(sink: object) -> str:
    """Where a sink delivers: its cursor belongs to that place, and another one is another sink's."""
    if isinstance(sink, Located):
        return sink.destination
    options = fields(sink) if is_dataclass(sink) else ()
    return repr([(option.name, getattr(sink, option.name)) for option in options if option.init])
