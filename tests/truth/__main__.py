"""`python -m tests.truth --seed N`: one run of the truth harness, replayed by its seed."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.components.build import ComponentUnavailable
from tests.components.cluster import Cluster
from tests.truth.harness import run


def main() -> int:
    """Exit code 0 if the promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="replays a run (default: random)")
    parser.add_argument("--kills", type=int, default=40, help="SIGKILLs at least (default: 40)")
    parser.add_argument("--rate", type=float, default=300, help="writes a second (default: 300)")
    parser.add_argument("--keep", type=Path, help="folder to keep the file, the state and the log in")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kube-bridge-truth-") as temporary, Cluster() as cluster:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(
            cluster, folder, seed=seed, kills=arguments.kills, rate=arguments.rate,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
    print(report)
    return 0 if report.judgement is not None and report.judgement.kept else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ComponentUnavailable as missing:
        sys.exit(f"make truth: {missing}")
