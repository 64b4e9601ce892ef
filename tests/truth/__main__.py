"""`python -m tests.truth`: the bridge killed again and again; `... outage`: its broker away, three times."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.components.build import ComponentUnavailable
from tests.components.cluster import Cluster
from tests.components.kafka import Kafka
from tests.truth.harness import run
from tests.truth.outage import MEANWHILE, Outages


def main() -> int:
    """Exit code 0 if the promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["kills", "outage"], default="kills")
    parser.add_argument("--seed", type=int, default=None, help="replays a run (default: random)")
    parser.add_argument("--kills", type=int, default=40, help="SIGKILLs at least (default: 40)")
    parser.add_argument("--rate", type=float, default=None, help="writes a second (default: 300; 100)")
    parser.add_argument("--seconds", type=float, default=60, help="of each outage (default: 60)")
    parser.add_argument("--keep", type=Path, help="folder to keep the file, the state and the log in")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kube-bridge-truth-") as temporary, Cluster() as cluster:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.what == "outage":
            return _outages(cluster, folder, seed, arguments.rate or 100, arguments.seconds)
        report = run(cluster, folder, seed=seed, kills=arguments.kills, rate=arguments.rate or 300, say=_say)
    print(report)
    return 0 if report.judgement is not None and report.judgement.kept else 1


def _outages(cluster: Cluster, folder: Path, seed: int, rate: float, seconds: float) -> int:
    kept = True
    with Kafka() as kafka:
        outages = Outages(cluster, kafka.broker, folder)
        for number, meanwhile in enumerate(MEANWHILE):
            [report] = outages.run(seconds, [meanwhile], seed=seed + number, rate=rate, say=_say)
            print(report, flush=True)
            kept = kept and report.kept
    return 0 if kept else 1


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ComponentUnavailable as missing:
        sys.exit(f"make truth: {missing}")
