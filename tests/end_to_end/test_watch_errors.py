"""What `kube-bridge` says and returns when something is wrong: one sentence and an exit code."""

import base64
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components.cluster import Cluster
from tests.components.process import PATIENCE, free_port
from tests.end_to_end.objects import CONFIGMAPS, configmap
from tests.end_to_end.program import Kubeconfig, RunBridge, clean_environment

pytest_plugins = ["tests.components.fixtures"]

USAGE = [
    ([], "the following arguments are required: COMMAND"),
    (["frobnicate"], "invalid choice: 'frobnicate'"),
    (["watch"], r"the following arguments are required: RESOURCE\[,RESOURCE\]"),
    (["watch", "pods", "-A", "-n", "shop"], "not allowed with argument"),
    (["watch", "pods", "-o", "yaml"], "invalid choice: 'yaml'"),
    (["watch", "pods", "-n", "Bad_NS!"], "'Bad_NS!' cannot be a namespace: .*lower-case letters"),
    (["watch", "pods", "-n", "shop,pay"], "'shop,pay' cannot be a namespace"),
    (["watch", "pods", "-n", "n" * 64], "cannot be a namespace: .*63"),
    (["demo", "--seconds", "0"], "must be greater than 0"),
    (["run"], "the following arguments are required: -c/--config"),
    (["run", "-c", "/nowhere/config.yaml"], "/nowhere/config.yaml: cannot be read .*name a YAML file"),
    (
        ["watch", "pods", "--kubeconfig", "/nowhere/kubeconfig"],
        "the kubeconfig /nowhere/kubeconfig cannot be read",
    ),
    (["watch", "pods"], "no cluster to talk to: there is no kubeconfig .* use --kubeconfig"),
]


@pytest.mark.parametrize(("args", "words"), USAGE)
def test_a_mistake_of_usage_is_exit_2_and_says_what_to_do(
    run_bridge: RunBridge, args: list[str], words: str
) -> None:
    code, sentence = run_bridge(*args).failure()
    assert code == 2
    assert re.search(words, sentence)


NAMES = [
    (["podz"], 'the server has no resource type "podz"; did you mean .*pods'),
    (["pods,nonsense.example.com"], "nonsense.example.com"),
    (["componentstatuses"], "componentstatuses cannot be watched"),
    (["pods", "--context", "nope"], 'there is no context "nope" in .*; there are: test'),
]


@pytest.mark.parametrize(("args", "words"), NAMES)
def test_a_name_that_nobody_knows_is_exit_2_with_what_could_be_meant(
    cluster: Cluster, run_bridge: RunBridge, args: list[str], words: str
) -> None:
    code, sentence = run_bridge("watch", *args, kubeconfig=cluster.kubeconfig).failure()
    assert code == 2
    assert re.search(words, sentence)


SELECTORS = [
    (["-l", "a in ("], "unable to parse requirement"),
    (["-l", "=x"], "found '='"),
    (["--field-selector", "a===b"], "invalid field selector"),
    (["--field-selector", "spec.foo=1"], "field label not supported: spec.foo"),
]


@pytest.mark.parametrize(("args", "words"), SELECTORS)
def test_a_selector_that_cannot_work_ends_the_command_at_once(
    cluster: Cluster, run_bridge: RunBridge, args: list[str], words: str
) -> None:
    """It is not retried for ever: nothing but another selector can help."""
    code, sentence = run_bridge("watch", "pods", *args, kubeconfig=cluster.kubeconfig).failure()
    assert code in (1, 2)
    assert re.search(words, sentence)


def test_forbidden_names_the_user_and_what_is_missing(
    cluster: Cluster, namespace: str, run_bridge: RunBridge, kubeconfig: Kubeconfig
) -> None:
    token = cluster.service_account_token(namespace, "bob")
    config = kubeconfig({"token": token})
    code, sentence = run_bridge("watch", "secrets", "-n", "kube-system", kubeconfig=config).failure()
    assert code == 1
    assert f'User "system:serviceaccount:{namespace}:bob"' in sentence
    assert 'cannot list resource "secrets"' in sentence
    assert 'in the namespace "kube-system"' in sentence
    assert token not in sentence


def test_no_credential_at_all_is_told_as_such(run_bridge: RunBridge, kubeconfig: Kubeconfig) -> None:
    """The real server says 403 for `system:anonymous`, which would send a person to RBAC."""
    code, sentence = run_bridge("watch", "pods", kubeconfig=kubeconfig({})).failure()
    assert code == 1
    assert sentence.startswith("no credential was sent to ")


def test_tokens_that_are_not_accepted_are_told_without_showing_them(
    run_bridge: RunBridge, kubeconfig: Kubeconfig
) -> None:
    def part(document: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    expired = f"{part({'alg': 'RS256'})}.{part({'exp': 1_600_000_000, 'sub': 'someone'})}.c2lnbmF0dXJl"
    for token, words in (
        ("nonsense-token", "wrong, expired or revoked"),
        (expired, "it expired at 2020-09-13"),
    ):
        code, sentence = run_bridge("watch", "pods", kubeconfig=kubeconfig({"token": token})).failure()
        assert code == 1
        assert words in sentence
        assert 'the token of user "test"' in sentence
        assert token not in sentence


def test_a_server_that_is_not_there_or_not_trusted_ends_the_first_contact(
    cluster: Cluster, run_bridge: RunBridge
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    code, sentence = run_bridge("watch", "pods", "--server", nobody).failure()
    assert (code, "connection refused" in sentence) == (1, True)
    code, sentence = run_bridge("watch", "pods", "--server", cluster.url).failure()
    assert (code, "is not trusted" in sentence) == (1, True)


def test_every_mistake_in_a_configuration_is_told_at_once_with_its_line(
    run_bridge: RunBridge, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "configVersion: 1\n"
        "cluster: {name: Prod}\n"
        "state: {path: state, maxByte: 1Gi}\n"
        "streams: [{name: a, apiVersion: v1, kind: Pod}, {name: a, apiVersion: v1, kind: Pod}]\n"
        "sinks: [{name: out, type: jsonline, path: out.jsonl}]\n"
    )
    for command in (["run"], ["check", "--offline"]):
        program = run_bridge(*command, "-c", config)
        assert program.end() == 2
        lines = [int(line) for line in re.findall(r"config\.yaml:(\d+): ", program.err)]
        assert lines == [2, 3, 4, 5], program.err
        assert "maxBytes" in program.err
        assert "jsonlines" in program.err


def test_sigint_is_130_and_sigterm_0(cluster: Cluster, namespace: str, run_bridge: RunBridge) -> None:
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("first"))
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        program = run_bridge("watch", "configmaps", "-n", namespace, kubeconfig=cluster.kubeconfig)
        program.wait_out('"first"')
        program.signal(number)
        assert program.end() == code
        assert program.err == ""


def test_a_reader_that_leaves_ends_it_quietly_with_0(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        cluster.request("POST", CONFIGMAPS.format(namespace), configmap(name))
    for form in ("json", "pretty"):
        script = (
            f"{sys.executable} -m bridge watch cm -n {namespace} -o {form} | head -1; exit ${{PIPESTATUS[0]}}"
        )
        environ = clean_environment(tmp_path, {"KUBECONFIG": str(cluster.kubeconfig)})
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            env=environ,
            timeout=30 * PATIENCE,
            cwd=tmp_path,
        )
        assert done.returncode == 0
        assert done.stderr == b""
        assert done.stdout.count(b"\n") == 1
