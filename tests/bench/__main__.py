"""``python -m tests.bench``: measures, prints a table, fails for no figure."""

from __future__ import annotations

import argparse
import os
import platform
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.moments import memory, restart, start
from tests.bench.speed import pace, speed
from tests.bench.stage import Stage
from tests.bench.table import Row, render
from tests.bench.webhooks import webhooks

__all__ = ["main", "measure"]

Figure = Callable[[Stage, bool, int | None], list[Row]]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _speed(stage: Stage, quick: bool, rounds: int | None) -> list[Row]:  # noqa: FBT001 - a table of functions
    pods, events = (500, 5000) if quick else (4000, 60_000)
    return speed(stage, pods=pods, events=events, rounds=rounds or (1 if quick else 5), say=_say)


def _pace(stage: Stage, quick: bool, rounds: int | None) -> list[Row]:  # noqa: FBT001
    events = 1000 if quick else 10_000
    return pace(stage, pods=1000, events=events, rounds=rounds or (1 if quick else 3), say=_say)


def _memory(stage: Stage, quick: bool, rounds: int | None) -> list[Row]:  # noqa: FBT001
    return memory(stage, pods=5000 if quick else 50_000, rounds=rounds or (1 if quick else 3), say=_say)


def _start(stage: Stage, quick: bool, rounds: int | None) -> list[Row]:  # noqa: FBT001
    return start(stage, rounds=rounds or (1 if quick else 10), say=_say)


def _restart(stage: Stage, quick: bool, rounds: int | None) -> list[Row]:  # noqa: FBT001
    return restart(stage, rounds=rounds or (1 if quick else 5), say=_say)


def _webhook(_: Stage, quick: bool, rounds: int | None) -> list[Row]:  # noqa: FBT001
    return webhooks(requests=800 if quick else 4000, rounds=rounds or (1 if quick else 5), say=_say)


FIGURES: dict[str, Figure] = {
    "speed": _speed,
    "pace": _pace,
    "memory": _memory,
    "start": _start,
    "restart": _restart,
    "webhook": _webhook,
}


def measure(
    folder: Path, *, quick: bool, only: str | None, rounds: int | None = None, seed: int = 1
) -> list[Row]:
    """Takes the figures, all or one group of them; a figure that cannot be had says why in its row."""
    stage = Stage(folder, seed)
    rows: list[Row] = []
    for name, figure in FIGURES.items():
        if only in {None, name}:
            rows += figure(stage, quick, rounds)
    return rows


def main() -> int:
    """Exit code 0 also when a floor is missed: a figure of one machine and one moment fails nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few events, one round: does it work at all?")
    parser.add_argument("--only", choices=FIGURES, help="one group of figures")
    parser.add_argument("--rounds", type=int, help="how often each figure is taken")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--seed", type=int, default=1, help="of the Pods (default: 1)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108 - /tmp is often memory, and the disk is what is measured
        help="a folder on the disk to measure (default: %(default)s); needs 2 GB",
    )
    arguments = parser.parse_args()
    print(_machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="kube-bridge-bench-", dir=arguments.folder) as temporary:
        rows = measure(
            Path(temporary),
            quick=arguments.quick,
            only=arguments.only,
            rounds=arguments.rounds,
            seed=arguments.seed,
        )
    print(render(rows, markdown=arguments.markdown))
    return 0


def _machine() -> str:
    """What a reader needs to judge the figures; no name of the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} cores ({model}), load before the run {load:.1f}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    )


if __name__ == "__main__":
    sys.exit(main())
