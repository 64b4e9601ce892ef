"""A stream gets another name while the bridge is down: nothing is lost by that, or told twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.components.cluster import Cluster
from tests.components.process import eventually
from tests.end_to_end.objects import CONFIGMAPS, CRDS, configmap, install, new_namespace
from tests.end_to_end.program import RunBridge, Service, StartService

pytest_plugins = ["tests.components.fixtures"]

NAMES = ("first", "second", "third", "stays")


@pytest.fixture
def service(cluster: Cluster, namespace: str, start_service: StartService) -> Service:
    """A bridge that has told four ConfigMaps to two files; the second file's streams are listed by name."""
    for name in NAMES:
        cluster.request("POST", CONFIGMAPS.format(namespace), configmap(name))
    stream: dict[str, object] = {
        "name": "old", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace],
    }  # fmt: skip
    service = start_service(cluster, [stream])
    path = str(service.folder / "other.jsonl")
    service.document["sinks"].append({"name": "other", "type": "jsonlines", "path": path, "streams": ["old"]})
    service.start().wait_listed()
    for name in NAMES:
        service.wait_types(name, "ADDED")
    service.wait(lambda: len(told(other(service))) == len(NAMES), "the other sink's")
    return service


def other(service: Service) -> Path:
    path: Path = service.folder / "other.jsonl"
    return path


def told(path: Path) -> list[tuple[str, str, str]]:
    """Stream, type and name of every change."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return [(one["stream"], one["type"], one["name"]) for one in lines if "name" in one]


def rename(service: Service) -> None:
    service.document["streams"][0]["name"] = "new"
    service.document["sinks"][1]["streams"] = ["new"]


def delete(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.request("DELETE", f"{CONFIGMAPS.format(namespace)}/{name}")


def test_what_was_deleted_meanwhile_and_what_a_sink_did_not_have_yet_comes_under_the_new_name_once(
    service: Service, cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    assert run_bridge("pause", "-c", service.config, "--sink", "other").end() == 0
    delete(cluster, namespace, "first")
    service.wait_types("first", "ADDED", "DELETED")
    assert service.stop() == 0
    delete(cluster, namespace, "second")
    rename(service)
    before = len(told(service.out)), len(told(other(service)))
    service.start().program.wait_err("stream adopted")
    service.wait(lambda: len(told(other(service))) > before[1] + 1, "both deletions")
    service.wait(lambda: len(told(service.out)) > before[0], "the deletion")
    delete(cluster, namespace, "third")
    service.wait_types("third", "ADDED", "DELETED")
    assert service.stop() == 0
    gone = [("new", "DELETED", name) for name in NAMES]
    assert told(service.out)[before[0] :] == gone[1:3]
    assert told(other(service))[before[1] :] == gone[:3]
    assert not [one for one in service.records() if "snapshot" in one]
    assert "the state knows a stream that the configuration does not name" not in service.log


def test_a_bridge_that_is_killed_where_it_renames_has_renamed_it_after_the_next_start(
    service: Service, cluster: Cluster, namespace: str
) -> None:
    service.kill()
    delete(cluster, namespace, "second")
    rename(service)
    before = len(told(service.out))
    program = service.start(KUBE_BRIDGE_CRASH="log.renamed").program
    assert program.end() == -9
    service.kill()
    service.start().wait_types("second", "ADDED", "DELETED")
    assert service.stop() == 0
    assert told(service.out)[before:] == [("new", "DELETED", "second")]


def test_a_stream_that_watches_something_else_now_takes_up_nothing_and_that_is_told(service: Service) -> None:
    assert service.stop() == 0
    rename(service)
    service.document["streams"][0]["labelSelector"] = "no=one"
    service.start().program.wait_err("no new stream watches just the same")
    service.program.wait_err('"live"')
    assert service.stop() == 0
    assert "adopted" not in service.log
    assert {stream for stream, *_ in told(service.out)} == {"old"}


def test_a_stream_whose_resource_is_away_at_that_start_goes_on_under_its_new_name_once_it_is_served(
    cluster: Cluster, start_service: StartService
) -> None:
    namespace = new_namespace(cluster)
    group = f"{namespace}.example.com"
    install(cluster, "sprockets", group)
    body = {"apiVersion": f"{group}/v1", "kind": "Sprocket", "metadata": {"name": "a"}}
    cluster.request("POST", f"/apis/{group}/v1/namespaces/{namespace}/sprockets", body)
    stream: dict[str, object] = {"name": "old", "apiVersion": f"{group}/v1", "kind": "Sprocket"}
    service = start_service(cluster, [stream])
    service.start().wait_types("a", "ADDED")
    assert service.stop() == 0
    cluster.request("DELETE", f"{CRDS}/sprockets.{group}")
    eventually(lambda: not served(cluster, group), "the definition to be gone")
    stream["name"] = "new"
    service.start().program.wait_err("Sprocket")
    assert told(service.out) == [("old", "ADDED", "a")]
    install(cluster, "sprockets", group)
    service.wait_types("a", "ADDED", "DELETED")
    assert service.stop() == 0
    assert "stream adopted" in service.log
    assert told(service.out)[1:] == [("new", "DELETED", "a")]


def served(cluster: Cluster, group: str) -> bool:
    with cluster.client() as client:
        return client.get(f"/apis/{group}/v1").is_success
