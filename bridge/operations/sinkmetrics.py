"""The series of the sinks: plain counters read at a scrape. Labels are names and words from closed sets."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from bridge.operations.families import add, counter, gauge, labelled

__all__ = ["BREAKER_STATES", "SINK_STATES", "LagSource", "LatencySource", "SinkSource", "of_sinks"]

SINK_STATES: Final = ("starting", "delivering", "retrying", "paused", "parked", "halted", "stopped")
"""Each of `bridge.delivery.stats.SinkState`."""
BREAKER_STATES: Final = ("closed", "open", "halfOpen")
"""Each of `bridge.delivery.breaker.BreakerState`."""
_MICROS: Final = 1_000_000
_NO_TRIES: Final = {"error": 0, "unavailable": 0}
"""There before the first failure, so that an alert sees it; sinks have more words, which only they know."""


class LatencySource(Protocol):
    """What is read of latencies; `bridge.delivery.stats.Latencies` has it."""

    @property
    def bounds(self) -> Sequence[float]: ...  # noqa: D102 - they are explained there
    @property
    def counts(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102


class SinkSource(Protocol):
    """What is read of a sink; `bridge.delivery.stats.SinkStats` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102 - they are explained there
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def breaker(self) -> str: ...  # noqa: D102
    @property
    def position(self) -> int: ...  # noqa: D102
    @property
    def records(self) -> int: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def batches(self) -> int: ...  # noqa: D102
    @property
    def filtered(self) -> int: ...  # noqa: D102
    @property
    def rejected(self) -> int: ...  # noqa: D102
    @property
    def retries(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def delivery_seconds(self) -> float: ...  # noqa: D102
    @property
    def latencies(self) -> LatencySource: ...  # noqa: D102


class LagSource(Protocol):
    """What the log keeps behind a position; `bridge.store.contract.Lag` has it."""

    @property
    def records(self) -> int: ...  # noqa: D102 - they are explained there
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def oldest(self) -> int: ...  # noqa: D102


def of_sinks(
    sinks: Sequence[SinkSource], lag: Callable[[int], LagSource], letters: Mapping[str, int]
) -> Iterator[Metric]:
    """All series of the sinks.

    Args:
        sinks: their counters.
        lag: what the log keeps behind a position.
        letters: dead letters kept, by sink.
    """
    yield from _counters(sinks)
    yield from _states(sinks)
    yield from _latencies(sinks)
    yield from _lags({sink.name: sink.position for sink in sinks}, lag)
    yield gauge(
        "sink_dead_letters",
        "Refused records that are kept until somebody purges or redrives them.",
        {sink.name: letters.get(sink.name, 0) for sink in sinks},
        label="sink",
    )


def _counters(sinks: Sequence[SinkSource]) -> Iterator[Metric]:
    counters: dict[str, tuple[str, Callable[[SinkSource], int]]] = {
        "sink_records": ("Records that the destination owns.", lambda sink: sink.records),
        "sink_bytes": ("Rendered bytes of the deliveries that it answered.", lambda sink: sink.bytes),
        "sink_batches": ("Deliveries that it answered.", lambda sink: sink.batches),
        "sink_filtered_records": ("Records that this sink does not want.", lambda sink: sink.filtered),
        "sink_rejected_records": ("Records that were refused for good.", lambda sink: sink.rejected),
    }
    for name, (text, read) in counters.items():
        yield counter(name, text, {sink.name: read(sink) for sink in sinks}, label="sink")
    tries = labelled(
        CounterMetricFamily, "sink_failed_tries", "Deliveries tried in vain.", "reason", owner="sink"
    )
    for sink in sinks:
        add(tries, sink.name, {**_NO_TRIES, **sink.retries})
    yield tries


def _states(sinks: Sequence[SinkSource]) -> Iterator[Metric]:
    states = labelled(GaugeMetricFamily, "sink_state", "1 for what it is doing.", "state", owner="sink")
    breakers = labelled(
        GaugeMetricFamily, "sink_breaker", "1 for what its circuit breaker is.", "state", owner="sink"
    )
    for sink in sinks:
        add(states, sink.name, {state: int(sink.state == state) for state in SINK_STATES})
        add(breakers, sink.name, {state: int(sink.breaker == state) for state in BREAKER_STATES})
    yield from (states, breakers)


def _latencies(sinks: Sequence[SinkSource]) -> Iterator[Metric]:
    seconds = SummaryMetricFamily(
        "kube_bridge_sink_delivery_seconds", "Time spent in deliveries that were answered.", labels=["sink"]
    )
    latency = HistogramMetricFamily(
        "kube_bridge_sink_latency_seconds",
        "From the read of a change to the moment that the destination owned it.",
        labels=["sink"],
    )
    for sink in sinks:
        seconds.add_metric([sink.name], count_value=sink.batches, sum_value=sink.delivery_seconds)
        total, buckets = 0, []
        bounds = [*map(str, sink.latencies.bounds), "+Inf"]
        for bound, count in zip(bounds, sink.latencies.counts, strict=True):
            total += count
            buckets.append((bound, total))
        latency.add_metric([sink.name], buckets, sink.latencies.seconds)
    yield from (seconds, latency)


def _lags(positions: Mapping[str, int], lag: Callable[[int], LagSource]) -> Iterator[Metric]:
    lags = {name: lag(position) for name, position in positions.items()}
    now = time.time()
    yield gauge("sink_position", "The contiguous acknowledged position.", positions, label="sink")
    values: dict[str, tuple[str, Callable[[LagSource], float]]] = {
        "sink_lag_records": ("Records that the log keeps behind it.", lambda lag: lag.records),
        "sink_lag_bytes": ("What they occupy, packed.", lambda lag: lag.bytes),
        "sink_lag_seconds": (
            "Age of the oldest of them; 0 when there is none.",
            lambda lag: max(now - lag.oldest / _MICROS, 0.0) if lag.oldest else 0.0,
        ),
    }
    for name, (text, read) in values.items():
        yield gauge(name, text, {sink: read(behind) for sink, behind in lags.items()}, label="sink")
