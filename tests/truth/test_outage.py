"""Proofs 0 and 1 of delivery, shortened; `make outage` runs them at their full length."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.truth.outage import MEANWHILE, Outage, Outages

if TYPE_CHECKING:  # importing fixtures for real would keep pytest from rewriting its assertions
    from tests.components.fixtures import StartCluster, StartKafka


def test_a_broker_that_was_away_has_every_write_in_order_and_the_cluster_as_its_table(
    start_cluster: "StartCluster", start_kafka: "StartKafka", tmp_path: Path
) -> None:
    """Undisturbed, with a SIGKILL half-way, with a SIGTERM half-way; the sink has its defaults."""
    outages = Outages(start_cluster(), start_kafka(), tmp_path)
    for seed, meanwhile in enumerate(MEANWHILE):
        report = outages.run(
            Outage(6, meanwhile), seed=seed, rate=100, say=lambda line: print(line, file=sys.stderr)
        )
        assert report.judgement.kept, str(report)
        assert report.table.kept, str(report)
        assert report.writes > 500, str(report)
