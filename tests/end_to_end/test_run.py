"""`kube-bridge run` on a real server: what ends it, what does not, and what it does to its state."""

import json
import os
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.components.cluster import Cluster
from tests.end_to_end.objects import CONFIGMAPS, CRDS, actual, configmap, install, new_namespace
from tests.end_to_end.program import RunBridge, Service, StartService, fold

pytest_plugins = ["tests.components.fixtures"]


def configmaps(namespace: str) -> list[dict[str, object]]:
    """The declaration of a stream of ConfigMaps."""
    return [{"name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace]}]


@pytest.fixture
def service(cluster: Cluster, namespace: str, start_service: StartService) -> Service:
    """A service over the test's namespace, where one ConfigMap exists; its first listing has ended."""
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("first"))
    service = start_service(cluster, configmaps(namespace))
    service.start().wait_listed()
    return service


def test_a_state_in_use_is_exit_3_and_names_who_has_it(service: Service, run_bridge: RunBridge) -> None:
    code, sentence = run_bridge("run", "-c", service.config).failure()
    assert code == 3
    assert str(service.state) in sentence
    assert f"process {service.program.process.pid} on {socket.gethostname()} since " in sentence
    assert service.stop() == 0


def test_another_cluster_behind_the_state_is_exit_3_and_deletes_nothing(
    service: Service, old_cluster: Cluster
) -> None:
    """Promise 8: to another cluster everything would seem to be gone."""
    assert service.stop() == 0
    before = service.records()
    old_cluster.write_kubeconfig(service.kubeconfig, old_cluster.token)
    program = service.start().program
    assert program.end() == 3
    assert "cluster" in program.err.splitlines()[-1]
    assert str(service.kubeconfig) in program.err
    assert service.records() == before


def test_a_right_to_read_kube_system_that_is_given_later_makes_no_other_cluster_of_it(
    cluster: Cluster, namespace: str, start_service: StartService
) -> None:
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("first"))
    service = start_service(cluster, configmaps(namespace))
    cluster.write_kubeconfig(service.kubeconfig, cluster.service_account_token(namespace, "nobody"))
    service.start().wait(lambda: "watching" in service.program.err, "an identity was chosen")
    assert service.stop() == 0
    chosen = json.loads(next(line for line in service.log.splitlines() if '"watching"' in line))["uid"]
    cluster.write_kubeconfig(service.kubeconfig, cluster.token)
    service.start().wait_types("first", "ADDED")
    assert service.changes("first")[0]["id"].startswith(f"{chosen}/")


def test_a_right_to_read_kube_system_that_is_taken_away_later_makes_no_other_cluster_of_it(
    service: Service, cluster: Cluster, namespace: str
) -> None:
    assert service.stop() == 0
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("second"))
    cluster.write_kubeconfig(service.kubeconfig, cluster.service_account_token(namespace, "reader"))
    who = f"--serviceaccount={namespace}:reader"
    reads = ["--verb=get,list,watch", "--resource=configmaps"]
    cluster.kubectl("create", "role", "reader", "-n", namespace, *reads)
    cluster.kubectl("create", "rolebinding", "reader", "-n", namespace, "--role=reader", who)
    service.start().wait_types("second", "ADDED")
    assert len([line for line in service.program.err.splitlines() if "may not be read any more" in line]) == 1
    (first,), (second,) = service.changes("first"), service.changes("second")
    assert first["id"].split("/")[0] == second["id"].split("/")[0]


def test_a_cluster_that_cannot_be_told_from_another_is_exit_3_and_the_sentence_says_how_to_go_on(
    service: Service, old_cluster: Cluster
) -> None:
    assert service.stop() == 0
    known = service.changes("first")[0]["id"].split("/")[0]
    old_cluster.write_kubeconfig(service.kubeconfig, old_cluster.service_account_token("default", "nobody"))
    program = service.start().program
    assert program.end() == 3
    assert f"if it is that cluster, write cluster.uid: {known} (" in program.err.splitlines()[-1]


def damage_version(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def damage_page(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096 * 2 : 4096 * 3] = os.urandom(4096)
    database.write_bytes(content)


def damage_header(database: Path) -> None:
    database.write_bytes(b"this is no database" * 1000)


@pytest.mark.parametrize(
    ("damage", "words"), [(damage_version, "newer"), (damage_page, "corrupt"), (damage_header, "corrupt|not")]
)
def test_a_state_that_cannot_be_used_is_exit_3_and_is_not_touched(
    service: Service, run_bridge: RunBridge, damage: Any, words: str
) -> None:
    """It is never reset by itself: what it remembers is what keeps deletions from being lost."""
    assert service.stop() == 0
    [database] = [path for path in service.state.iterdir() if is_sqlite(path)]
    damage(database)
    damaged = database.read_bytes()
    code, sentence = run_bridge("run", "-c", service.config).failure()
    assert code == 3
    assert any(word in sentence for word in words.split("|")), sentence
    assert str(database.parent) in sentence
    assert database.read_bytes() == damaged


def is_sqlite(path: Path) -> bool:
    return path.read_bytes()[:16] == b"SQLite format 3\0"


def test_sigterm_in_the_middle_of_a_burst_drains_and_a_restart_repeats_nothing(
    service: Service, cluster: Cluster, namespace: str
) -> None:
    path = CONFIGMAPS.format(namespace)
    names = ["first"]

    def create(client: httpx.Client) -> None:
        client.post(path, json=configmap(f"burst-{len(names)}")).raise_for_status()
        names.append(f"burst-{len(names)}")

    with cluster.client() as client:
        for _ in range(60):
            create(client)
        service.program.signal(signal.SIGTERM)
        while service.program.process.poll() is None:
            create(client)
        create(client)
    assert service.program.end(seconds=40) == 0
    content = service.out.read_bytes()
    assert content.endswith(b"\n")
    assert len(service.changes()) < len(names)
    service.start()
    service.wait(lambda: len(service.changes()) >= len(names), "the rest of the burst")
    service.kill()
    assert service.out.read_bytes().startswith(content)
    assert [record["name"] for record in service.changes()] == names
    assert fold(service.records()) == actual(cluster, [path])


def test_a_custom_resource_that_is_installed_later_is_picked_up_and_its_end_is_told(
    cluster: Cluster, start_service: StartService
) -> None:
    """Deleted with its definition, each object has its DELETED; a definition that is away deletes nothing."""
    namespace = new_namespace(cluster)
    group = f"{namespace}.example.com"
    path = f"/apis/{group}/v1/namespaces/{namespace}/sprockets"
    stream: dict[str, object] = {"name": "sp", "apiVersion": f"{group}/v1", "kind": "Sprocket"}
    service = start_service(cluster, [stream])
    service.start().program.wait_err("Sprocket")
    assert service.program.process.poll() is None
    install(cluster, "sprockets", group)

    def create(*names: str) -> None:
        for name in names:
            body = {"apiVersion": f"{group}/v1", "kind": "Sprocket", "metadata": {"name": name}}
            cluster.request("POST", path, body)

    create("a", "b")
    service.wait_types("b", "ADDED")
    cluster.request("DELETE", f"{CRDS}/sprockets.{group}")
    service.wait(lambda: fold(service.records()) == {}, "both to be deleted")
    assert service.types("a") == service.types("b") == ["ADDED", "DELETED"]
    service.kill()
    install(cluster, "sprockets", group)
    create("c", "d")
    service.start()
    service.wait_types("d", "ADDED")
    service.kill()
    cluster.request("DELETE", f"{CRDS}/sprockets.{group}")
    with cluster.client() as client:
        while client.get(path).is_success:
            pass
    service.start()
    service.program.wait_err("Sprocket")
    assert service.types("c") == service.types("d") == ["ADDED"]
    install(cluster, "sprockets", group)
    create("d", "e")
    service.wait_types("e", "ADDED", seconds=60)
    assert service.types("c") == ["ADDED", "DELETED"]
    assert service.types("d") == ["ADDED", "DELETED", "ADDED"]
    assert fold(service.records()) == actual(cluster, [path])
