"""What a right configuration becomes."""

import dataclasses
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.config import (
    BatchConfig,
    ClusterConfig,
    Config,
    ConfigError,
    HttpConfig,
    Listen,
    MemoryConfig,
    NamedRateLimitConfig,
    RateLimitConfig,
    RedactionConfig,
    RetryConfig,
    Secret,
    SinkConfig,
    StateConfig,
    StreamConfig,
    load,
    load_state_path,
    loads,
)
from tests.config.fakes import Everything, Lines, Tls
from tests.config.texts import text

EVERY_KEY = """
configVersion: 1
cluster:
  name: prod-eu1
  kubeconfig: /etc/kube/config
  context: admin
  uid: 6ec4-a1
  qps: 7.5
  burst: 9
  maxConcurrentLists: 1
state: {path: /var/lib/kube-bridge, maxBytes: 2Gi}
memory: {maxBytes: 32Mi}
redaction: {key: {file: /etc/key}}
streams:
  - name: pods
    apiVersion: v1
    kind: Pod
    namespaces: [shop, "no"]
    labelSelector: app in (web, api)
    fieldSelector: status.phase!=Succeeded
    initial: skip
    types: [ADDED, DELETED]
    secretValues: keep
    redact: ["spec.containers[*].env"]
    drop: [metadata.managedFields]
  - {name: deployments, resource: deployments.apps, excludeNamespaces: [kube-system]}
sinks:
  - {name: out, type: lines, path: "-", rateLimit: alerts}
  - name: hook
    type: everything
    streams: [pods]
    types: [DELETED]
    format: kubernetes
    batch: {maxRecords: 50, maxBytes: 64Ki, maxDelay: 200ms}
    retry: {initial: 250ms, max: 5m, maxRetryAfter: 1h}
    rateLimit: {recordsPerSecond: 0.5, requestsPerSecond: 10, bytesPerSecond: 1Mi, burst: 100}
    whenFull: park
    allowStallOthers: true
    maxLag: 256Mi
    onReject: halt
    onStateLoss: resync
    url: https://alerts.example
    password: {env: HOOK}
    tls: {insecure: true, ca: /etc/ca.pem}
    batchBytes: 64Ki
    timeout: 1m30s
    attempts: 5
    ratio: 1e-2
    method: PUT
    words: [a, b]
    keys: {env: KEY}
    headers: {a: 1, b: {env: B}}
rateLimits: [{name: alerts, bytesPerSecond: 2Mi}]
http: {listen: "[::1]:8080"}
"""


def test_every_key_arrives_in_its_field() -> None:
    config = loads(EVERY_KEY, "c.yaml", check_files=False)
    assert config == Config(
        cluster=ClusterConfig("prod-eu1", Path("/etc/kube/config"), "admin", "6ec4-a1", 7.5, 9, 1),
        state=StateConfig(Path("/var/lib/kube-bridge"), 2 << 30),
        memory=MemoryConfig(32 << 20),
        redaction=RedactionConfig(Secret(file=Path("/etc/key"))),
        streams=(
            StreamConfig(
                name="pods",
                api_version="v1",
                kind="Pod",
                namespaces=("shop", "no"),
                label_selector="app in (web, api)",
                field_selector="status.phase!=Succeeded",
                initial="skip",
                types=("ADDED", "DELETED"),
                secret_values="keep",  # noqa: S106 - a policy, not a password
                redact=("spec.containers[*].env",),
                drop=("metadata.managedFields",),
            ),
            StreamConfig("deployments", resource="deployments.apps", exclude_namespaces=("kube-system",)),
        ),
        sinks=(
            SinkConfig("out", "lines", rate_limit=RateLimitConfig(shared="alerts"), options=Lines("-")),
            SinkConfig(
                name="hook",
                type="everything",
                streams=("pods",),
                types=("DELETED",),
                format="kubernetes",
                batch=BatchConfig(50, 64 << 10, 0.2),
                retry=RetryConfig(0.25, 300, 3600),
                rate_limit=RateLimitConfig(0.5, 10, 1 << 20, 100),
                when_full="park",
                allow_stall_others=True,
                max_lag=256 << 20,
                on_reject="halt",
                on_state_loss="resync",
                options=Everything(
                    url="https://alerts.example",
                    password=Secret(env="HOOK"),
                    tls=Tls(Path("/etc/ca.pem"), insecure=True),
                    batch_bytes=64 << 10,
                    timeout=90,
                    attempts=5,
                    ratio=0.01,
                    method="PUT",
                    words=("a", "b"),
                    keys=(Secret(env="KEY"),),
                    headers=MappingProxyType({"a": Secret(value=b"1"), "b": Secret(env="B")}),
                ),
            ),
        ),
        rate_limits=(NamedRateLimitConfig(bytes_per_second=2 << 20, name="alerts"),),
        http=HttpConfig(Listen("::1", 8080)),
    )


def test_what_is_left_out_has_the_documented_default() -> None:
    config = loads(text(), "c.yaml")
    assert config == Config(
        cluster=ClusterConfig("c1", None, None, None, qps=20, burst=40, max_concurrent_lists=2),
        state=StateConfig(Path("/s"), max_bytes=1 << 30),
        memory=MemoryConfig(max_bytes=16 << 20),
        redaction=RedactionConfig(None),
        streams=(StreamConfig("pods", resource="pods", types=("ADDED", "MODIFIED", "DELETED")),),
        sinks=(
            SinkConfig(
                "out",
                "lines",
                None,
                batch=BatchConfig(None, None, max_delay=0),
                retry=RetryConfig(0.5, 30, 600),
                rate_limit=None,
                when_full="resync",
                allow_stall_others=False,
                max_lag=None,
                on_reject="deadLetter",
                on_state_loss="fail",
                options=Lines("out.jsonl"),
            ),
        ),
        rate_limits=(),
        http=None,
    )


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    config = loads(text(), "c.yaml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.cluster.qps = 1  # type: ignore[misc]  # that it is refused is the property
    assert not hasattr(config, "__dict__")
    assert hash(config.streams) == hash(loads(text(), "c.yaml").streams)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ('":8080"', ("", 8080)),
        ('"127.0.0.1:0"', ("127.0.0.1", 0)),
        ('"[::1]:8080"', ("::1", 8080)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(listen: str, address: tuple[str, int]) -> None:
    http = loads(text(more=f"http: {{listen: {listen}}}"), "c.yaml").http
    assert http is not None
    assert http.listen == address
    assert str(http.listen) == listen.strip('"')


def test_anchors_and_merge_keys_share_what_is_alike() -> None:
    """What is written out wins over what is merged, and of two merged mappings the first."""
    streams = """streams:
  - &base {name: pods, resource: pods, namespaces: &shops [shop, pay], initial: skip}
  - &other {name: jobs, resource: jobs, initial: emit, labelSelector: a=b}
  - {<<: *base, name: services, resource: services}
  - {<<: [*base, *other], name: nodes, resource: nodes}
  - {name: maps, resource: configmaps, namespaces: *shops}"""
    _, _, services, nodes, maps = loads(text(streams=streams), "c.yaml").streams
    assert (services.resource, services.namespaces, services.initial) == ("services", ("shop", "pay"), "skip")
    assert (nodes.initial, nodes.label_selector) == ("skip", "a=b")
    assert maps.namespaces == ("shop", "pay")


def test_a_file_may_begin_with_a_byte_order_mark_and_end_with_an_empty_document(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf---\r\n" + text().encode().replace(b"\n", b"\r\n") + b"---\r\n")
    assert load(path) == loads(text(), "elsewhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cluster:\n  name: \xff\n", ":2: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("cluster: {}".encode("utf-16"), ":1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"a" * 1_048_577, ": has more than 1 MiB, so it is hardly a configuration; name the right file"),
        (None, ": cannot be read (No such file or directory); name a YAML file that this user may read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{message}"


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); name a YAML file"):
        load(tmp_path)


def test_the_state_can_be_told_whatever_is_wrong_with_the_rest(tmp_path: Path) -> None:
    """Who asks a running bridge may lack its secrets, its sinks, and a file without mistakes elsewhere."""
    file = tmp_path / "c.yaml"
    file.write_text(
        "base: &base {maxBytes: 1Gi}\nstate: {<<: *base, path: ./s}\nstreams: 5\n"
        "sinks: [{name: a, type: nowhere, password: {file: secrets/none}}]\n"
    )
    assert load_state_path(file) == Path("s")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("cluster: {name: c}", "1: state: is missing; write a mapping with maxBytes, path, as"),
        ("state: {}", "1: state.path: is missing; write a path"),
        ("state: {path: ''}", "1: state.path: is not a path"),
        ("state: [x]\nconfigVersion: 2", "2: configVersion: `2` is not known here"),
        ("state: {path: s}\nstate: {path: t}", "2: state: "),
    ],
)
def test_a_state_that_cannot_be_told_is_an_error_at_its_line(tmp_path: Path, source: str, told: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"{source}\n")
    with pytest.raises(ConfigError) as caught:
        load_state_path(file)
    assert str(caught.value).startswith(f"{file}:{told}")
