"""The real components themselves: what tests may rely on when they judge kube-bridge by them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.components import build
from tests.components.build import COMPONENTS, HERE, ComponentUnavailable, binary, obtain
from tests.components.cluster import Compacted, ComponentFailed, Event, User
from tests.components.maven import kafka_jars
from tests.components.process import alive, eventually

if TYPE_CHECKING:
    from tests.components.cluster import Cluster
    from tests.components.fixtures import StartCluster

pytest_plugins = ["tests.components.fixtures"]

ROOT = Path(__file__).parent.parent


def test_an_object_made_with_kubectl_is_in_the_history_of_etcd_at_its_resource_version(
    cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl("create", "configmap", "one", "--from-literal=a=1", f"--namespace={namespace}")
    path = f"/api/v1/namespaces/{namespace}/configmaps/one"
    created = int(cluster.request("GET", path)["metadata"]["resourceVersion"])
    cluster.request("DELETE", path)

    key = f"/registry/configmaps/{namespace}/one"
    put, delete = cluster.history(since=created, prefix=key)
    assert put == Event(key, created, "PUT")
    assert (delete.key, delete.operation) == (key, "DELETE")
    assert created < delete.revision <= cluster.etcd.revision()
    assert cluster.history(since=delete.revision, prefix=key) == [delete]


def test_history_is_complete_and_in_order_over_more_revisions_than_etcd_sends_at_once(
    hurt_cluster: Cluster,
) -> None:
    cluster = hurt_cluster
    before = cluster.etcd.revision()
    for _ in range(1100):
        cluster.etcd.call("/v3/kv/put", {"key": "L3JlZ2lzdHJ5L3g=", "value": "eA=="})  # /registry/x = x
    history = cluster.history(since=before + 1, prefix="/registry/x")
    assert len(history) == 1100
    assert [e.revision for e in history] == sorted({e.revision for e in history})


def test_compacted_history_is_an_error_naming_the_first_revision_left(
    hurt_cluster: Cluster,
) -> None:
    cluster = hurt_cluster
    compacted = cluster.etcd.compact()
    with pytest.raises(Compacted) as gone:
        cluster.history()
    assert gone.value.revision == compacted
    assert all(event.revision >= compacted for event in cluster.history(since=compacted))


def test_the_server_says_its_true_version(cluster: Cluster) -> None:
    assert cluster.request("GET", "/version")["gitVersion"] == "v1.36.3"


def test_the_old_server_says_its_true_version(old_cluster: Cluster) -> None:
    version = old_cluster.request("GET", "/version")
    assert (version["gitVersion"], version["major"], version["minor"]) == ("v1.33.13", "1", "33")


def test_users_may_do_what_their_rbac_allows_and_no_more(start_cluster: StartCluster, tmp_path: Path) -> None:
    cluster = start_cluster(users=[User("reader", ("readers",))])
    reader = cluster.credentials.users["reader"].token
    cluster.kubectl("create", "clusterrole", "readers", "--verb=list", "--resource=configmaps")
    cluster.kubectl("create", "clusterrolebinding", "readers", "--clusterrole=readers", "--group=readers")

    def allowed() -> bool:
        with cluster.client(reader) as client:
            return client.get("/api/v1/configmaps").is_success

    eventually(allowed, "the server knows the new role")
    with pytest.raises(ComponentFailed, match="HTTP 403"):
        cluster.request("GET", "/api/v1/secrets", token=reader)

    other = cluster.add_user("other", "readers")
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig", other.token)
    assert "system" in cluster.kubectl("get", "configmaps", "--all-namespaces", kubeconfig=kubeconfig)

    token = cluster.service_account_token("default", "robot")
    with pytest.raises(ComponentFailed, match="system:serviceaccount:default:robot"):
        cluster.request("GET", "/api/v1/pods", token=token)


def test_data_outlives_crashes_and_a_restored_snapshot_takes_time_back(
    hurt_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = hurt_cluster
    cluster.kubectl("create", "configmap", "kept")
    snapshot = cluster.etcd.snapshot(tmp_path / "snapshot.db")
    cluster.kubectl("create", "configmap", "lost")
    url = cluster.url

    cluster.apiserver.kill()
    cluster.etcd.restart()
    cluster.apiserver.start()
    assert cluster.url == url
    assert "configmap/lost" in cluster.kubectl("get", "configmaps", "--output=name")

    cluster.apiserver.kill()
    cluster.etcd.restore(snapshot, bump_revision=1_000_000)
    cluster.apiserver.start()
    assert cluster.etcd.revision() > 1_000_000
    names = cluster.kubectl("get", "configmaps", "--output=name")
    assert "configmap/kept" in names
    assert "configmap/lost" not in names


def test_a_paused_server_answers_nothing_and_goes_on_when_resumed(hurt_cluster: Cluster) -> None:
    cluster = hurt_cluster
    cluster.apiserver.pause()
    with cluster.client(timeout=0.5) as client, pytest.raises(httpx.TimeoutException):
        client.get("/readyz")
    cluster.apiserver.resume()
    cluster.apiserver.wait_ready()


def test_a_deployment_makes_pods_when_the_controllers_run(start_cluster: StartCluster) -> None:
    cluster = start_cluster(controllers=True)
    cluster.kubectl("create", "deployment", "web", "--image=none", "--replicas=2")

    def two_pods() -> bool:
        return len(cluster.request("GET", "/api/v1/namespaces/default/pods")["items"]) == 2

    eventually(two_pods, "two pods")


def test_a_server_that_cannot_start_says_why_and_keeps_its_log(start_cluster: StartCluster) -> None:
    with pytest.raises(ComponentFailed, match="unknown flag: --no-such-flag") as failed:
        start_cluster(args=["--no-such-flag"])
    log = Path(str(failed.value).partition("log: ")[2].splitlines()[0])
    assert "no-such-flag" in log.read_text()
    shutil.rmtree(log.parent.parent)


PARENT = """
import signal
from tests.components.cluster import Cluster
with Cluster() as cluster:
    print(cluster.directory, cluster.etcd.pid, cluster.apiserver.pid, flush=True)
    signal.pause()
"""


def test_killing_the_parent_leaves_no_process_behind(cluster: Cluster) -> None:
    assert cluster.apiserver.running  # so that everything is built, or the test skipped
    with python(PARENT) as parent:
        directory, *pids = read_line(parent).split()
        assert all(alive(int(pid)) for pid in pids)
        parent.kill()
    eventually(lambda: not any(alive(int(pid)) for pid in pids), "the servers are gone", seconds=10)
    shutil.rmtree(directory)


BUILDER = """
import sys
from pathlib import Path
from tests.components.build import obtain

def produce(folder):
    (folder / "half").write_text("half a binary")
    print("producing", flush=True)
    sys.stdin.read()
    (folder / "program").write_text("whole")

obtain(Path(sys.argv[1]), produce)
print("done", flush=True)
"""


def test_two_builds_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "thing-v1"
    said: list[str] = []
    monkeypatch.setattr(build, "say", said.append)
    produced: list[Path] = []
    with python(BUILDER, str(target)) as first:
        assert read_line(first) == "producing"
        second = threading.Thread(target=obtain, args=(target, produced.append))
        second.start()
        eventually(lambda: bool(said), "the second build waits")
        assert not target.exists()
        assert first.stdin
        first.stdin.close()
        assert read_line(first) == "done"
        second.join()
    assert said == ["another process is building thing-v1; waiting for it"]
    assert produced == []
    assert (target / "program").read_text() == "whole"


def test_a_killed_build_is_not_trusted_and_leaves_no_lock_behind(tmp_path: Path) -> None:
    target = tmp_path / "thing-v1"
    with python(BUILDER, str(target)) as killed:
        assert read_line(killed) == "producing"
        killed.kill()
    assert not target.exists()

    assert obtain(target, lambda folder: (folder / "program").touch()) == target
    assert [path.name for path in target.iterdir()] == ["program"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thing-v1", "thing-v1.lock"]


def test_a_failed_build_leaves_nothing_and_the_next_one_may_succeed(tmp_path: Path) -> None:
    def fail(_folder: Path) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        obtain(tmp_path / "thing-v1", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["thing-v1.lock"]
    obtain(tmp_path / "thing-v1", lambda _folder: None)


def test_kubebuilder_assets_are_used_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").touch(mode=0o755)
    assert binary("etcd") == tmp_path / "etcd"
    with pytest.raises(ComponentUnavailable, match=r"there is no program .*/kubectl"):
        binary("kubectl")


def test_a_machine_without_go_is_told_that_it_needs_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComponentUnavailable, match="needs Go, to build etcd v3"):
        binary("etcd")


def test_a_machine_without_java_or_maven_is_told_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComponentUnavailable, match="needs Java 17 or later, to run Kafka"):
        kafka_jars()
    (tmp_path / "java").touch(mode=0o755)
    with pytest.raises(ComponentUnavailable, match="needs Maven, to fetch Kafka"):
        kafka_jars()


@pytest.mark.parametrize(("ci", "outcome"), [("true", "failed"), ("", "skipped")])
def test_what_is_missing_skips_a_test_but_fails_it_in_ci(
    ci: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_it.py").write_text(
        "pytest_plugins = ['tests.components.fixtures']\ndef test_it(cluster): pass\n"
    )
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rsf", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert f"1 {outcome}" in done.stdout.replace("error", "failed")
    assert "KUBEBUILDER_ASSETS is set" in done.stdout


def test_no_registry_or_machine_is_named_in_the_pinned_modules() -> None:
    for module in {component.module for component in COMPONENTS}:
        for name in ("go.mod", "go.sum"):
            text = (HERE / module / name).read_text().lower()
            assert "://" not in text
            assert "goproxy" not in text


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()
