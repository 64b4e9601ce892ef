"""`kube-bridge run` while the API server and etcd are killed, compacted, restored and refuse it.

The judges are etcd's own history, and the cluster itself: folding the file must give what exists.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.components.cluster import Cluster
from tests.components.process import eventually
from tests.end_to_end.objects import CONFIGMAPS, SECRETS, actual, configmap, new_namespace
from tests.end_to_end.program import Record, Service, StartService, fold
from tests.end_to_end.scanner import Scanner
from tests.truth.oracle import Fact, facts_of_lines, ids_of_lines, judge

pytest_plugins = ["tests.components.fixtures"]

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}"


@pytest.fixture
def cluster(hurt_cluster: Cluster) -> Cluster:
    """Private to this module: its parts may be hurt."""
    return hurt_cluster


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace that only this test writes to."""
    return new_namespace(cluster)


def configmaps(namespace: str) -> list[dict[str, object]]:
    """The declaration of a stream of ConfigMaps."""
    return [{"name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace]}]


def write(cluster: Cluster, namespace: str, *names: str, value: str = "1") -> None:
    for name in names:
        cluster.request("POST", CONFIGMAPS.format(namespace), configmap(name, value))


def change(cluster: Cluster, namespace: str, name: str, value: str = "2") -> None:
    path = f"{CONFIGMAPS.format(namespace)}/{name}"
    cluster.request("PUT", path, configmap(name, value))


def delete(cluster: Cluster, namespace: str, *names: str) -> None:
    for name in names:
        cluster.request("DELETE", f"{CONFIGMAPS.format(namespace)}/{name}")


def same_as_cluster(service: Service, cluster: Cluster, namespace: str) -> bool:
    return fold(service.records()) == actual(cluster, [CONFIGMAPS.format(namespace)])


def deletions(service: Service) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in service.changes():
        if record["type"] == "DELETED":
            found.setdefault(record["name"], []).append(record)
    return found


def history(cluster: Cluster, namespace: str) -> list[Fact]:
    prefix = f"/registry/configmaps/{namespace}/"
    return [
        Fact(
            "configmaps",
            namespace,
            event.key.removeprefix(prefix),
            event.revision,
            event.operation == "DELETE",
        )
        for event in cluster.history(prefix=prefix)
    ]


def test_a_server_that_is_away_at_the_start_is_waited_for(
    cluster: Cluster, namespace: str, start_service: StartService
) -> None:
    write(cluster, namespace, "first")
    service = start_service(cluster, configmaps(namespace))
    cluster.apiserver.kill()
    service.start().program.wait_err("connection refused")
    assert service.program.process.poll() is None
    cluster.apiserver.start()
    service.wait_types("first", "ADDED")
    assert service.stop() == 0


@contextlib.contextmanager
def writing(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Creates, changes, deletes and recreates, as fast as one client can, also while nobody answers."""
    ended = threading.Event()

    def run() -> None:
        path = CONFIGMAPS.format(namespace)
        number = 0
        while not ended.is_set():
            name = f"n{number % 7}"
            body = configmap(name, str(number))
            number += 1
            # Requests to a killed server fail; what of them was done, etcd knows.
            with contextlib.suppress(httpx.HTTPError), cluster.client(timeout=5) as client:
                client.post(path, json=body)
                client.put(f"{path}/{name}", json=body)
                if number % 3:
                    client.delete(f"{path}/{name}")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_server_killed_in_the_middle_of_events_costs_none_of_them(
    cluster: Cluster, namespace: str, start_service: StartService
) -> None:
    """Twice SIGKILL under load: each write that etcd has is in the file, once, in order per object.

    The only exception is one that is told: a server that starts anew has forgotten the history that its
    predecessor had not sent yet, and a RESYNC says from where to where.
    """
    service = start_service(cluster, configmaps(namespace))
    service.start().wait_listed()

    def more_than(count: int) -> Callable[[], bool]:
        return lambda: len(service.changes()) > count

    with writing(cluster, namespace):
        for count in (30, 90):
            service.wait(more_than(count), "events")
            cluster.apiserver.restart()
        service.wait(more_than(150), "events after the last restart", seconds=60)
    write(cluster, namespace, "last")
    service.wait_types("last", "ADDED", seconds=60)
    lines = service.out.read_bytes().split(b"\n")[:-1]
    judgement = judge(history(cluster, namespace), facts_of_lines(lines), ids_of_lines(lines))
    gaps = [(int(end["from"]), int(end["to"])) for end in service.resyncs("expired")]

    def told(fact: Fact) -> bool:
        return any(low < fact.revision <= high for low, high in gaps)

    assert [fact for fact in judgement.missing if not told(fact)] == [], gaps
    assert [fact for fact in judgement.invented if not (fact.deleted and told(fact))] == [], gaps
    assert judgement.repeated == []
    assert judgement.disordered == []
    assert same_as_cluster(service, cluster, namespace)
    assert service.stop() == 0


@pytest.mark.parametrize("renamed", [False, True], ids=["same", "renamed"])
def test_deletions_that_the_server_has_forgotten_are_told_and_none_is_invented(
    cluster: Cluster,
    namespace: str,
    start_service: StartService,
    renamed: bool,  # noqa: FBT001 - a parameter
) -> None:
    """[N6] [N16] Promise 2: deleted, changed, recreated while we were down, the history compacted away.

    It holds as well where the stream has got another name meanwhile.
    """
    service = start_service(cluster, configmaps(namespace))
    write(cluster, namespace, "gone-1", "gone-2", "recreated", "changed", "same")
    service.start().wait_listed()
    service.kill()
    uids = {record["name"]: record["uid"] for record in service.changes()}
    delete(cluster, namespace, "gone-1", "gone-2", "recreated")
    write(cluster, namespace, "recreated", "new", value="3")
    change(cluster, namespace, "changed")
    cluster.etcd.compact()
    cluster.apiserver.restart()
    if renamed:
        service.document["streams"][0]["name"] = "renamed"
    service.start()
    service.wait(lambda: bool(service.resyncs("expired")), "the listing that replaces the history")
    service.wait_types("new", "ADDED")
    assert service.types("gone-1") == service.types("gone-2") == ["ADDED", "DELETED"]
    assert service.types("recreated") == ["ADDED", "DELETED", "ADDED"]
    assert service.types("changed") == ["ADDED", "MODIFIED"]
    assert service.types("same") == ["ADDED"]
    told = deletions(service)
    assert set(told) == {"gone-1", "gone-2", "recreated"}
    for name, [record] in told.items():
        assert record["synthetic"] is True
        assert record["uid"] == uids[name]
        assert record["observedAt"]
    [end] = service.resyncs("expired")
    assert end["counts"] == {"added": 2, "modified": 1, "deleted": 3, "unchanged": 1}
    assert len(service.resyncs("expired", "begin")) == 1
    assert same_as_cluster(service, cluster, namespace)
    assert service.stop() == 0


def role(cluster: Cluster, namespace: str, account: str) -> None:
    """Let a ServiceAccount list, watch and get ConfigMaps, in this namespace only."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
    path = RBAC.format(namespace)
    cluster.request("POST", f"{path}/roles", {"metadata": {"name": account}, "rules": [rule]})
    bind(cluster, namespace, account)


def bind(cluster: Cluster, namespace: str, account: str) -> None:
    binding: dict[str, Any] = {
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    cluster.request("POST", f"{RBAC.format(namespace)}/rolebindings", binding)


def unbind(cluster: Cluster, namespace: str, account: str) -> None:
    cluster.request("DELETE", f"{RBAC.format(namespace)}/rolebindings/{account}")


def use_token_file(service: Service, cluster: Cluster, token: str) -> None:
    """Make the service authenticate with a token in a file, as a pod does."""
    config = cluster.credentials.kubeconfig(cluster.url, "")
    config["users"][0]["user"] = {"tokenFile": "token"}
    service.kubeconfig.write_text(json.dumps(config))
    rotate(service, token)


def rotate(service: Service, token: str) -> None:
    """Replace the token at once, as the kubelet does."""
    new = service.folder / "token.new"
    new.write_text(token)
    new.rename(service.folder / "token")


def test_rights_that_are_taken_away_delete_nothing_and_come_back(
    cluster: Cluster, namespace: str, start_service: StartService
) -> None:
    """403 in mid-run; then the token rotates, the old one stops working, and the stream goes on."""
    service = start_service(cluster, configmaps(namespace))
    old = cluster.service_account_token(namespace, "old")
    role(cluster, namespace, "old")
    use_token_file(service, cluster, old)
    write(cluster, namespace, "kept", "gone")
    service.start().wait_listed()
    unbind(cluster, namespace, "old")
    cluster.apiserver.restart()
    service.program.wait_err("forbidden", seconds=60)
    delete(cluster, namespace, "gone")
    write(cluster, namespace, "new")
    assert deletions(service) == {}
    new = cluster.service_account_token(namespace, "new")
    role(cluster, namespace, "new")
    rotate(service, new)
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/old")
    service.wait_types("new", "ADDED", seconds=90)
    service.wait_types("gone", "ADDED", "DELETED")
    assert same_as_cluster(service, cluster, namespace)
    assert service.stop() == 0
    for token in (old, new):
        assert token not in service.log


@pytest.mark.parametrize("running", [True, False], ids=["running", "down"])
def test_after_a_restore_from_a_backup_the_file_is_the_cluster(
    cluster: Cluster, namespace: str, start_service: StartService, *, running: bool
) -> None:
    """Time goes back under us: what came after the backup is undone, and revisions are used twice."""
    service = start_service(cluster, configmaps(namespace))
    write(cluster, namespace, "same", "changed-later", "deleted-later")
    service.start().wait_listed()
    backup = cluster.etcd.snapshot(service.folder / "backup.db")
    write(cluster, namespace, "born-later", *(f"filler-{number}" for number in range(20)))
    change(cluster, namespace, "changed-later")
    delete(cluster, namespace, "deleted-later")
    service.wait_types("deleted-later", "ADDED", "DELETED")
    if not running:
        service.kill()
    cluster.etcd.restore(backup)
    cluster.apiserver.restart()
    write(cluster, namespace, "after")
    if not running:
        service.start()
    service.wait_types("after", "ADDED", seconds=20)
    service.wait(
        lambda: same_as_cluster(service, cluster, namespace), "the file to equal the cluster", seconds=60
    )
    assert service.types("born-later") == ["ADDED", "DELETED"]
    assert service.types("deleted-later") == ["ADDED", "DELETED", "ADDED"]
    assert service.types("same")[:1] == ["ADDED"]
    assert "DELETED" not in service.types("same")
    assert len(service.resyncs("epoch")) == 1
    ids = [record["id"] for record in service.changes()]
    assert len(ids) == len(set(ids))
    for name in ("changed-later", "deleted-later", "born-later"):
        sequences = [record["sequence"] for record in service.changes(name)]
        assert sequences == sorted(set(sequences))
    assert service.stop() == 0


def test_a_stream_of_secrets_goes_through_a_forced_relist_without_leaking(
    cluster: Cluster, namespace: str, start_service: StartService
) -> None:
    """The listing after a compaction, with its inferred deletion, takes the redacted way too."""
    path = SECRETS.format(namespace)
    text = "SENTINEL-of-a-relist-8d1f"

    def make(name: str) -> None:
        cluster.request("POST", path, {"metadata": {"name": name}, "stringData": {"password": text}})

    make("kept")
    make("gone")
    stream: dict[str, object] = {"name": "s", "apiVersion": "v1", "kind": "Secret", "namespaces": [namespace]}
    service = start_service(cluster, [stream])
    service.start().wait_listed()
    service.kill()
    cluster.request("DELETE", f"{path}/gone")
    make("new")
    cluster.etcd.compact()
    cluster.apiserver.restart()
    service.start()
    service.wait(lambda: bool(service.resyncs("expired")), "the relist")
    eventually(lambda: service.types("new") == ["ADDED"], "the new one")
    assert service.types("gone") == ["ADDED", "DELETED"]
    service.kill()
    scanner = Scanner(text.encode())
    scanner.tree(service.folder)
    assert scanner.findings == []
