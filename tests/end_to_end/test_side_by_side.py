"""Kafka, a webhook and a file on one bridge: two are dead, objects are large; the third notices nothing."""

import base64
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.components.cluster import Cluster
from tests.end_to_end.objects import CONFIGMAPS, actual, configmap
from tests.end_to_end.program import Service, StartService, fold

if TYPE_CHECKING:  # importing fixtures for real would keep pytest from rewriting its assertions
    from tests.components.fixtures import StartKafka

pytest_plugins = ["tests.components.fixtures"]

LARGE = 700_000
"""Bytes that no compression makes small; in base64 nearly the megabyte that a ConfigMap may have."""
SPARE = 48 << 20
"""More than `memory.maxBytes` twice and what librdkafka may hold; the backlog below is twice as much."""


def resident(service: Service) -> int:
    """The most memory that the bridge has had resident so far, in bytes."""
    status = Path(f"/proc/{service.program.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def write(cluster: Cluster, path: str, names: range, size: int) -> None:
    noise = random.Random(names.start)
    with cluster.client() as client:
        for number in names:
            text = base64.b64encode(noise.randbytes(size)).decode()
            client.post(path, json=configmap(f"n{number}", text)).raise_for_status()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections, and answers none of them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_file_beside_a_frozen_broker_and_a_silent_webhook_has_everything_in_bounded_memory(
    cluster: Cluster, namespace: str, start_service: StartService, start_kafka: "StartKafka",
    silent: int,
) -> None:  # fmt: skip
    broker, path = start_kafka(), CONFIGMAPS.format(namespace)
    stream: dict[str, object] = {
        "name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace],
    }  # fmt: skip
    state = {"path": "state", "maxBytes": "1Gi"}
    service = start_service(cluster, [stream], state=state)
    service.document["sinks"] += [
        {
            "name": "events", "type": "kafka", "bootstrapServers": broker.bootstrap, "topic": namespace,
            "createTopics": {"partitions": 1}, "properties": {"message.max.bytes": 2_000_000},
        },
        {"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{silent}/"},
    ]  # fmt: skip
    service.start().wait_listed()
    write(cluster, path, range(5), LARGE)
    service.wait(lambda: fold(service.records()) == actual(cluster, [path]), "the file, all healthy")
    before = resident(service)
    broker.pause()
    write(cluster, path, range(5, 105), LARGE)
    write(cluster, path, range(105, 305), 100)
    exists = actual(cluster, [path])
    service.wait(lambda: fold(service.records()) == exists, "the file, two frozen", seconds=60)
    assert resident(service) - before < SPARE
    broker.resume()
    wanted = {f"n{number}" for number in range(305)}

    def keys() -> set[str]:
        found = broker.read(namespace, 2_000, quiet=8)
        return {message.key.rpartition("/")[2] for message in found}

    service.wait(lambda: keys() >= wanted, "the topic to have everything", seconds=120)
    assert service.stop() == 0
