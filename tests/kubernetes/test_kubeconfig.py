"""A kubeconfig is read as kubectl reads it, and what is wrong with it is one sentence without a secret."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.errors import UsageError
from bridge.kubernetes.auth import Basic, ClientCertificate, Secret, StaticToken, TokenFile
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.exec_plugin import ExecPlugin
from bridge.kubernetes.kubeconfig import load_kubeconfig, parse_server
from bridge.kubernetes.reach import adhoc_connection, service_connection

SENTINEL = "s3ntinel-value"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dev",
        "clusters": [{"name": "c", "cluster": {"server": "https://c:6443", **changes.pop("cluster", {})}}],
        "users": [{"name": "u", "user": changes.pop("user", {})}],
        "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u"}}],
        **changes,
    }


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def connect(tmp_path: Path, content: Any, context: str | None = None) -> Connection:
    return adhoc_connection(kubeconfig=write(tmp_path / "config", content), context=context, environ={})


async def test_the_first_file_that_names_something_wins(tmp_path: Path) -> None:
    first = document(user={"token": "one"})
    second = document(user={"token": "two"}, **{"current-context": "other"})
    second["contexts"].append(
        {"name": "other", "context": {"cluster": "d", "user": "u", "namespace": "shop"}}
    )
    second["clusters"].append({"name": "d", "cluster": {"server": "https://d/k8s/clusters/x/"}})
    files = [write(tmp_path / "a", first), tmp_path / "missing", write(tmp_path / "b", second)]
    environ = {"KUBECONFIG": ":".join(str(file) for file in files)}
    default = adhoc_connection(environ=environ)
    assert default.server == "https://c:6443"
    assert default.namespace == "default"
    other = adhoc_connection(context="other", environ=environ)
    assert other.server == "https://d/k8s/clusters/x"
    assert other.namespace == "shop"
    assert await other.credentials.headers() == {"authorization": "Bearer one"}
    assert str(files[2]) in other.source


def test_without_kubeconfig_the_home_folder_is_looked_into(tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", document())
    assert adhoc_connection(environ={"HOME": str(tmp_path)}).server == "https://c:6443"


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    for name in ("ca", "crt", "key", "token"):
        write(tmp_path / "sub" / "pki" / name, name)
    content = document(
        cluster={"certificate-authority": "pki/ca"},
        user={"client-certificate": "pki/crt", "client-key": "pki/key", "tokenFile": "pki/token"},
    )
    found = adhoc_connection(kubeconfig=write(tmp_path / "sub" / "config", content), environ={})
    assert found.tls.authority == tmp_path / "sub/pki/ca"
    assert found.tls.certificate == ClientCertificate(tmp_path / "sub/pki/crt", tmp_path / "sub/pki/key")
    assert isinstance(found.credentials, TokenFile)


def test_data_wins_over_files(tmp_path: Path) -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    write(tmp_path / "ca", "from the file")
    content = document(
        cluster={"certificate-authority": "ca", "certificate-authority-data": encoded("from the data")},
        user={"client-certificate-data": encoded("crt"), "client-key-data": encoded("key")},
    )
    found = connect(tmp_path, content)
    assert found.tls.authority == "from the data"
    assert found.tls.certificate == ClientCertificate("crt", Secret("key"))


async def test_the_token_file_wins_over_the_token(tmp_path: Path) -> None:
    """[K8]"""
    write(tmp_path / "token", "from-the-file\n")
    found = connect(tmp_path, document(user={"token": "inline", "tokenFile": "token"}))
    assert await found.credentials.headers() == {"authorization": "Bearer from-the-file"}


async def test_basic_credentials_come_from_the_user_or_from_the_address(tmp_path: Path) -> None:
    wanted = {"authorization": "Basic " + base64.b64encode(b"me:pass").decode()}
    found = connect(tmp_path, document(user={"username": "me", "password": "pass"}))
    assert await found.credentials.headers() == wanted
    found = connect(tmp_path, document(cluster={"server": "https://me:pass@c:6443/x"}))
    assert found.server == "https://c:6443/x"
    assert isinstance(found.credentials, Basic)
    assert await found.credentials.headers() == wanted
    both = document(cluster={"server": "https://me:pass@c"}, user={"token": "t"})
    assert isinstance(connect(tmp_path, both).credentials, StaticToken)


async def test_scalars_that_yaml_would_type_stay_what_was_written(tmp_path: Path) -> None:
    text = json.dumps(document()).replace('"user": {}', '"user": {token: 0123}')
    text = text.replace('"user": "u"}', '"user": "u", "namespace": no}')
    found = connect(tmp_path, text)
    assert await found.credentials.headers() == {"authorization": "Bearer 0123"}
    assert found.namespace == "no"


def test_tls_and_proxy_settings_of_a_cluster(tmp_path: Path) -> None:
    cluster = {"tls-server-name": "kubernetes", "proxy-url": "socks5://p:1", "insecure-skip-tls-verify": True}
    found = connect(tmp_path, document(cluster=cluster))
    assert found.tls.server_name == "kubernetes"
    assert found.tls.insecure
    assert found.proxy is not None
    assert found.proxy.url == "socks5://p:1"
    assert any("insecure-skip-tls-verify" in warning for warning in found.warnings)


def test_nothing_is_insecure_or_proxied_unless_it_says_so(tmp_path: Path) -> None:
    found = connect(tmp_path, document())
    assert not found.tls.insecure
    assert found.proxy is None
    assert found.warnings == ()


def test_impersonation_becomes_headers(tmp_path: Path) -> None:
    user = {
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"example.com/scope": ["x", "y"]},
    }
    assert connect(tmp_path, document(user=user)).impersonation == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.com%2Fscope", "x"),
        ("Impersonate-Extra-example.com%2Fscope", "y"),
    )


def test_an_exec_plugin_is_configured_with_its_cluster(tmp_path: Path) -> None:
    write(tmp_path / "ca", "PEM")
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x", "depth": 3}}
    content = document(
        cluster={"certificate-authority": "ca", "tls-server-name": "k", "extensions": [extension]},
        user={
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "./bin/login",
                "args": ["--x"],
                "env": [{"name": "A", "value": SENTINEL}],
                "installHint": "brew install login",
                "provideClusterInfo": True,
            }
        },
    )
    plugin = connect(tmp_path, content).credentials
    assert isinstance(plugin, ExecPlugin)
    spec = plugin._spec
    assert spec.command == str(tmp_path / "bin/login")
    assert spec.interactive == "IfAvailable"
    assert spec.cluster == {
        "server": "https://c:6443",
        "tls-server-name": "k",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "config": {"audience": "x", "depth": 3},
    }
    assert SENTINEL not in repr(spec)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("https://[::1]:6443/", "https://[::1]:6443"),
        ("https://rancher.example/k8s/clusters/c-1", "https://rancher.example/k8s/clusters/c-1"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("https://c:6443?token=x#y", "https://c:6443"),
        ("https://bücher.example/a b/", "https://xn--bcher-kva.example/a%20b"),
    ],
)
def test_addresses_keep_path_prefix_and_brackets(text: str, server: str) -> None:
    """[J6]"""
    assert parse_server(text, "x")[0] == server


EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "interactiveMode": "Never"}


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (document(), "prod", 'no context "prod" in .*; there are: dev'),
        (document(), "Dev", "did you mean dev"),
        (
            document(**{"current-context": ""}),
            None,
            r"sets no current-context: choose one with --context \(dev\)",
        ),
        (document(clusters=[]), None, 'context "dev" needs the cluster "c", which no file defines'),
        (document(users=[]), None, 'context "dev" needs the user "u", which no file defines'),
        (document(cluster={"server": ""}), None, 'cluster "c" of .* has no server'),
        (document(cluster={"server": f"ftp://{SENTINEL}@x"}), None, "write https://host:port"),
        (document(cluster={"certificate-authority": "nope"}), None, "nope cannot be read: No such file"),
        (document(cluster={"certificate-authority-data": SENTINEL}), None, "is not base64"),
        (document(cluster={"insecure-skip-tls-verify": "maybe"}), None, "must be true or false"),
        (
            document(cluster={"insecure-skip-tls-verify": True, "certificate-authority-data": "eHg="}),
            None,
            "keep one of them",
        ),
        (document(user={"tokenFile": "nope"}), None, 'tokenFile of user "u" of .*nope cannot be read'),
        (document(user={"token": SENTINEL, "password": SENTINEL}), None, "keep only one"),
        (document(user={"token": f"{SENTINEL}\nx"}), None, "contains line breaks"),
        (document(user={"client-key-data": "eHg="}), None, "client-certificate is missing"),
        (document(user={"client-certificate-data": "eHg="}), None, "client-key is missing"),
        (document(user={"as-groups": ["a"]}), None, "but not as"),
        (document(user={"as": "a\nb"}), None, "holds line breaks"),
        (
            document(user={"auth-provider": {"name": "gcp"}}),
            None,
            '"gcp", which Kubernetes clients no longer',
        ),
        (
            document(user={"exec": {**EXEC, "apiVersion": "x/v9"}}),
            None,
            "apiVersion of exec .* must be one of",
        ),
        (document(user={"exec": {**EXEC, "interactiveMode": ""}}), None, "must be one of Never"),
        (document(user={"exec": {**EXEC, "command": ""}}), None, "has no command"),
        (document(user={"exec": {**EXEC, "env": [{"value": SENTINEL}]}}), None, "has no name"),
        (document(user={"token": [SENTINEL]}), None, "token of user .* must be a text"),
        (document(users=[{"user": {"token": SENTINEL}}]), None, r"users\[0\] must have a name"),
        (document(users={"token": SENTINEL}), None, "is no kubeconfig"),
        ([SENTINEL], None, "is no kubeconfig"),
        (f"users:\n- password: *{SENTINEL}\n", None, r"is not valid YAML \(line 2\)"),
        (f"users:\n- password: !{SENTINEL} x\n", None, r"is not valid YAML \(line 2\)"),
        (f"a: {SENTINEL}\n b: {{\n", None, r"is not valid YAML \(line"),
        ("[" * 5000, None, "is nested too deeply|is not valid YAML"),
    ],
)
def test_what_is_wrong_is_one_sentence_without_a_secret(
    tmp_path: Path, content: Any, context: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        connect(tmp_path, content, context)
    message = str(caught.value)
    assert SENTINEL not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        adhoc_connection(kubeconfig=tmp_path / "nope", environ={})
    assert load_kubeconfig([tmp_path / "nope"]) is None


@pytest.fixture
def pod(tmp_path: Path) -> tuple[dict[str, str], Path]:
    account = tmp_path / "account"
    write(account / "token", "pod-token\n")
    write(account / "ca.crt", "PEM")
    write(account / "namespace", "shop\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    return environ, account


async def test_a_pod_is_its_service_account(pod: tuple[dict[str, str], Path]) -> None:
    environ, account = pod
    found = service_connection(environ=environ | {"HTTPS_PROXY": "http://p"}, service_account=account)
    assert found.server == "https://[fd00::1]:443"
    assert found.namespace == "shop"
    assert found.tls.authority == account / "ca.crt"
    assert found.proxy is None
    assert await found.credentials.headers() == {"authorization": "Bearer pod-token"}


def test_a_service_prefers_the_pod_and_a_person_the_kubeconfig(
    pod: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    environ, account = pod
    kubeconfig = write(tmp_path / "kubeconfig", document())
    both = environ | {"KUBECONFIG": str(kubeconfig)}
    assert service_connection(environ=both, service_account=account).server == "https://[fd00::1]:443"
    assert adhoc_connection(environ=both, service_account=account).server == "https://c:6443"
    assert adhoc_connection(environ=environ, service_account=account).server == "https://[fd00::1]:443"
    named = service_connection(kubeconfig=kubeconfig, environ=environ, service_account=account)
    assert named.server == "https://c:6443"
    chosen = service_connection(context="dev", environ=both, service_account=account)
    assert chosen.server == "https://c:6443"


def test_no_cluster_anywhere_is_said_with_the_places(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no kubeconfig \(.*\.kube/config\) and this is no pod"):
        adhoc_connection(environ={"HOME": str(tmp_path)}, service_account=tmp_path)


async def test_a_plain_address_has_no_credentials_and_insecure_is_warned_about(tmp_path: Path) -> None:
    plain = adhoc_connection(server="http://127.0.0.1:8001", environ={"KUBECONFIG": str(tmp_path / "x")})
    assert (plain.server, await plain.credentials.headers()) == ("http://127.0.0.1:8001", {})
    kubeconfig = write(tmp_path / "config", document(cluster={"certificate-authority-data": "eHg="}))
    bold = adhoc_connection(kubeconfig=kubeconfig, insecure=True, environ={})
    assert bold.tls.insecure
    assert bold.tls.authority is None
    assert any("not looked at" in warning for warning in bold.warnings)
