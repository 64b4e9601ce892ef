"""A scrape says what the counters say, in names and forms that Prometheus accepts."""

import re
import shutil
import subprocess
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from bridge.changes.change import Cause, Type
from bridge.changes.reconcile import Tally
from bridge.delivery.breaker import BreakerState
from bridge.delivery.sink import Delivery
from bridge.delivery.stats import SinkState, SinkStats
from bridge.kubernetes.observer import Phase
from bridge.operations.metrics import PHASES, Metrics
from bridge.operations.projection import Projection
from bridge.operations.sinkmetrics import BREAKER_STATES, SINK_STATES
from bridge.operations.stats import StreamStats
from bridge.store.contract import Lag, LogStats
from tests.delivery.fakes import change, records

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def stream() -> StreamStats:
    stats = StreamStats("pods")
    stats.progress(7)
    stats.changed([change(1, Type.ADDED), change(2, Type.DELETED), change(3, Type.ADDED)])
    stats.listings["expired"] += 2
    stats.poison = 1
    stats.restarts = 3
    stats.enter("shop", Phase.LIVE, "")
    stats.enter("pay", Phase.BACKOFF, "why")
    stats.tallies["shop"] = Tally(replayed=1, stale=2, synthetic=3, absorbed=4)
    stats.tallies["pay"] = Tally(synthetic=5)
    return stats


def sink() -> SinkStats:
    stats = SinkStats("out", SinkState.RETRYING, position=90, filtered=4, rejected=1)
    stats.delivered(Delivery(10, records(*[b"x" * 100] * 10), 1000), 0.5, refused=1)
    stats.retries["unavailable"] = 6
    return stats


LOG = LogStats(
    end=100, kept_records=5, kept_bytes=600, commits=8, commit_seconds=0.25, committed_records=99, full="x"
)


def metrics(stream: StreamStats | None = None, *sinks: SinkStats) -> Metrics:
    return Metrics(
        "1.2.3",
        streams=lambda: [stream] if stream else [],
        sinks=lambda: sinks,
        log=lambda: LOG,
        lag=lambda position: Lag(LOG.end - position, 7 * (LOG.end - position), oldest=1_000_000),
        letters=lambda: {"out": 3},
    )


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """By name and label values, the owner first."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = sorted(
                sample.labels.items(), key=lambda label: label[0] not in ("stream", "sink", "version")
            )
            found[sample.name, *(value for _, value in labels)] = sample.value
    return found


def test_every_counter_is_told_under_its_name() -> None:
    content_type, text = metrics(stream(), sink()).render()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(text)
    expected = {
        ("kube_bridge_stream_events_total", "pods"): 7,
        ("kube_bridge_stream_changes_total", "pods", "ADDED"): 2,
        ("kube_bridge_stream_changes_total", "pods", "DELETED"): 1,
        ("kube_bridge_stream_suppressed_events_total", "pods", "replayed"): 1,
        ("kube_bridge_stream_suppressed_events_total", "pods", "stale"): 2,
        ("kube_bridge_stream_suppressed_events_total", "pods", "absorbed"): 4,
        ("kube_bridge_stream_inferred_deletions_total", "pods"): 8,
        ("kube_bridge_stream_listings_total", "pods", "expired"): 2,
        ("kube_bridge_stream_poison_records_total", "pods"): 1,
        ("kube_bridge_stream_restarts_total", "pods"): 3,
        ("kube_bridge_stream_watches", "pods", "live"): 1,
        ("kube_bridge_stream_watches", "pods", "backoff"): 1,
        ("kube_bridge_stream_watches", "pods", "absent"): 0,
        ("kube_bridge_log_end_position",): 100,
        ("kube_bridge_log_kept_records",): 5,
        ("kube_bridge_log_kept_bytes",): 600,
        ("kube_bridge_log_commit_seconds_count",): 8,
        ("kube_bridge_log_commit_seconds_sum",): 0.25,
        ("kube_bridge_log_committed_records_total",): 99,
        ("kube_bridge_log_full",): 1,
        ("kube_bridge_sink_records_total", "out"): 9,
        ("kube_bridge_sink_batches_total", "out"): 1,
        ("kube_bridge_sink_dead_letters", "out"): 3,
        ("kube_bridge_sink_breaker", "out", "closed"): 1,
        ("kube_bridge_sink_breaker", "out", "open"): 0,
        ("kube_bridge_sink_latency_seconds_bucket", "out", "7200.0"): 0,
        ("kube_bridge_sink_latency_seconds_bucket", "out", "+Inf"): 10,
        ("kube_bridge_sink_latency_seconds_count", "out"): 10,
        ("kube_bridge_log_seconds_to_limit",): float("inf"),
        ("kube_bridge_sink_bytes_total", "out"): 1000,
        ("kube_bridge_sink_delivery_seconds_count", "out"): 1,
        ("kube_bridge_sink_delivery_seconds_sum", "out"): 0.5,
        ("kube_bridge_sink_filtered_records_total", "out"): 4,
        ("kube_bridge_sink_rejected_records_total", "out"): 1,
        ("kube_bridge_sink_failed_tries_total", "out", "unavailable"): 6,
        ("kube_bridge_sink_state", "out", "retrying"): 1,
        ("kube_bridge_sink_state", "out", "halted"): 0,
        ("kube_bridge_sink_position", "out"): 90,
        ("kube_bridge_sink_lag_records", "out"): 10,
        ("kube_bridge_sink_lag_bytes", "out"): 70,
    }
    assert {key: found[key] for key in expected} == expected
    assert next(key for key in found if key[0] == "kube_bridge_build_info")[1] == "1.2.3"
    assert found["process_resident_memory_bytes",] > 0


def test_counters_that_alerts_need_are_there_before_the_first_event() -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    found = samples(metrics(StreamStats("pods"), SinkStats("out")).render()[1])
    for cause in Cause:
        assert found["kube_bridge_stream_listings_total", "pods", cause.value] == 0
    for reason in ("error", "unavailable"):
        assert found["kube_bridge_sink_failed_tries_total", "out", reason] == 0
    for name in ("stream_poison_records_total", "stream_restarts_total"):
        assert found[f"kube_bridge_{name}", "pods"] == 0
    assert found["kube_bridge_sink_rejected_records_total", "out"] == 0


def test_the_last_progress_is_a_time_of_today() -> None:
    one = stream()
    one.progress(1)
    found = samples(metrics(one).render()[1])
    assert abs(found["kube_bridge_stream_last_progress_timestamp_seconds", "pods"] - time.time()) < 5


def test_a_scrape_reads_what_is_there_now() -> None:
    one = stream()
    page = metrics(one)
    page.render()
    one.progress(3)
    assert samples(page.render()[1])["kube_bridge_stream_events_total", "pods"] == 10


def test_who_asks_for_openmetrics_gets_it() -> None:
    content_type, text = metrics(stream(), sink()).render(OPENMETRICS)
    assert content_type.startswith(OPENMETRICS)
    assert text.endswith(b"# EOF\n")
    assert len(list(parse_openmetrics(text.decode()))) > 20  # type: ignore[no-untyped-call]  # the library has no types there


def test_names_help_and_types_follow_the_conventions() -> None:
    """promtool's own rules where it is installed; the rules that matter most in any case."""
    text = metrics(stream(), sink()).render()[1].decode()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("kube_bridge_"):
            continue
        assert re.fullmatch(r"kube_bridge_(build|stream|log|sink)[a-z_]*", family.name)
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge", "summary", "histogram"), family.name
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
            assert set(sample.labels) <= {
                "stream", "sink", "type", "reason", "cause", "phase", "state", "version", "python", "le",
            }  # fmt: skip
    if promtool := shutil.which("promtool"):
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_labels_that_are_not_a_closed_set_are_bounded_and_no_counter_goes_back() -> None:
    one = sink()
    for number in range(100):
        one.retries[f"reason {number}"] = 1
    found = samples(metrics(None, one).render()[1])
    reasons = {
        key[2]: value for key, value in found.items() if key[0] == "kube_bridge_sink_failed_tries_total"
    }
    assert len(reasons) == 33
    assert sum(reasons.values()) == 106
    assert reasons["unavailable"] == 6


def test_a_name_with_odd_characters_is_escaped() -> None:
    found = samples(metrics(StreamStats('a"b\\c\nd')).render()[1])
    assert ("kube_bridge_stream_events_total", 'a"b\\c\nd') in found


def test_the_closed_sets_are_those_of_the_rooms() -> None:
    assert ["starting", *(phase.value for phase in Phase)] == list(PHASES)
    assert [state.value for state in SinkState] == list(SINK_STATES)
    assert [state.value for state in BreakerState] == list(BREAKER_STATES)


def test_the_age_of_the_oldest_record_behind_is_told() -> None:
    found = samples(metrics(None, sink()).render()[1])
    assert abs(found["kube_bridge_sink_lag_seconds", "out"] - (time.time() - 1)) < 5


def test_the_time_to_the_limit_follows_the_growth_of_the_last_minutes() -> None:
    projection = Projection(span=100)
    assert projection.seconds_until(1000) == float("inf"), "nothing was seen"
    projection.see(0, 500)
    assert projection.seconds_until(1000) == float("inf"), "one size tells no growth"
    projection.see(50, 400)
    assert projection.seconds_until(1000) == float("inf"), "it shrinks"
    projection.see(140, 580)
    assert projection.seconds_until(1000) == 210, "180 in the 90 s since the oldest that is looked back to"
    projection.see(141, 1000)
    assert projection.seconds_until(1000) == 0
