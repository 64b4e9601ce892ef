"""Runs the bridge on real parts, kills it again and again, and lets etcd's history judge the file."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from bridge.faults import POINTS
from tests.components.cluster import Cluster
from tests.components.process import PATIENCE, eventually
from tests.truth.load import CRD, GROUP, RESOURCES, Loader
from tests.truth.oracle import Fact, Judgement, facts_of_lines, ids_of_lines, judge

__all__ = ["NAMESPACES", "REACHED", "Bridge", "Report", "history_of", "loading", "prepare", "run"]

_ELSEWHERE = (
    *("log.folded", "log.buried", "log.purged", "log.redriven", "log.dropped", "log.renamed", "rotate."),
)
REACHED = tuple(point for point in POINTS if not point.startswith(_ELSEWHERE))
"""What every run passes. A fold comes once per some megabytes of log (`tests/store/test_kill.py` dies there),
nothing is owed to this sink (`tests/store/test_kill_delivery.py`), no stream is renamed
(`tests/store/test_adoption.py`), and its file is not rotated
(`tests/sinks/test_crash.py`)."""
NAMESPACES = ("truth-a", "truth-b")
_STREAMS = {
    "configmaps": "v1/ConfigMap",
    "secrets": "v1/Secret",
    "widgets": f"{GROUP}/v1/Widget",
}


@dataclass
class Report:
    """What one run did and how it was judged."""

    seed: int
    writes: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    judgement: Judgement | None = None

    def __str__(self) -> str:
        """For a person."""
        kills = ", ".join(f"{where} {count}" for where, count in sorted(self.kills.items()))
        total = sum(self.kills.values())
        return f"seed {self.seed}: {self.writes} writes, {total} SIGKILLs ({kills})\n{self.judgement}"


class Bridge:
    """`kube-bridge run` as a process, with its configuration, state and output in one folder.

    Killed, if it runs, by the end of `with`.
    """

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        more_sinks: Sequence[Mapping[str, Any]] = (),
        *,
        name: str = "truth",
    ) -> None:
        self.name = name
        self.folder = folder
        self.out = folder / "out.jsonl"
        self.log = folder / "bridge.log"
        self.config = folder / "config.yaml"
        self.process: subprocess.Popen[bytes] | None = None
        streams = []
        for stream, kind in _STREAMS.items():
            api_version, _, kind_name = kind.rpartition("/")
            streams.append({"name": stream, "apiVersion": api_version, "kind": kind_name})
        kubeconfig = cluster.write_kubeconfig(folder / "kubeconfig", cluster.token)
        config = {
            "configVersion": 1,
            "cluster": {"name": name, "kubeconfig": str(kubeconfig), "qps": 200, "burst": 400},
            "state": {"path": str(folder / "state"), "maxBytes": "64Mi"},
            "streams": streams,
            "sinks": [{"name": "out", "type": "jsonlines", "path": str(self.out)}, *more_sinks],
        }
        self.config.write_text(json.dumps(config))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.kill()

    def start(self, crash: str = "") -> Self:
        """Start it; `crash` arms one of `bridge.faults.POINTS`."""
        environ = {**os.environ, "KUBE_BRIDGE_CRASH": crash}
        log: IO[bytes]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "run", "-c", str(self.config)], env=environ, stderr=log
            )
        return self

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process; there must be one."""
        if self.process is None:
            raise RuntimeError("the bridge was not started")
        return self.process

    def kill(self) -> None:
        """SIGKILL, and nothing of it is left."""
        self.running.kill()
        self.running.wait()

    def crashed(self, seconds: float) -> bool:
        """Whether it killed itself at the armed point within `seconds`; any other end is an error."""
        try:
            code = self.running.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code != -signal.SIGKILL:
            raise AssertionError(f"the bridge ended by itself with {code}:\n{self.tail()}")
        return True

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.running.terminate()
        return self.running.wait(60 * PATIENCE)

    def lines(self) -> list[bytes]:
        """Whole lines of the file so far."""
        if not self.out.exists():
            return []
        return self.out.read_bytes().split(b"\n")[:-1]

    def synced(self) -> bool:
        """Whether each stream has ended its first listing."""
        ends = set()
        for line in self.lines():
            if b'"RESYNC"' in line and b'"end"' in line:
                ends.add(json.loads(line)["stream"])
        return ends == set(_STREAMS)

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def prepare(cluster: Cluster) -> None:
    """The custom resource and the namespaces that the load needs."""
    cluster.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    for namespace in NAMESPACES:
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    path = RESOURCES[2].path.format(NAMESPACES[0])

    def served() -> bool:
        with cluster.client() as client:
            return client.get(path).is_success

    eventually(served, "the custom resource to be served")


def history_of(cluster: Cluster, since: int) -> list[Fact]:
    """etcd's own history of the watched resources from revision `since` on."""
    prefixes = {
        "/registry/configmaps/": "configmaps",
        "/registry/secrets/": "secrets",
        f"/registry/{GROUP}/widgets/": "widgets",
    }
    facts = []
    for prefix, resource in prefixes.items():
        for event in cluster.history(since, prefix):
            namespace, _, name = event.key.removeprefix(prefix).partition("/")
            facts.append(Fact(resource, namespace, name, event.revision, event.operation == "DELETE"))
    return sorted(facts, key=lambda fact: fact.revision)


@contextmanager
def loading(loader: Loader) -> Iterator[None]:
    loader.start()
    try:
        yield
    finally:
        loader.stop()


def run(
    cluster: Cluster,
    folder: Path,
    *,
    seed: int,
    kills: int = 30,
    rate: float = 300,
    say: Callable[[str], None],
) -> Report:
    """Load, kill at each named point of the write path and at random, `kills` times or more, judge."""
    rng = random.Random(seed)
    report = Report(seed)
    prepare(cluster)
    with Bridge(folder, cluster) as bridge:
        for point in (point for point in REACHED if point.startswith("list.")):
            where = _one_life(bridge, f"{point}:1", rng)
            report.kills[where] = 1
        bridge.start()
        eventually(bridge.synced, "the first listing of every stream", seconds=60)
        since = cluster.etcd.revision() + 1
        loader = Loader(cluster, NAMESPACES, seed=seed, rate=rate)
        plan = [f"{point}:{rng.randint(1, 12)}" for point in REACHED if not point.startswith("list.")]
        plan += [""] * max(0, kills - len(plan))
        rng.shuffle(plan)
        with loading(loader):
            time.sleep(rng.uniform(0.5, 1.5))
            bridge.kill()
            report.kills["random"] = 1
            for crash in plan:
                where = _one_life(bridge, crash, rng)
                report.kills[where] = report.kills.get(where, 0) + 1
                say(f"killed at {where}; {loader.writes} writes")
        report.writes = loader.writes
        bridge.start()
        history = history_of(cluster, since)
        _catch_up(bridge, history)
        code = bridge.stop()
        lines = bridge.lines()
        claimed = [fact for fact in facts_of_lines(lines) if fact.revision >= since]
        report.judgement = judge(history, claimed, ids_of_lines(lines))
        if code != 0 or loader.errors:
            raise AssertionError(f"exit code {code}, loader errors {loader.errors[:3]}\n{bridge.tail()}")
    return report


def _one_life(bridge: Bridge, crash: str, rng: random.Random) -> str:
    """Start the bridge and kill it; returns where it died."""
    bridge.start(crash)
    if crash:
        if bridge.crashed(20 * PATIENCE):
            return crash.partition(":")[0]
        bridge.kill()
        return f"{crash} not reached"
    if bridge.crashed(rng.uniform(0.2, 2.5)):
        raise AssertionError("killed by somebody else")
    bridge.kill()
    return "random"


def _catch_up(bridge: Bridge, history: list[Fact]) -> None:
    """Wait until the file is as long as the truth, or stopped growing for long."""
    expected = len(history)
    deadline = time.monotonic() + 180 * PATIENCE
    while len(facts_of_lines(bridge.lines())) < expected and time.monotonic() < deadline:
        time.sleep(0.5)
