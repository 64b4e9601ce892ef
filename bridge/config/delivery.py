"""The keys that every sink has: what it gets, in which form and pace, and what happens in trouble."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from yaml.nodes import Node, ScalarNode

from bridge.config.problems import Place
from bridge.config.records import Record
from bridge.config.scalars import INVALID, String
from bridge.config.shapes import As, Object
from bridge.config.sinks import type_problem
from bridge.config.words import ALL_TYPES, NAME, TYPES_ABOUT, Name, Types
from bridge.settings import Items, Range, Seconds, Size, Text, about

__all__ = [
    "BatchConfig",
    "LimitOrName",
    "NamedRateLimitConfig",
    "RateLimitConfig",
    "RetryConfig",
    "SinkConfig",
]

_SinkType = Annotated[str, Text("a sink type", "an installed one, as jsonlines", check=type_problem)]


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """How much is handed to the sink at once. Without a key: what suits the sink."""

    max_records: Annotated[int, Range(minimum=1)] | None = field(
        default=None, metadata=about("Most records; never more than the sink can take.", example="500")
    )
    max_bytes: Annotated[Size, Range(minimum=1)] | None = field(
        default=None,
        metadata=about("Most bytes of records; a single larger one is sent alone.", example="512Ki"),
    )
    max_delay: Annotated[Seconds, Range(minimum=0, maximum=3600)] = field(
        default=0.0,
        metadata=about(
            "How long a batch that is not full may wait for more. By default nothing waits.", example="200ms"
        ),
    )


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """The pause before a failed delivery is tried again; it doubles from `initial` to `max`, with jitter."""

    initial: Annotated[Seconds, Range(minimum=0.001)] = field(
        default=0.5, metadata=about("The first pause.", example="1s")
    )
    max: Annotated[Seconds, Range(minimum=0.001)] = field(
        default=30.0, metadata=about("The longest pause that is our own choice.", example="5m")
    )
    max_retry_after: Seconds = field(
        default=600.0,
        metadata=about(
            "The longest pause that the destination may ask for (`Retry-After`); 0s ignores what it asks.",
            example="1h",
        ),
    )


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """How much may be delivered per second. A batch larger than the burst goes alone, paid for after."""

    records_per_second: Annotated[float, Range(above=0)] | None = field(
        default=None, metadata=about("Records.", example="50")
    )
    requests_per_second: Annotated[float, Range(above=0)] | None = field(
        default=None, metadata=about("Batches, tries in vain included.", example="10")
    )
    bytes_per_second: Annotated[Size, Range(minimum=1)] | None = field(
        default=None, metadata=about("Bytes of records.", example="1Mi")
    )
    burst: Annotated[int, Range(minimum=1)] | None = field(
        default=None,
        metadata=about(
            "Records, and requests, that may go at once before the rates hold. Default, and for bytes "
            "always: what one second allows.",
            example="100",
        ),
    )
    shared: str = field(default="", metadata={"inline": True})
    """Where a sink names one: the limit under `rateLimits` that it shares."""


@dataclass(frozen=True, slots=True)
class NamedRateLimitConfig(RateLimitConfig):
    """A limit that several sinks share: together they deliver no more, in turn."""

    name: Name = field(
        kw_only=True, metadata=about("By this name a sink's `rateLimit` takes it.", example="alerts")
    )


@dataclass(frozen=True, slots=True)
class LimitOrName(Object):
    """A rate limit, or the name of a shared one."""

    def means(self) -> str:
        """What to write."""
        return f"{Object.means(self)}, or the name of one under rateLimits"

    def schema(self) -> dict[str, Any]:
        """JSON Schema."""
        return {"oneOf": [String(NAME).schema(), Object.schema(self)]}

    def decode(self, node: Node, place: Place) -> Any:
        """A `Record`; of a name it has the name only."""
        if not isinstance(node, ScalarNode) or not node.value:
            return Object.decode(self, node, place)
        name = String(NAME).decode(node, place)
        return INVALID if name is INVALID else Record(self.type, self.settings, place, {"shared": name})


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """One destination. The keys of its type stand beside these."""

    name: Name = field(metadata=about("Names the sink in metrics and in the state; unique.", example="out"))
    type: _SinkType = field(metadata=about("What it is: the name of an installed sink.", example="jsonlines"))
    streams: (
        Annotated[tuple[Name, ...], Items(1, "write names of streams, or leave the key out for all of them")]
        | None
    ) = field(default=None, metadata=about("Only records of these streams. Default: all.", example="[pods]"))
    types: Types = field(default=ALL_TYPES, metadata=about(TYPES_ABOUT, example="[DELETED]"))
    format: Literal["native", "kubernetes", "cloudevents"] = field(
        default="native",
        metadata=about(
            "The shape of a record: `kubernetes` has `type` and `object` only, `cloudevents` is an event.",
            example="kubernetes",
        ),
    )
    batch: BatchConfig = field(
        default_factory=BatchConfig,
        metadata=about(BatchConfig.__doc__ or "", example="{maxRecords: 500, maxDelay: 200ms}"),
    )
    retry: RetryConfig = field(
        default_factory=RetryConfig,
        metadata=about("Pauses between tries; there is no last one.", example="{initial: 1s, max: 5m}"),
    )
    rate_limit: Annotated[RateLimitConfig, As(LimitOrName)] | None = field(
        default=None,
        metadata=about(
            "At most so much per second, or the name of a limit under `rateLimits`. Default: no limit.",
            example="{recordsPerSecond: 50, burst: 100}",
        ),
    )
    when_full: Literal["resync", "block", "park"] = field(
        default="resync",
        metadata=about(
            "What happens when this sink lags so far that the state is full, or by `maxLag`: its backlog "
            "becomes a new snapshot, or intake stops, or this sink does.",
            example="park",
        ),
    )
    allow_stall_others: bool = field(
        default=False,
        metadata=about(
            "That `whenFull: block` of this sink also holds up all other sinks, whatever their streams.",
            example="true",
        ),
    )
    max_lag: Annotated[Size, Range(minimum=1 << 20)] | None = field(
        default=None,
        metadata=about(
            "Most that the log keeps behind this sink before `whenFull` (`resync` or `park`) applies to it, "
            "packed. Default: as much as the state has room for.",
            example="256Mi",
        ),
    )
    on_reject: Literal["deadLetter", "halt"] = field(
        default="deadLetter",
        metadata=about(
            "What becomes of a record that the destination refuses for good: it is kept aside, in the state, "
            "and the rest goes on; or the sink stops before it.",
            example="halt",
        ),
    )
    on_state_loss: Literal["fail", "resync"] = field(
        default="fail",
        metadata=about(
            "What happens when the destination is ahead of this state, which an older copy or a new one is: "
            "the bridge ends with exit code 3, or this sink gets a new snapshot. "
            "With `resync` it also gets one of the streams whose Kafka topic was replaced meanwhile.",
            example="resync",
        ),
    )
    options: Any = field(default=None, metadata={"inline": True})
    """The sink itself, not yet entered: the frozen dataclass of its own keys."""
