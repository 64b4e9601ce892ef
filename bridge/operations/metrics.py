"""/metrics: reads the plain counters of streams, sinks and the log at a scrape, never before.

So the hot path pays nothing for a metric. Labels are names from the configuration and words from closed
sets; what is not (reasons) is cut to a bound. Names follow https://prometheus.io/docs/practices/naming/.
Import this only where it is served: prometheus_client costs start-up time.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bridge.operations.stats import StreamStats

__all__ = ["PHASES", "SINK_STATES", "LogSource", "Metrics", "SinkSource"]

PHASES: Final = ("starting", "connecting", "listing", "live", "backoff", "forbidden", "absent", "refused")
"""What a watch can be doing: "starting", and then each of `bridge.kubernetes.observer.Phase`."""
SINK_STATES: Final = ("starting", "delivering", "retrying", "halted", "stopped")
"""Each of `bridge.delivery.stats.SinkState`."""
_MOST_VALUES: Final = 32
"""Values of one label that is not a closed set; the rest are added up as "other"."""


class SinkSource(Protocol):
    """What is read of a sink; `bridge.delivery.stats.SinkStats` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102 - they are explained there
    @property
    def state(self) -> str: ...  # noqa: D102
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


class LogSource(Protocol):
    """What is read of the log; `bridge.store.contract.LogStats` has it."""

    @property
    def end(self) -> int: ...  # noqa: D102 - they are explained there
    @property
    def kept_records(self) -> int: ...  # noqa: D102
    @property
    def kept_bytes(self) -> int: ...  # noqa: D102
    @property
    def file_bytes(self) -> int: ...  # noqa: D102
    @property
    def wal_bytes(self) -> int: ...  # noqa: D102
    @property
    def commits(self) -> int: ...  # noqa: D102
    @property
    def commit_seconds(self) -> float: ...  # noqa: D102
    @property
    def committed_records(self) -> int: ...  # noqa: D102
    @property
    def overlay(self) -> int: ...  # noqa: D102
    @property
    def in_flight(self) -> int: ...  # noqa: D102
    @property
    def heartbeat_age(self) -> float: ...  # noqa: D102
    @property
    def full(self) -> str: ...  # noqa: D102


class Metrics:
    """The series of one bridge, in a registry of its own."""

    def __init__(
        self,
        version: str,
        *,
        streams: Callable[[], Iterable[StreamStats]],
        sinks: Callable[[], Iterable[SinkSource]],
        log: Callable[[], LogSource],
    ) -> None:
        """The callables are asked at each scrape.

        Args:
            version: of the bridge.
            streams: counters of each stream.
            sinks: counters of each sink.
            log: how the log is.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(version, streams, sinks, log))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body for one scrape.

        Args:
            accept: the scraper's Accept header: OpenMetrics for who asks for it, else the text format.
        """
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


class _Collector(Collector):
    def __init__(
        self,
        version: str,
        streams: Callable[[], Iterable[StreamStats]],
        sinks: Callable[[], Iterable[SinkSource]],
        log: Callable[[], LogSource],
    ) -> None:
        self._version = version
        self._streams = streams
        self._sinks = sinks
        self._log = log

    def collect(self) -> Iterator[Metric]:
        build = InfoMetricFamily("kube_bridge_build", "Which bridge this is.")
        build.add_metric([], {"version": self._version, "python": platform.python_version()})
        yield build
        log = self._log()
        yield from _of_streams(list(self._streams()))
        yield from _of_log(log)
        yield from _of_sinks(list(self._sinks()), log.end)


def _of_streams(streams: list[StreamStats]) -> Iterator[Metric]:
    yield _counter(
        "stream_events", "Objects received, live and in listings.", {s.name: s.events for s in streams}
    )
    changes = _labelled(CounterMetricFamily, "stream_changes", "Changes after reconciliation.", "type")
    held = _labelled(
        CounterMetricFamily, "stream_suppressed_events", "Events that told nothing new.", "reason"
    )
    listings = _labelled(CounterMetricFamily, "stream_listings", "Complete listings begun.", "cause")
    watches = _labelled(GaugeMetricFamily, "stream_watches", "Watches by what they are doing.", "phase")
    for stream in streams:
        tally = stream.tally()
        _add(changes, stream.name, stream.changes)
        _add(held, stream.name, {word: getattr(tally, word) for word in ("replayed", "stale", "absorbed")})
        _add(listings, stream.name, stream.listings)
        now = [watch.phase for watch in stream.watches.values()]
        _add(watches, stream.name, {phase: now.count(phase) for phase in PHASES})
    yield from (changes, held, listings, watches)
    yield _counter(
        "stream_inferred_deletions",
        "Deletions that no watch told and a relist found.",
        {s.name: s.tally().synthetic for s in streams},
    )
    yield _counter(
        "stream_poison_records", "Lines that could not be understood.", {s.name: s.poison for s in streams}
    )
    yield _counter(
        "stream_restarts", "Watches restarted after a failure.", {s.name: s.restarts for s in streams}
    )
    started = time.time() - time.monotonic()
    yield _gauge(
        "stream_last_progress_timestamp_seconds",
        "When something last arrived, a bookmark too.",
        {s.name: started + s.progressed for s in streams},
    )


def _of_log(log: LogSource) -> Iterator[Metric]:
    gauges = {
        "log_end_position": ("Position of the newest committed record.", log.end),
        "log_kept_records": ("Records that the log holds.", log.kept_records),
        "log_kept_bytes": ("What they occupy, packed.", log.kept_bytes),
        "log_file_bytes": ("Size of the main file.", log.file_bytes),
        "log_wal_bytes": ("Size of the write-ahead log.", log.wal_bytes),
        "log_overlay_entries": ("Inventory entries that are not yet folded into the table.", log.overlay),
        "log_in_flight_bytes": ("Bytes accepted and not yet committed.", log.in_flight),
        "log_writer_silence_seconds": ("Since the writer's last sign of life.", log.heartbeat_age),
        "log_full": ("1 while nothing can be appended.", int(bool(log.full))),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"kube_bridge_{name}", text, value=value)
    yield CounterMetricFamily(
        "kube_bridge_log_committed_records", "Records committed.", value=log.committed_records
    )
    yield SummaryMetricFamily(
        "kube_bridge_log_commit_seconds",
        "Time spent in transactions that appended.",
        count_value=log.commits,
        sum_value=log.commit_seconds,
    )


def _of_sinks(sinks: list[SinkSource], end: int) -> Iterator[Metric]:
    counters: dict[str, tuple[str, Callable[[SinkSource], int]]] = {
        "sink_records": ("Records that the destination owns.", lambda sink: sink.records),
        "sink_bytes": ("Rendered bytes of those.", lambda sink: sink.bytes),
        "sink_filtered_records": ("Records that this sink does not want.", lambda sink: sink.filtered),
        "sink_rejected_records": ("Records that were refused for good.", lambda sink: sink.rejected),
    }
    for name, (text, read) in counters.items():
        yield _counter(name, text, {sink.name: read(sink) for sink in sinks}, label="sink")
    tries = _labelled(
        CounterMetricFamily, "sink_failed_tries", "Deliveries tried in vain.", "reason", owner="sink"
    )
    states = _labelled(GaugeMetricFamily, "sink_state", "1 for what it is doing.", "state", owner="sink")
    seconds = SummaryMetricFamily(
        "kube_bridge_sink_delivery_seconds", "Time spent in deliveries that succeeded.", labels=["sink"]
    )
    for sink in sinks:
        _add(tries, sink.name, sink.retries)
        _add(states, sink.name, {state: int(sink.state == state) for state in SINK_STATES})
        seconds.add_metric([sink.name], count_value=sink.batches, sum_value=sink.delivery_seconds)
    yield from (tries, states, seconds)
    positions = {sink.name: sink.position for sink in sinks}
    yield _gauge("sink_position", "The contiguous acknowledged position.", positions, label="sink")
    yield _gauge(
        "sink_lag_positions",
        "From there to the end of the log.",
        {name: max(end - position, 0) for name, position in positions.items()},
        label="sink",
    )


def _counter(name: str, text: str, values: Mapping[str, int], label: str = "stream") -> Metric:
    family = CounterMetricFamily(f"kube_bridge_{name}", text, labels=[label])
    for owner, value in values.items():
        family.add_metric([owner], value)
    return family


def _gauge(name: str, text: str, values: Mapping[str, float], label: str = "stream") -> Metric:
    family = GaugeMetricFamily(f"kube_bridge_{name}", text, labels=[label])
    for owner, value in values.items():
        family.add_metric([owner], value)
    return family


_Family = CounterMetricFamily | GaugeMetricFamily
_F = TypeVar("_F", CounterMetricFamily, GaugeMetricFamily)


def _labelled(kind: type[_F], name: str, text: str, label: str, owner: str = "stream") -> _F:
    return kind(f"kube_bridge_{name}", text, labels=[owner, label])


def _add(family: _Family, owner: str, values: Mapping[str, float]) -> None:
    """Add a value each, at most `_MOST_VALUES`; the first ones stay, so that no counter goes back."""
    items = list(values.items())
    for word, value in items[:_MOST_VALUES]:
        family.add_metric([owner, word], value)
    if len(items) > _MOST_VALUES:
        family.add_metric([owner, "other"], sum(value for _, value in items[_MOST_VALUES:]))
