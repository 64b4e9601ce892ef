"""`kube-bridge watch` in the hands of a person and of a pipe, on a real server."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.components.cluster import Cluster
from tests.components.process import eventually
from tests.end_to_end.objects import CONFIGMAPS, configmap, new_namespace
from tests.end_to_end.program import Program, RunBridge, bridge

pytest_plugins = ["tests.components.fixtures"]


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new namespace with a name short enough for a terminal."""
    return new_namespace(cluster)


ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def make(cluster: Cluster, namespace: str, *names: str, **metadata: Any) -> None:
    for name in names:
        cluster.request("POST", CONFIGMAPS.format(namespace), configmap(name, **metadata))


def patch(cluster: Cluster, path: str, body: dict[str, Any]) -> None:
    with cluster.client() as client:
        headers = {"Content-Type": "application/merge-patch+json"}
        client.patch(path, json=body, headers=headers).raise_for_status()


def told(program: Program) -> list[tuple[str, str]]:
    return [(record["type"], record["name"]) for record in program.records()]


def test_watch_only_skips_what_exists_but_not_its_changes(
    cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    make(cluster, namespace, "old", "older")
    program = run_bridge("watch", "cm", "-n", namespace, "--watch-only", kubeconfig=cluster.kubeconfig)
    program.wait_err("nothing to show yet")
    path = CONFIGMAPS.format(namespace)
    patch(cluster, f"{path}/old", {"data": {"value": "2"}})
    cluster.request("DELETE", f"{path}/older")
    make(cluster, namespace, "new")
    program.wait(lambda: ("ADDED", "new") in told(program), "the new one")
    assert told(program) == [("MODIFIED", "old"), ("DELETED", "older"), ("ADDED", "new")]
    assert program.records()[1]["object"]["data"] == {"value": "1"}


def test_selectors_show_only_what_they_select_and_say_that_the_rest_is_not_deleted(
    cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    make(cluster, namespace, "a", "b", labels={"app": "web"})
    make(cluster, namespace, "c", labels={"app": "db"})
    path = CONFIGMAPS.format(namespace)
    where = ("-n", namespace)
    by_label = run_bridge("watch", "cm", *where, "-l", "app in (web),!x", kubeconfig=cluster.kubeconfig)
    by_field = run_bridge(
        "watch", "cm", *where, "--field-selector", "metadata.name=c", kubeconfig=cluster.kubeconfig
    )
    by_label.wait(lambda: len(told(by_label)) == 2, "a and b")
    by_field.wait(lambda: len(told(by_field)) == 1, "c")
    patch(cluster, f"{path}/a", {"metadata": {"labels": {"x": "1"}}})
    cluster.request("DELETE", f"{path}/c")
    patch(cluster, f"{path}/b", {"data": {"value": "2"}})
    by_label.wait(lambda: ("MODIFIED", "b") in told(by_label), "b")
    by_field.wait(lambda: ("DELETED", "c") in told(by_field), "c")
    assert told(by_label) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("MODIFIED", "b")]
    assert told(by_field) == [("ADDED", "c"), ("DELETED", "c")]
    assert by_label.records()[2]["gone"] != "deleted"


def test_several_resources_come_in_one_stream(
    cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    make(cluster, namespace, "one")
    service = {"metadata": {"name": "two"}, "spec": {"ports": [{"port": 80}]}}
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/services", service)
    program = run_bridge("watch", "ConfigMap,svc", "-n", namespace, kubeconfig=cluster.kubeconfig)
    program.wait(lambda: len(told(program)) == 2, "both")
    assert {(r["resource"], r["kind"], r["name"]) for r in program.records()} == {
        ("configmaps", "ConfigMap", "one"),
        ("services", "Service", "two"),
    }


def test_a_cluster_scoped_resource_takes_no_notice_of_a_namespace(
    cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    """As with kubectl; and what is said while there is nothing to show is true."""
    program = run_bridge("watch", "namespaces", "-n", namespace, kubeconfig=cluster.kubeconfig)
    program.wait(lambda: ("ADDED", namespace) in told(program), "the namespace itself")
    assert ("ADDED", "kube-system") in told(program)
    assert all(record["namespace"] == "" for record in program.records())
    nothing = run_bridge("watch", "csidrivers,cm", "-n", namespace, "-w", kubeconfig=cluster.kubeconfig)
    nothing.wait_err("nothing to show yet")
    line = json.loads(nothing.err)
    assert f"configmaps in namespace {namespace}" in line["event"]
    assert "csidrivers in namespace" not in line["event"]


def test_a_kubectl_proxy_is_reached_by_its_address(
    cluster: Cluster, namespace: str, run_bridge: RunBridge, tmp_path: Path
) -> None:
    make(cluster, namespace, "first")
    environ = {"KUBECONFIG": str(cluster.kubeconfig)}
    with Program([cluster.kubectl_program, "proxy", "--port=0"], tmp_path, environ) as proxy:
        proxy.wait_out("Starting to serve on")
        address = proxy.out.decode().strip().rpartition(" ")[2]
        program = run_bridge("watch", "cm", "-n", namespace, "--server", f"http://{address}")
        program.wait_out('"first"')
        make(cluster, namespace, "second")
        program.wait_out('"second"')


def test_pretty_into_a_pipe_is_plain_text(cluster: Cluster, namespace: str, run_bridge: RunBridge) -> None:
    make(cluster, namespace, "a")
    program = run_bridge("watch", "cm", "-n", namespace, "-o", "pretty", kubeconfig=cluster.kubeconfig)
    program.wait_out(f"{namespace}/a")
    assert b"\x1b" not in program.out
    assert re.match(rb"\d\d:\d\d:\d\d  ADDED     ", program.out)


class Terminal:
    """A pseudo-terminal of 100 columns, and what was shown on it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self._shown = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 4096):
                self._shown.extend(data)
        except OSError:  # Linux says so when the last program has left the terminal
            return

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="ignore").replace("\r\n", "\n")


def on_a_terminal(cluster: Cluster, namespace: str, folder: Path, **environ: str) -> str:
    """What a terminal shows of a short life of two ConfigMaps."""
    terminal = Terminal()
    environ |= {"KUBECONFIG": str(cluster.kubeconfig), "TERM": "xterm-256color"}
    command = bridge("watch", "cm", "-n", namespace)
    make(cluster, namespace, "short", "a-longer-name")
    path = CONFIGMAPS.format(namespace)
    with Program(command, folder, environ, stdout=terminal.slave) as program:
        os.close(terminal.slave)
        program.wait(lambda: f"{namespace}/short" in terminal.shown, "what exists")
        patch(cluster, f"{path}/short", {"data": {"value": "changed"}})
        program.wait(lambda: "changed" in terminal.shown, "the change")
        cluster.request("DELETE", f"{path}/short")
        cluster.request("DELETE", f"{path}/a-longer-name")
        program.wait(lambda: terminal.shown.count("DELETED") == 2, "the end")
    eventually(lambda: terminal.shown.count("DELETED") == 2, "the end")
    return terminal.shown


def test_a_terminal_shows_aligned_coloured_lines_with_what_changed(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    shown = on_a_terminal(cluster, namespace, tmp_path)
    plain = ESCAPE.sub("", shown)
    heads = [line for line in plain.splitlines() if re.match(r"\d\d:\d\d:\d\d  ", line)]
    assert [line.split()[1] for line in heads] == ["ADDED", "ADDED", "MODIFIED", "DELETED", "DELETED"]
    assert {line.index(f"{namespace}/") for line in heads} == {20}
    assert all(len(line) <= 100 for line in plain.splitlines())
    assert len(ESCAPE.findall(shown)) >= 2 * len(heads)
    assert "\x1b[32mADDED" in shown
    assert "\x1b[31mDELETED" in shown
    [modified] = [line for line in plain.splitlines() if "changed" in line]
    assert re.search(r"data\.value\b.*1.*changed", modified)


def test_no_color_is_respected_on_a_terminal(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    shown = on_a_terminal(cluster, namespace, tmp_path, NO_COLOR="1")
    assert "\x1b" not in shown
    assert "changed" in shown


def test_while_there_is_nothing_to_show_it_says_what_it_does(
    cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    program = run_bridge("watch", "cm,pods", "-n", namespace, kubeconfig=cluster.kubeconfig)
    program.wait_err("\n")
    assert "watching configmaps, pods in namespace" in program.err
    assert program.out == b""
    everywhere = run_bridge("watch", "jobs", "-A", kubeconfig=cluster.kubeconfig)
    everywhere.wait_err("watching jobs in all namespaces; nothing to show yet")


def test_watch_goes_on_when_the_server_restarts(
    hurt_cluster: Cluster, run_bridge: RunBridge, tmp_path: Path
) -> None:
    """An API server that is killed and comes back costs one line on stderr and no event."""
    make(hurt_cluster, "default", "before")
    program = run_bridge("watch", "cm", kubeconfig=hurt_cluster.kubeconfig)
    program.wait_out('"before"')
    hurt_cluster.apiserver.kill()
    program.wait_err("warning")
    hurt_cluster.apiserver.start()
    make(hurt_cluster, "default", "after")
    program.wait_out('"after"')
    assert [pair for pair in told(program) if pair[1] in ("before", "after")] == [
        ("ADDED", "before"),
        ("ADDED", "after"),
    ]
    assert program.err.count('"level": "warning"') == 1
    assert subprocess.list2cmdline([str(path) for path in tmp_path.iterdir()]) == ""
