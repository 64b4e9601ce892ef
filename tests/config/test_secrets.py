"""Secrets come from a file, the environment or the configuration, and never show."""

from pathlib import Path

import pytest

from bridge.config import Secret, SecretError, loads
from bridge.errors import UsageError
from tests.config.texts import problems, text

SENTINEL = "hunter2-sentinel"


def redaction(key: str) -> str:
    return text(more=f"redaction:\n  key: {key}")


def test_a_file_is_read_anew_each_time_and_its_last_line_end_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"the-one-until-now\r\n")
    key = loads(redaction(f"{{file: {path}}}"), "c.yaml").redaction.key
    assert key is not None
    assert key.read() == b"the-one-until-now"
    path.write_bytes(b"rotated\n\n")
    assert key.read() == b"rotated\n"


def test_a_variable_of_the_environment_is_taken_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "gr\udcfcn")
    assert Secret(env="HOOK").read() == b"gr\xfcn"


def test_a_value_in_the_configuration_is_allowed() -> None:
    key = loads(redaction(f'"{SENTINEL}"'), "c.yaml").redaction.key
    assert key is not None
    assert key.read() == SENTINEL.encode()


def test_no_repr_shows_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", SENTINEL)
    config = loads(redaction(SENTINEL), "c.yaml")
    assert SENTINEL not in repr(config)
    assert SENTINEL not in str(config.redaction)
    assert SENTINEL not in repr(Secret(env="HOOK"))


@pytest.mark.parametrize("sources", [{}, {"env": "A", "value": b"b"}, {"file": Path("a"), "env": "B"}])
def test_a_secret_has_exactly_one_source(sources: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exactly one source"):
        Secret(**sources)  # type: ignore[arg-type]  # each value has the type of its key


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is empty; write the secret into it"),
        (b"\n", "is empty; write the secret into it"),
        (b"x" * 65_537, "has more than 64 KiB; name the file of one secret"),
    ],
)
def test_a_file_without_a_secret_is_told_when_the_configuration_is_loaded(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    source = redaction(f"{{file: {path}}}")
    [told] = problems(source, check_files=True)
    assert told.startswith("6: redaction.key: the secret's file ")
    assert reason in told
    assert problems(source) == []
    with pytest.raises(SecretError) as caught:
        Secret(file=path).read()
    assert reason in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_a_redaction_key_that_can_be_guessed_is_told_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "x" * 15)
    (tmp_path / "key").write_bytes(b"x" * 15 + b"\n")
    told = ["6: redaction.key: the secret has 15 bytes and can be guessed; write one of at least 16"]
    for key in ("xxxxxxxxxxxxxxx", "{env: KEY}", f"{{file: {tmp_path / 'key'}}}"):
        assert problems(redaction(key), check_files=True) == told
    monkeypatch.setenv("KEY", "x" * 16)
    assert problems(redaction("{env: KEY}"), check_files=True) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "the environment variable 'HOOK' is not set; set it to the secret"),
        ("", "the environment variable 'HOOK' is empty; set it to the secret"),
    ],
)
def test_a_variable_without_a_secret_is_told_when_the_configuration_is_loaded(
    monkeypatch: pytest.MonkeyPatch, value: str | None, told: str
) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK", value)
    assert problems(redaction("{env: HOOK}"), check_files=True) == [f"6: redaction.key: {told}"]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("{file: a, env: B}", "6: redaction.key: has two sources; keep either file or env"),
        ("{}", "6: redaction.key: has no source; write a secret: its value, {file: PATH} or {env: NAME}"),
        ("[a]", "6: redaction.key: is a list; write a secret: its value, {file: PATH} or {env: NAME}"),
        (
            '""',
            "6: redaction.key: is empty or not text; quote the secret, or write {file: PATH} or {env: NAME}",
        ),
        (
            "",
            "6: redaction.key: is empty or not text; quote the secret, or write {file: PATH} or {env: NAME}",
        ),
        ("{env: 12}", '6: redaction.key.env: `12` is a number in YAML, not text; quote it: "12"'),
    ],
)
def test_a_secret_without_one_source_is_told(key: str, told: str) -> None:
    assert problems(redaction(key)) == [told]


@pytest.mark.parametrize("literal", ["20260101", "2026-01-01", "0x1234", "!tagged hunter2"])
def test_a_value_that_yaml_does_not_take_for_text_is_refused_without_showing_it(literal: str) -> None:
    [told] = problems(redaction(literal))
    assert "quote the secret" in told
    assert literal not in told


def everything(*keys: str) -> str:
    return text(sinks=f"sinks: [{{name: out, type: everything, url: x, {', '.join(keys)}}}]")


def test_a_table_takes_texts_numbers_and_secrets_in_the_order_of_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK", SENTINEL)
    source = everything("headers: {z: {env: HOOK}, linger.ms: 5, a: true, ratio: 1.50, b: text}")
    headers = loads(source, "c.yaml").sinks[0].options.headers
    assert {name: secret.read() for name, secret in headers.items()} == {
        "a": b"true",
        "b": b"text",
        "linger.ms": b"5",
        "ratio": b"1.50",
        "z": SENTINEL.encode(),
    }
    assert list(headers) == sorted(headers)
    assert "text" not in repr(headers)


def test_what_is_wrong_in_a_table_is_told_at_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    assert problems(everything("headers: {a: [b], c: {env: 1}}")) == [
        "4: sinks[0].headers.a: is a list; write a secret: its value, {file: PATH} or {env: NAME}",
        '4: sinks[0].headers.c.env: `1` is a number in YAML, not text; quote it: "1"',
    ]
    [told] = problems(everything("headers: [a]"))
    assert told.startswith("4: sinks[0].headers: is not a mapping; write a mapping of names to values, ")
    assert problems(everything("headers: {a: {env: HOOK}}"), check_files=True) == [
        "4: sinks[0].headers: the environment variable 'HOOK' is not set; set it to the secret"
    ]


def test_one_item_may_stand_without_its_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    one, two = (loads(everything(keys), "c.yaml").sinks[0].options for keys in ("keys: a", "keys: [a, b]"))
    assert [secret.read() for secret in one.keys] == [b"a"]
    assert [secret.read() for secret in two.keys] == [b"a", b"b"]
    assert problems(everything("keys: []")) == ["4: sinks[0].keys: is an empty list; write at least one key"]
    assert problems(everything("keys: [a, {env: HOOK}]"), check_files=True) == [
        "4: sinks[0].keys: the environment variable 'HOOK' is not set; set it to the secret"
    ]
