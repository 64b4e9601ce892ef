"""`whenFull` of a real bridge: a file whose folder is missing lags, another one must notice nothing."""

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.components.cluster import Cluster
from tests.end_to_end.objects import CONFIGMAPS, actual, configmap
from tests.end_to_end.program import RunBridge, Service, StartService, fold

pytest_plugins = ["tests.components.fixtures"]

LAG = "1Mi"
BODY = 40_000


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


class Bench:
    """A bridge with a sink that takes nothing until `repair`."""

    def __init__(self, service: Service, cluster: Cluster, namespace: str, when_full: str) -> None:
        self.service = service
        self.cluster = cluster
        self.path = CONFIGMAPS.format(namespace)
        self.slow = service.folder / "missing" / "slow.jsonl"
        self.random = random.Random(1)
        service.document["sinks"].append(
            {
                "name": "slow", "type": "jsonlines", "path": str(self.slow), "maxLag": LAG,
                "whenFull": when_full, "retry": {"initial": "100ms", "max": "500ms"},
            }
        )  # fmt: skip
        service.start().wait_listed()

    def write(self, *names: str) -> None:
        """Create ConfigMaps that no compression makes small."""
        with self.cluster.client() as client:
            for name in names:
                text = base64.b64encode(self.random.randbytes(BODY)).decode()
                client.post(self.path, json=configmap(name, text)).raise_for_status()

    def delete(self, *names: str) -> None:
        for name in names:
            self.cluster.request("DELETE", f"{self.path}/{name}")

    def repair(self) -> None:
        self.slow.parent.mkdir()

    def truth(self) -> dict[Any, Any]:
        return actual(self.cluster, [self.path])


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, cluster: Cluster, namespace: str, start_service: StartService
) -> Bench:
    stream: dict[str, object] = {
        "name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace],
    }  # fmt: skip
    return Bench(start_service(cluster, [stream]), cluster, namespace, request.param)


@pytest.mark.parametrize("bench", ["resync"], indirect=True)
def test_a_sink_whose_backlog_was_dropped_has_the_right_state_in_the_end(bench: Bench) -> None:
    """Deletions and recreations in what was dropped, a kill before it recovers, changes after that."""
    service = bench.service
    bench.write(*(f"n{number}" for number in range(10)))
    bench.delete("n0", "n1")
    bench.write("n1")
    bench.write(*(f"m{number}" for number in range(40)))
    service.program.wait_err("the backlog of a sink is dropped")
    bench.delete("n2")
    service.wait(lambda: fold(service.records()) == bench.truth(), "the other sink to have everything")
    service.kill()
    assert "snapshot is in the log" not in service.log
    service.start()
    bench.write("after")
    bench.repair()
    service.wait(lambda: fold(records(bench.slow)) == bench.truth(), "the state to be right", seconds=60)
    told = records(bench.slow)
    pair = [r for r in told if r["type"] == "RESYNC" and r["cause"] == "backlogFull" and r["id"]]
    begin = next(r for r in pair if r["phase"] == "begin")
    assert begin["counts"]["dropped"] >= 20
    assert begin["counts"]["deletions"] >= 1
    dropped = [r for r in told if r["type"] == "DELETED" and r.get("partial")]
    assert {"n0", "n1"} <= {r["name"] for r in dropped}
    service.wait(
        lambda: any(r["type"] == "RESYNC" and r["phase"] == "end" for r in records(bench.slow)), "the end"
    )
    assert not [r for r in service.records() if "snapshot" in r]
    assert service.stop() == 0


@pytest.mark.parametrize("bench", ["park"], indirect=True)
def test_a_parked_sink_says_so_and_a_resumed_one_gets_what_exists(
    bench: Bench, run_bridge: RunBridge
) -> None:
    service = bench.service
    bench.write(*(f"m{number}" for number in range(40)))
    service.program.wait_err("sink is parked")
    bench.write("after")
    service.wait_types("after", "ADDED")
    program = run_bridge("status", "-c", service.config)
    parked = json.loads(program.finished())["sinks"][1]
    assert parked["state"] == "parked"
    assert "resume it" in parked["reason"]
    bench.delete("m0")
    bench.repair()
    assert run_bridge("resume", "-c", service.config, "--sink", "slow").end() == 0
    service.wait(lambda: fold(records(bench.slow)) == bench.truth(), "the state to be right", seconds=60)
    assert service.stop() == 0
