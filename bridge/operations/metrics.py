"""/metrics: reads the plain counters of streams, sinks and the log at a scrape, never before.

So the hot path pays nothing for a metric. Labels are names from the configuration and words from closed
sets; what is not (reasons) is cut to a bound. Names follow https://prometheus.io/docs/practices/naming/.
Import this only where it is served: prometheus_client costs start-up time.
"""

import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

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

from bridge.changes.change import Cause
from bridge.operations.families import add, counter, gauge, labelled
from bridge.operations.projection import Projection
from bridge.operations.sinkmetrics import LagSource, SinkSource, of_sinks
from bridge.operations.stats import StreamStats

__all__ = ["PHASES", "LogSource", "Metrics"]

PHASES: Final = ("starting", "connecting", "listing", "live", "backoff", "forbidden", "absent", "refused")
"""What a watch can be doing: "starting", and then each of `bridge.kubernetes.observer.Phase`."""
# A counter that appears with its first event shows no increase for it: an alert would not see that one.
_NO_LISTINGS: Final[Mapping[str, int]] = {cause.value: 0 for cause in Cause}


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
    @property
    def limit_bytes(self) -> int: ...  # noqa: D102


class Metrics:
    """The series of one bridge, in a registry of its own."""

    def __init__(
        self,
        version: str,
        *,
        streams: Callable[[], Iterable[StreamStats]],
        sinks: Callable[[], Iterable[SinkSource]],
        log: Callable[[], LogSource],
        lag: Callable[[int], LagSource],
        letters: Callable[[], Mapping[str, int]],
    ) -> None:
        """The callables are asked at each scrape.

        Args:
            version: of the bridge.
            streams: counters of each stream.
            sinks: counters of each sink.
            log: how the log is.
            lag: what the log keeps behind a position.
            letters: dead letters kept, by sink.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(version, streams, sinks, log, lag, letters))
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
        lag: Callable[[int], LagSource],
        letters: Callable[[], Mapping[str, int]],
    ) -> None:
        self._version = version
        self._streams = streams
        self._sinks = sinks
        self._log = log
        self._lag = lag
        self._letters = letters
        self._projection = Projection()

    def collect(self) -> Iterator[Metric]:
        build = InfoMetricFamily("kube_bridge_build", "Which bridge this is.")
        build.add_metric([], {"version": self._version, "python": platform.python_version()})
        yield build
        log = self._log()
        yield from _of_streams(list(self._streams()))
        yield from _of_log(log)
        self._projection.see(time.monotonic(), log.kept_bytes)
        yield GaugeMetricFamily(
            "kube_bridge_log_seconds_to_limit",
            "Until state.maxBytes is reached, if the log grows as in the last ten minutes.",
            value=self._projection.seconds_until(log.limit_bytes) if log.limit_bytes else math.inf,
        )
        yield from of_sinks(list(self._sinks()), self._lag, self._letters())


def _of_streams(streams: list[StreamStats]) -> Iterator[Metric]:
    yield counter(
        "stream_events", "Objects received, live and in listings.", {s.name: s.events for s in streams}
    )
    changes = labelled(CounterMetricFamily, "stream_changes", "Changes after reconciliation.", "type")
    held = labelled(
        CounterMetricFamily, "stream_suppressed_events", "Events that told nothing new.", "reason"
    )
    listings = labelled(CounterMetricFamily, "stream_listings", "Complete listings begun.", "cause")
    watches = labelled(GaugeMetricFamily, "stream_watches", "Watches by what they are doing.", "phase")
    for stream in streams:
        tally = stream.tally()
        add(changes, stream.name, stream.changes)
        add(held, stream.name, {word: getattr(tally, word) for word in ("replayed", "stale", "absorbed")})
        add(listings, stream.name, {**_NO_LISTINGS, **stream.listings})
        now = [watch.phase for watch in stream.watches.values()]
        add(watches, stream.name, {phase: now.count(phase) for phase in PHASES})
    yield from (changes, held, listings, watches)
    yield counter(
        "stream_inferred_deletions",
        "Deletions that no watch told and a relist found.",
        {s.name: s.tally().synthetic for s in streams},
    )
    yield counter(
        "stream_poison_records", "Lines that could not be understood.", {s.name: s.poison for s in streams}
    )
    yield counter(
        "stream_restarts", "Watches restarted after a failure.", {s.name: s.restarts for s in streams}
    )
    started = time.time() - time.monotonic()
    yield gauge(
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
