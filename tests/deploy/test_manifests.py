"""deploy/ fits together, and a real API server takes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import bridge
from bridge.config import Config, load
from bridge.config.units import parse_size

if TYPE_CHECKING:
    from tests.components.cluster import Cluster

pytest_plugins = ["tests.components.fixtures"]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ACCOUNT = "system:serviceaccount:kube-bridge:kube-bridge"


def manifests() -> dict[tuple[str, str], Any]:
    """Every object of deploy/, by kind and name."""
    documents: list[Any] = []
    for name in yaml.safe_load((DEPLOY / "kustomization.yaml").read_text("utf-8"))["resources"]:
        documents += yaml.safe_load_all((DEPLOY / name).read_text("utf-8"))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def pod() -> Any:
    return manifests()["StatefulSet", "kube-bridge"]["spec"]["template"]


def container() -> Any:
    [only] = pod()["spec"]["containers"]
    return only


@pytest.fixture
def config() -> Config:
    return load(DEPLOY / "config.yaml")


def test_the_configuration_stands_in_one_place_and_a_change_of_it_restarts_the_pod() -> None:
    """A generated ConfigMap has a hash of its content in its name, and the pod mounts that name."""
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text("utf-8"))
    [generated] = kustomization["configMapGenerator"]
    assert generated == {"name": "kube-bridge", "namespace": "kube-bridge", "files": ["config.yaml"]}
    assert "generatorOptions" not in kustomization
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert volumes["config"]["configMap"] == {"name": generated["name"]}


def test_the_secrets_that_are_shown_are_mounted_when_their_lines_are_no_comments_any_more() -> None:
    shown = (DEPLOY / "statefulset.yaml").read_text("utf-8")
    active = re.sub(
        r"^( +)# (?=- \{?name: |  secret: |  +valueFrom: |  - name: |env:$)", r"\1", shown, flags=re.MULTILINE
    )
    [stateful] = [each for each in yaml.safe_load_all(active) if each["kind"] == "StatefulSet"]
    spec = stateful["spec"]["template"]["spec"]
    [only] = spec["containers"]
    [mounted] = [mount for mount in only["volumeMounts"] if mount["name"] == "secrets"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "secrets"]
    [variable] = only["env"]
    assert mounted["mountPath"] == "/etc/kube-bridge-secrets"
    assert volume["secret"]["secretName"] == variable["valueFrom"]["secretKeyRef"]["name"]


def test_the_program_is_started_with_the_mounted_configuration() -> None:
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert container()["args"] == ["run", "-c", f"{mounts['config']['mountPath']}/config.yaml"]
    assert mounts["config"]["readOnly"]


def test_the_volume_is_mounted_at_the_state_and_fits_it_twice(config: Config) -> None:
    """An upgrade of the state keeps a copy; `maxBytes` includes everything else that is written."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    [claim] = manifests()["StatefulSet", "kube-bridge"]["spec"]["volumeClaimTemplates"]
    storage = parse_size(claim["spec"]["resources"]["requests"]["storage"])
    assert config.state is not None
    assert mounts[claim["metadata"]["name"]] == str(config.state.path)
    assert storage is not None
    assert storage >= 2 * config.state.max_bytes + (256 << 20)


def test_the_memory_limit_has_room_for_the_bridge_beside_its_records(config: Config) -> None:
    """120 MB is the promised peak for a first list of 50,000 Pods, with the default of memory.maxBytes."""
    limits, requests = container()["resources"]["limits"], container()["resources"]["requests"]
    request, limit = parse_size(requests["memory"]), parse_size(limits["memory"])
    assert request is not None
    assert limit is not None
    assert request >= 120_000_000
    assert limit >= 120_000_000 + 2 * config.memory.max_bytes
    assert "cpu" not in limits


def test_the_probes_ask_the_port_that_the_bridge_listens_on(config: Config) -> None:
    [port] = container()["ports"]
    assert config.http is not None
    assert (config.http.listen.host, config.http.listen.port) == ("", port["containerPort"])
    paths = {
        name: container()[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert all(container()[name]["httpGet"]["port"] == port["name"] for name in paths)
    [service_port] = manifests()["Service", "kube-bridge"]["spec"]["ports"]
    assert service_port["port"] == port["containerPort"]


def test_the_rights_are_those_of_the_streams_and_no_more(config: Config) -> None:
    """Each stream needs get, list and watch; beside them only the cluster's identity is read."""
    named = {"Pod": ("", "pods")}
    wanted = set()
    for stream in config.streams:
        resource, _, group = (stream.resource or "").partition(".")
        wanted.add(named[stream.kind] if stream.kind else (group, resource))
    granted: dict[tuple[str, str], Any] = {}
    for rule in manifests()["ClusterRole", "kube-bridge"]["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                granted[group, resource] = (rule["verbs"], rule.get("resourceNames"))
    assert granted.pop(("", "namespaces")) == (["get"], ["kube-system"])
    assert granted == dict.fromkeys(wanted, (["get", "list", "watch"], None))
    [rule] = manifests()["Role", "kube-bridge-revision"]["rules"]
    assert rule == {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}


def test_the_image_is_of_this_version_and_runs_as_the_user_of_the_pod() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert container()["image"] == f"kube-bridge:{bridge.__version__}"
    assert f"-t kube-bridge:{bridge.__version__} " in dockerfile
    security = pod()["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in dockerfile


def test_what_the_image_is_built_from_exists_and_is_sent_to_the_builder() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split("\n")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
        for source in line.split()
    ]
    assert "requirements.lock" in copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignore


def test_the_wheel_is_built_with_what_the_tests_build_it_with() -> None:
    """Both locks pin the same, with the same hashes, so what is tested is what is shipped."""

    def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
        blocks = re.findall(
            r"^([\w.-]+)==(\S+) \\\n((?: +--hash=\S+.*\n)+)", path.read_text("utf-8"), re.MULTILINE
        )
        return {
            name: (version, frozenset(re.findall(r"sha256:\w+", hashes))) for name, version, hashes in blocks
        }

    build = pins(DEPLOY / "build.lock")
    tests = pins(ROOT / "tests" / "requirements.lock")
    assert "hatchling" in build
    assert build == {name: tests[name] for name in build}


@pytest.fixture
def installed(cluster: Cluster) -> Cluster:
    """The cluster with what rbac.yaml has: the namespace must be there before anything in it can be tried."""
    cluster.kubectl("apply", "-f", str(DEPLOY / "rbac.yaml"))
    return cluster


def test_a_real_server_takes_all_of_it(installed: Cluster) -> None:
    said = set(installed.kubectl("apply", "--dry-run=server", "-k", str(DEPLOY), "--output=name").split())
    expected = {f"{kind}.{_group(kind)}/{name}".replace("./", "/").lower() for kind, name in manifests()}
    [generated] = said - expected
    assert said > expected
    assert re.fullmatch(r"configmap/kube-bridge-[a-z0-9]+", generated)
    files = [f"--filename={DEPLOY / name}" for name in ("rbac.yaml", "statefulset.yaml")]
    assert set(installed.kubectl("apply", "--dry-run=server", *files, "--output=name").split()) == expected


def test_the_server_warns_of_nothing(installed: Cluster) -> None:
    """Unknown fields, deprecated versions and a pod that is less than restricted would be warnings."""
    installed.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-k", str(DEPLOY)
    )


def test_the_pod_is_admitted_where_only_restricted_pods_are(installed: Cluster) -> None:
    labels = manifests()["Namespace", "kube-bridge"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = pod()["spec"] | {
        "volumes": [*pod()["spec"]["volumes"], {"name": "state", "emptyDir": {}}],
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "try", "namespace": "kube-bridge"},
        "spec": spec,
    }
    path = "/api/v1/namespaces/kube-bridge/pods?dryRun=All"
    assert installed.request("POST", path, body)["metadata"]["name"] == "try"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({"verb": "watch", "resource": "pods"}, True),
        ({"verb": "list", "resource": "deployments", "group": "apps"}, True),
        ({"verb": "get", "resource": "services"}, True),
        ({"verb": "get", "resource": "namespaces", "name": "kube-system"}, True),
        ({"verb": "get", "resource": "namespaces", "name": "default"}, False),
        ({"verb": "list", "resource": "namespaces"}, False),
        ({"verb": "list", "resource": "events", "namespace": "default"}, True),
        ({"verb": "list", "resource": "events"}, False),
        ({"verb": "list", "resource": "secrets"}, False),
        ({"verb": "delete", "resource": "pods"}, False),
        ({"verb": "create", "resource": "pods"}, False),
    ],
    ids=lambda case: " ".join(case.values()) if isinstance(case, dict) else str(case),
)
def test_the_service_account_may_do_what_the_example_needs_and_no_more(
    installed: Cluster, asked: dict[str, str], *, allowed: bool
) -> None:
    review = {"spec": {"user": ACCOUNT, "resourceAttributes": asked}}
    answer = installed.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert answer["status"]["allowed"] is allowed


def _group(kind: str) -> str:
    return {
        "StatefulSet": "apps",
        "ClusterRole": "rbac.authorization.k8s.io",
        "ClusterRoleBinding": "rbac.authorization.k8s.io",
        "Role": "rbac.authorization.k8s.io",
        "RoleBinding": "rbac.authorization.k8s.io",
    }.get(kind, "")
