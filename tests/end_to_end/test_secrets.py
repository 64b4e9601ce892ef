"""Proof 4: a value of a Secret is nowhere, in no form; the same search finds it where it was asked for."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from tests.components.cluster import Cluster
from tests.end_to_end.objects import SECRETS, new_namespace
from tests.end_to_end.program import RunBridge, Service, StartService
from tests.end_to_end.scanner import Scanner, forms

pytest_plugins = ["tests.components.fixtures"]

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def sentinel() -> str:
    """Long, random, and unlike anything a program makes."""
    return f"SENTINEL-{uuid.uuid4().hex}-hunter2"


def secret(name: str, text: str, **metadata: Any) -> dict[str, Any]:
    """A Secret that holds the text in each way a user can write one."""
    manifest = {"kind": "Secret", "stringData": {"password": text}, "metadata": {"name": name}}
    annotations = {APPLIED: json.dumps(manifest)}
    return {
        "metadata": {"name": name, "annotations": annotations, **metadata},
        "stringData": {"password": text, "url": f"https://user:{text}@db.example/x"},
        "data": {
            "other": next(form for form in sorted(forms(b"--" + text.encode())) if not len(form) % 4).decode()
        },
    }


class Story:
    """What happens to Secrets with one sentinel in one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.text = sentinel()
        self.namespace = new_namespace(cluster)
        self._cluster = cluster
        self._path = SECRETS.format(self.namespace)

    def before(self) -> None:
        for name in ("kept", "changed", "deleted", "gone-while-down", "unselected"):
            self._cluster.request("POST", self._path, secret(name, self.text, labels={"app": "x"}))

    def live(self) -> None:
        self._cluster.request("POST", self._path, secret("born", self.text, labels={"app": "x"}))
        self.patch("changed", {"stringData": {"second": f"pre{self.text}"}})
        self._cluster.request("DELETE", f"{self._path}/deleted")

    def while_down(self) -> None:
        self.patch("changed", {"stringData": {"third": f"-{self.text}"}})
        self.patch("unselected", {"metadata": {"labels": {"app": "y"}}})
        self._cluster.request("DELETE", f"{self._path}/gone-while-down")

    def patch(self, name: str, body: dict[str, Any]) -> None:
        with self._cluster.client() as client:
            headers = {"Content-Type": "application/merge-patch+json"}
            client.patch(f"{self._path}/{name}", json=body, headers=headers).raise_for_status()


def whole_story(cluster: Cluster, start_service: StartService, **stream: str) -> tuple[Story, Service]:
    """Run a service through it: first list, live events, SIGKILL, resume, and a list for another scope.

    A second sink that can never write keeps every batch in the log.
    """
    story = Story(cluster)
    story.before()
    declared: dict[str, object] = {"name": "secrets", "apiVersion": "v1", "kind": "Secret", **stream}
    declared["namespaces"] = [story.namespace]
    service = start_service(cluster, [declared])
    stuck = {"name": "stuck", "type": "jsonlines", "path": str(service.folder / "no-such-folder" / "out")}
    service.document["sinks"].append(stuck)
    service.start()
    service.wait_listed()
    story.live()
    service.wait_types("deleted", "ADDED", "DELETED")
    service.wait_types("changed", "ADDED", "MODIFIED")
    service.kill()
    story.while_down()
    service.start()
    service.wait_types("gone-while-down", "ADDED", "DELETED")
    service.kill()
    declared["labelSelector"] = "app=x"
    service.start()
    service.wait(lambda: bool(service.resyncs("scopeChanged")), "the list of the other scope")
    story.patch("born", {"data": {"password": None}})
    service.wait(lambda: "MODIFIED" in service.types("born"), "the last change")
    return story, service


def search(story: Story, service: Service, copy: Path) -> Scanner:
    """Search what is there while it runs and after a SIGKILL: then the WAL is still full."""
    scanner = Scanner(story.text.encode())
    scanner.tree(service.folder)
    service.kill()
    scanner.tree(service.folder)
    scanner.bytes("stderr", service.log.encode())
    shutil.copytree(service.state, copy, ignore=shutil.ignore_patterns("control.sock"))
    for path in copy.iterdir():
        if path.read_bytes()[:16] == b"SQLite format 3\0":
            scanner.database(path)
    return scanner


def test_no_byte_of_a_secret_stays_in_state_output_or_log(
    cluster: Cluster, start_service: StartService, tmp_path: Path
) -> None:
    story, service = whole_story(cluster, start_service)
    scanner = search(story, service, tmp_path / "copy")
    assert scanner.findings == []
    assert all(count > 10 for count in scanner.looked.values()), scanner.looked
    values = [record["object"]["data"]["password"] for record in service.changes("changed")]
    assert len(set(values)) == 1, "what did not change must not look as if it had"


def test_where_a_user_opts_out_the_same_search_finds_it_in_all_these_places(
    cluster: Cluster, start_service: StartService, tmp_path: Path
) -> None:
    """Otherwise the test above would prove nothing."""
    story, service = whole_story(cluster, start_service, secretValues="keep")
    findings = search(story, service, tmp_path / "copy").findings
    assert any(found.startswith("out.jsonl: ") for found in findings)
    assert any(found.startswith("table log@0 decompressed: ") for found in findings)
    assert any("-wal@" in found and "decompressed" in found for found in findings)


def watched(cluster: Cluster, run_bridge: RunBridge, *args: str) -> Scanner:
    """An ad hoc watch of it, then a search of what it printed and of the folder it ran in."""
    story = Story(cluster)
    story.before()
    program = run_bridge("watch", "secrets", "-n", story.namespace, *args, kubeconfig=cluster.kubeconfig)
    program.wait_out("unselected")
    story.live()
    program.wait(lambda: program.out.count(b"DELETED") == 1, "the deletion")
    story.while_down()
    program.wait(lambda: program.out.count(b"DELETED") == 2, "the last deletion")
    scanner = Scanner(story.text.encode())
    scanner.bytes("stdout", program.out)
    scanner.bytes("stderr", program.err.encode())
    return scanner


def test_watch_prints_no_secret_in_any_format(
    cluster: Cluster, run_bridge: RunBridge, tmp_path: Path
) -> None:
    """And it leaves no file behind."""
    for form in ("json", "kubernetes", "pretty"):
        assert watched(cluster, run_bridge, "-o", form).findings == []
    assert list(tmp_path.iterdir()) == []


def test_watch_shows_secrets_to_who_asks_for_them(cluster: Cluster, run_bridge: RunBridge) -> None:
    findings = watched(cluster, run_bridge, "-o", "json", "--show-secrets").findings
    assert any(found.startswith("stdout: ") for found in findings)
