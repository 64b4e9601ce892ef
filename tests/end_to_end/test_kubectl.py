"""`kube-bridge watch` beside `kubectl get -w`, at the same time on the same server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.components.cluster import Cluster
from tests.end_to_end.objects import CONFIGMAPS, configmap, install, new_namespace, pod
from tests.end_to_end.program import Program, bridge

pytest_plugins = ["tests.components.fixtures"]

LAST = "zz-last"


@pytest.fixture(params=["cluster", "old_cluster"])
def server(request: pytest.FixtureRequest) -> Cluster:
    """Each of the two versions."""
    found: Cluster = request.getfixturevalue(request.param)
    return found


class Churn:
    """A fixed sequence of writes to three resources of one namespace."""

    def __init__(self, server: Cluster, namespace: str, group: str) -> None:
        self._server = server
        self._group = group
        self.paths = {
            "ConfigMap": CONFIGMAPS.format(namespace),
            "Pod": f"/api/v1/namespaces/{namespace}/pods",
            "Gadget": f"/apis/{group}/v1/namespaces/{namespace}/gadgets",
        }

    def gadget(self, name: str, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": f"{self._group}/v1",
            "kind": "Gadget",
            "metadata": {"name": name, "labels": {"app": "x"}, "annotations": {"a": '"uid":"no"'}},
            "spec": spec,
        }

    def _body(self, kind: str, name: str) -> dict[str, Any]:
        if kind == "Pod":
            return pod(name)
        return configmap(name) if kind == "ConfigMap" else self.gadget(name, size=1)

    def before(self) -> None:
        for kind, path in self.paths.items():
            for name in ("b-old", "a-old", "c-old"):
                self._server.request("POST", path, self._body(kind, name))

    def run(self) -> None:
        odd = 'line\nU+2028 \u2028 U+0085 \u0085 \U0001f600 \\ " </script> \x7f'
        for kind, path in self.paths.items():
            for number in range(4):
                self._server.request("POST", path, self._body(kind, f"n{number}"))
            self._patch(f"{path}/n0", {"metadata": {"annotations": {"odd": odd}}})
            self._patch(
                f"{path}/n1", {"metadata": {"labels": {"app": "y"}, "finalizers": ["test.example/x"]}}
            )
            self._delete(f"{path}/n1")  # MODIFIED: it only gets a deletionTimestamp
            self._patch(f"{path}/n1", {"metadata": {"finalizers": None}})
            self._delete(f"{path}/n2")
            self._server.request("POST", path, self._body(kind, "n2"))
            self._delete(f"{path}/a-old")
        gadgets = self.paths["Gadget"]
        numbers: dict[str, Any] = {
            "big": 2**63 - 1,
            "small": -(2**63),
            "part": 0.1,
            "whole": 1.0,
            "none": None,
            "list": [[], {}],
        }
        self._server.request("POST", gadgets, self.gadget("numbers", **numbers))
        status = {"status": {"phase": "Failed", "message": odd}}
        self._patch(f"{self.paths['Pod']}/n3/status", status)
        for kind, path in self.paths.items():
            self._server.request("POST", path, self._body(kind, LAST))

    def _delete(self, path: str) -> None:
        self._server.request("DELETE", f"{path}?gracePeriodSeconds=0")

    def _patch(self, path: str, body: dict[str, Any]) -> None:
        with self._server.client() as client:
            headers = {"Content-Type": "application/merge-patch+json"}
            client.patch(path, json=body, headers=headers).raise_for_status()


def of_kind(program: Program, kind: str) -> list[tuple[str, Any]]:
    """What a program told of one kind: types and objects, in order."""
    events = program.records()
    return [(event["type"], event["object"]) for event in events if event["object"]["kind"] == kind]


def seen(program: Program, kinds: list[str], name: str) -> Callable[[], bool]:
    def told() -> bool:
        return all(
            any(found["metadata"]["name"] == name for _, found in of_kind(program, kind)) for kind in kinds
        )

    return told


def test_events_objects_and_order_are_those_of_kubectl(server: Cluster, tmp_path: Path) -> None:
    """Proof 5: for each resource the same types and equal objects (as JSON values) in the same order."""
    namespace = new_namespace(server)
    group = f"{namespace}.example.com"
    install(server, "gadgets", group)
    churn = Churn(server, namespace, group)
    churn.before()
    environ = {"KUBECONFIG": str(server.kubeconfig)}
    names = {"ConfigMap": "configmaps", "Pod": "pods", "Gadget": f"gadgets.{group}"}
    get: list[str | Path] = [
        server.kubectl_program,
        f"--cache-dir={tmp_path}/cache",
        "get",
        "-w",
        "--output-watch-events",
    ]
    everything = ",".join(names.values())
    watch = bridge("watch", everything, "-n", namespace)
    with (
        Program([*get, "-o", "json", "-n", namespace, names["ConfigMap"]], tmp_path, environ) as configmaps,
        Program([*get, "-o", "json", "-n", namespace, names["Pod"]], tmp_path, environ) as pods,
        Program([*get, "-o", "json", "-n", namespace, names["Gadget"]], tmp_path, environ) as gadgets,
        Program([*watch, "-o", "kubernetes"], tmp_path, environ) as plain,
        Program([*watch, "-o", "json"], tmp_path, environ) as native,
    ):
        kubectls = {"ConfigMap": configmaps, "Pod": pods, "Gadget": gadgets}
        for moment in ("c-old", LAST):
            for kind, kubectl in kubectls.items():
                kubectl.wait(seen(kubectl, [kind], moment), f"{moment} from kubectl")
            for ours in (plain, native):
                ours.wait(seen(ours, list(names), moment), f"{moment} from kube-bridge")
            if moment == "c-old":
                churn.run()
        for kind, kubectl in kubectls.items():
            expected = of_kind(kubectl, kind)
            assert len(expected) > 12
            assert [found for found, _ in expected].count("DELETED") == 3
            assert of_kind(plain, kind) == expected
            assert of_kind(native, kind) == expected
        assert all(set(event) == {"type", "object"} for event in plain.records())
        for record in native.records():
            metadata = record["object"]["metadata"]
            assert (record["namespace"], record["name"]) == (namespace, metadata["name"])
            assert (record["uid"], record["resourceVersion"]) == (
                metadata["uid"],
                metadata["resourceVersion"],
            )
