"""Proofs 0 and 1 of delivery, shortened; `make outage` has an outage of full length for each bridge."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.truth.outage import MEANWHILE, Outages

if TYPE_CHECKING:  # importing fixtures for real would keep pytest from rewriting its assertions
    from tests.components.fixtures import StartCluster, StartKafka


def test_a_broker_that_was_away_has_every_write_in_order_and_the_cluster_as_its_table(
    start_cluster: "StartCluster", start_kafka: "StartKafka", tmp_path: Path
) -> None:
    """Three bridges: undisturbed, SIGKILL half-way, SIGTERM half-way; the sinks have their defaults."""
    outages = Outages(start_cluster(), start_kafka(), tmp_path)
    reports = outages.run(6, MEANWHILE, seed=0, rate=100, say=lambda line: print(line, file=sys.stderr))
    assert [report.meanwhile for report in reports] == list(MEANWHILE)
    for report in reports:
        assert report.kept, str(report)
        assert report.writes > 500, str(report)
