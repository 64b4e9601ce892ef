"""What is counted of one sink."""

import msgspec
import pytest

from bridge.delivery.stats import LATENCY_BOUNDS, Latencies, SinkStats
from tests.delivery.fakes import MemoryLog, change, records


def test_latencies_are_counted_by_the_first_bound_that_they_keep() -> None:
    latencies, many = Latencies(), records(*[b"x"] * 3)
    naive = [0] * (len(LATENCY_BOUNDS) + 1)
    for now in (0.0005, 0.001, 0.02, 3, 10_000):
        latencies.observe(many, now)
        index = next((i for i, bound in enumerate(LATENCY_BOUNDS) if now <= bound), len(LATENCY_BOUNDS))
        naive[index] += 3
    assert latencies.counts == naive
    assert latencies.seconds == pytest.approx(3 * (0.0005 + 0.001 + 0.02 + 3 + 10_000))


def test_a_delivery_of_long_and_short_latencies_is_counted_record_by_record() -> None:
    log, latencies = MemoryLog(), Latencies()
    batch = log.append([change(1), change(2)])
    first, last = records(b"a", b"b")
    late = msgspec.structs.replace(last, change=msgspec.structs.replace(batch.changes[0], time=9_900_000))
    latencies.observe([first, late], 10.0)
    assert latencies.counts[LATENCY_BOUNDS.index(10.0)] == 1
    assert latencies.counts[LATENCY_BOUNDS.index(0.1)] == 1
    assert latencies.seconds == pytest.approx(10.1)


def test_a_clock_that_went_back_gives_no_negative_latency() -> None:
    stats = SinkStats("out")
    stats.latencies.observe(records(b"a"), -5.0)
    assert (stats.latencies.counts[0], stats.latencies.seconds) == (1, 0.0)
