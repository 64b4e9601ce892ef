"""Fixtures of the package: real clusters, and programs that end with their test."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components.cluster import Cluster
from tests.end_to_end.program import Kubeconfig, Program, RunBridge, Service, StartService, bridge


@pytest.fixture
def run_bridge(tmp_path: Path) -> Iterator[RunBridge]:
    """Starts `kube-bridge ARGS...`; what still runs at the end of the test is killed."""
    with contextlib.ExitStack() as stack:

        def start(*args: str | Path, kubeconfig: Path | None = None, **environ: str) -> Program:
            if kubeconfig is not None:
                environ["KUBECONFIG"] = str(kubeconfig)
            return stack.enter_context(Program(bridge(*args), tmp_path, environ))

        yield start


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Makes a `kube-bridge run` with state and output in a folder of its own; killed at the end."""
    with contextlib.ExitStack() as stack:

        def make(cluster: Cluster, streams: list[dict[str, object]], **config: object) -> Service:
            folder = tmp_path / f"bridge-{uuid.uuid4().hex[:6]}"
            folder.mkdir()
            service = Service(folder, cluster, streams, config)
            stack.callback(service.kill)
            return service

        yield make


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Kubeconfig:
    """Writes a kubeconfig for the shared cluster whose user entry is the given one."""

    def write(user: dict[str, object], name: str = "kubeconfig", *, namespace: str = "default") -> Path:
        config = cluster.credentials.kubeconfig(cluster.url, "", namespace=namespace)
        config["users"][0]["user"] = user
        path = tmp_path / name
        path.write_text(json.dumps(config))
        return path

    return write
