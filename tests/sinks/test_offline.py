"""What can be known to be wrong without any connection is told when the configuration is read, all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from bridge.config import ConfigError, loads
from tests.components.process import eventually

HEAD = "cluster: {name: c}\nstate: {path: s}\nstreams: [{name: pods, resource: pods}]\nsinks:\n"


def told(sink: str, **looks: bool) -> list[str]:
    try:
        loads(f"{HEAD}- {{name: a, {sink}}}\n", "c.yaml", **looks)
    except ConfigError as error:
        return [line.removeprefix("c.yaml:5: sinks[0].") for line in str(error).split("\n")]
    return []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Certificates and what is none of them, in the working directory."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca")
    for name in ("one", "other"):
        issued = authority.issue_cert(f"{name}.example")
        issued.cert_chain_pems[0].write_to_path(tmp_path / name)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("nothing\n")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


TASKS = Path("/proc/self/task")
KAFKA = "type: kafka, bootstrapServers: 'b:9092', topic: k"
HOOK = "type: webhook, url: https://h"
TAIL = "; write PEM files that this user may read"


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("sink", [KAFKA, HOOK])
@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("ca: ca, certificate: one, key: one.key", []),
        ("ca: empty", ["tls.ca: 'empty' cannot be used (no certificate or crl found)" + TAIL]),
        ("ca: text", ["tls.ca: 'text' cannot be used (no certificate or crl found)" + TAIL]),
        (
            "ca: gone",
            [
                (
                    "tls.ca: 'gone' cannot be read (No such file or directory); "
                    "name a file that this user may read"
                )
            ],
        ),
        (
            "certificate: one, key: other.key",
            ["tls.certificate: 'one' and its key cannot be used (key values mismatch)" + TAIL],
        ),
        (
            "certificate: text, key: one.key",
            [
                "tls.certificate: 'text' and its key cannot be used "
                "(it holds no PEM, or an encrypted key)" + TAIL
            ],
        ),
        (
            "ca: text, certificate: one, key: empty",
            [
                "tls.ca: 'text' cannot be used (no certificate or crl found)" + TAIL,
                "tls.certificate: 'one' and its key cannot be used "
                "(it holds no PEM, or an encrypted key)" + TAIL,
            ],
        ),
    ],
)
def test_a_file_of_which_no_tls_can_be_made_is_told(sink: str, tls: str, expected: list[str]) -> None:
    assert told(f"{sink}, tls: {{{tls}}}") == expected
    assert told(f"{sink}, tls: {{{tls}}}", check_files=False) == []


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ("linger.ms: 50, compression.type: lz4, ssl.key.password: x", []),
        (
            "transaction.timeout.ms: text",
            [
                (
                    "librdkafka refuses the value of `transaction.timeout.ms` "
                    '(Invalid value for configuration property "transaction.timeout.ms"); correct it'
                )
            ],
        ),
        (
            "no.such: 1, linger.ms: 99999999999",
            [
                (
                    "librdkafka refuses the value of `linger.ms` "
                    '(Configuration property "queue.buffering.max.ms" '
                    "value 1e+11 is outside allowed range 0..900000); correct it"
                ),
                "librdkafka has no property `no.such`; remove it, or correct its name",
            ],
        ),
        (
            "linger.ms: {env: SECRET_LINGER}",
            ["librdkafka refuses the value of `linger.ms`; correct it"],
        ),
        (
            "acks: 1, linger.ms: x",
            [
                (
                    "cannot set `acks` like that: a record is owned only when all replicas in sync have it; "
                    "remove it"
                ),
                (
                    "librdkafka refuses the value of `linger.ms` "
                    '(Invalid value for configuration property "queue.buffering.max.ms"); correct it'
                ),
            ],
        ),
        ("logger: x", ["cannot have `logger`: callbacks cannot be configured"]),
        (
            "max.in.flight: 3, transaction.timeout.ms: 1000, linger.ms: 5000",
            [
                (
                    "Kafka's client refuses its configuration: Failed to create producer: "
                    "`message.timeout.ms` must be greater than `linger.ms`; see `properties`."
                )
            ],
        ),
    ],
)
def test_a_property_that_the_client_refuses_is_told(
    properties: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRET_LINGER", "s3ntinel")
    sink = f"{KAFKA}, delivery: transactional, properties: {{{properties}}}"
    threads = set(TASKS.iterdir())
    assert told(sink) == [f"properties: {sentence}" for sentence in expected]
    # The kernel shows a thread for a moment after its end was told.
    eventually(lambda: set(TASKS.iterdir()) <= threads, "no client stays")
    assert capfd.readouterr() == ("", ""), "nor does it log"


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("folder", ["path: Cannot write to folder: it is a directory; write the path of a file."]),
        (
            "gone/x.jsonl",
            ["path: Cannot write to gone/x.jsonl: its directory does not exist; create it."],
        ),
        ("folder/x.jsonl", []),
        ("s/x.jsonl", []),
        ("./s/../s/x.jsonl", []),
        (
            "s/deeper/x.jsonl",
            ["path: Cannot write to s/deeper/x.jsonl: its directory does not exist; create it."],
        ),
        ("-", []),
    ],
)
def test_a_destination_on_this_machine_is_looked_at_by_the_check_alone(
    path: str, expected: list[str]
) -> None:
    sink = f"type: jsonlines, path: '{path}'"
    assert told(sink, check_destinations=True) == expected
    assert told(sink) == [], "`run` waits for it, and delivers to the others"


def test_a_secret_in_a_file_is_looked_into(place: Path) -> None:
    (place / "secret").write_text("abc")
    sink = f"{HOOK}, signingSecret: {{file: secret}}, headers: {{x-a: {{file: secret}}}}"
    assert [line.partition(";")[0] for line in told(sink)] == ["signingSecret: a signing secret has 2 bytes"]


@pytest.mark.usefixtures("place")
def test_all_that_sinks_know_is_told_together_and_beside_all_other_mistakes() -> None:
    source = f"""\
{HEAD}\
- name: events
  type: kafka
  bootstrapServers: kafka://b
  topic: k/s
  sasl: {{mechanism: PLAIN}}
  batch: 5
- {{name: hook, type: webhook, url: http://h, headers: {{host: x, a b: y}}, tls: {{key: one.key}}}}
- {{name: hook2, type: webhook, url: h, headers: {{host: x}}}}
- {{name: file, type: jsonlines, path: "-", rotate: {{keep: 3}}}}
retries: 5
"""
    with pytest.raises(ConfigError) as caught:
        loads(source, "c.yaml")
    assert [f"{problem.line}: {problem.path}" for problem in caught.value.problems] == [
        "7: sinks[0].bootstrapServers",
        "8: sinks[0].topic",
        "9: sinks[0].sasl.mechanism",
        "10: sinks[0].batch",
        "11: sinks[1].headers",
        "11: sinks[1].headers",
        "11: sinks[1].tls.key",
        "12: sinks[2].url",
        "12: sinks[2].headers",
        "13: sinks[3].rotate",
        "14: retries",
    ]


@pytest.mark.parametrize("command", [["check", "--offline"], ["check"], ["run"]])
def test_every_command_tells_it_in_the_same_words(command: list[str], place: Path) -> None:
    (place / "c.yaml").write_text(f"{HEAD}- {{name: a, {HOOK}, tls: {{ca: text}}}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "bridge", *command, "-c", "c.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"kube-bridge: c.yaml:5: sinks[0].tls.ca: 'text' cannot be used (no certificate or crl found){TAIL}\n"
    )
