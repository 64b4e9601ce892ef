"""What commands show: tables for people, JSON for programs, nothing that plays tricks on a terminal."""

import argparse
import json
import subprocess
import sys
from typing import Any

import pytest

from bridge import cli, commands
from bridge.errors import UsageError

STATUS: dict[str, Any] = {
    "cluster": "prod",
    "full": "",
    "streams": [
        {"stream": "pods", "namespace": "", "state": "live", "seconds": 90.0, "reason": ""},
        {"stream": "cm", "namespace": "shop", "state": "backoff", "seconds": None, "reason": "refused"},
    ],
    "sinks": [
        {
            "sink": "hook", "type": "webhook", "state": "retrying", "reason": "evil\x1b[2J\nrow",
            "nextTrySeconds": 480.0, "position": 7, "records": 3,
            "lag": {"records": 12, "bytes": 3 << 20, "seconds": 7300.0}, "deadLetters": 4,
            "snapshotsOwed": 1,
        }
    ],
}  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, answer: Any, *argv: str, items: tuple[Any, ...] = ()) -> list[Any]:
    """Run a command against a bridge that answers so; what it was asked."""
    asked: list[Any] = []

    def ask(arguments: argparse.Namespace, command: str, what: dict[str, Any], item: Any = None) -> Any:
        del arguments
        asked.append((command, what))
        for each in items:
            item(each)
        return answer

    monkeypatch.setattr(commands, "_ask", ask)
    assert cli.main(argv) == 0
    return asked


def test_status_is_one_json_document_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, STATUS, "status", "--state", "x")
    assert json.loads(capsys.readouterr().out) == STATUS


def test_status_is_a_table_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, STATUS, "status", "--state", "x", "-o", "table")
    assert capsys.readouterr().out.splitlines() == [
        "cluster prod",
        "STREAM  NAMESPACE  STATE    FOR  REASON",
        "pods    *          live     2m",
        "cm      shop       backoff  -    refused",
        "SINK  STATE     BEHIND  BYTES    OLDEST  DEAD LETTERS  SNAPSHOTS OWED  REASON",
        "hook  retrying  12      3.0 MiB  2h      4             1               evil [2J row; next try in 8m",
    ]


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        ("snapshot --stream s", ("snapshot", {"stream": "s", "sink": None})),
        ("snapshot --stream s --sink k", ("snapshot", {"stream": "s", "sink": "k"})),
        ("pause --sink k", ("pause", {"sink": "k"})),
        ("resume --sink k", ("resume", {"sink": "k"})),
        ("redrive --sink k", ("redrive", {"sink": "k", "ids": None, "force": False})),
        ("redrive --sink k --id 1 --id 2 --force", ("redrive", {"sink": "k", "ids": [1, 2], "force": True})),
        ("deadletters purge --all", ("purge", {"sink": None, "ids": None, "all": True})),
        ("deadletters purge --sink k --id 3", ("purge", {"sink": "k", "ids": [3], "all": False})),
        ("deadletters show --sink k", ("deadletters", {"sink": "k", "ids": None, "records": True})),
    ],
)
def test_what_is_typed_is_what_is_asked(
    monkeypatch: pytest.MonkeyPatch, argv: str, asked: tuple[str, dict[str, Any]]
) -> None:
    answer = {"sinks": ["k"], "state": "paused", "redriven": 1, "superseded": 1, "foreign": 0, "purged": 0}
    assert run(monkeypatch, answer, *argv.split(), "--state", "x") == [asked]


LETTER = {
    "id": 3, "sink": "k", "stream": "s", "type": "ADDED", "namespace": "n", "name": "a", "attempts": 1,
    "first": "2026-01-01T00:00:00Z", "last": "2026-01-01T00:00:00Z", "reason": "too\tlarge",
}  # fmt: skip


def test_dead_letters_are_lines_in_a_pipe_and_a_table_for_a_person(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("deadletters", "list", "--state", "x")
    run(monkeypatch, {}, *argv, items=(LETTER, LETTER))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [LETTER, LETTER]
    run(monkeypatch, {}, *argv, "-o", "table", items=(LETTER,))
    assert capsys.readouterr().out.splitlines() == [
        "ID  SINK  STREAM  TYPE   NAMESPACE  NAME  ATTEMPTS  LAST                  REASON",
        "3   k     s       ADDED  n          a     1         2026-01-01T00:00:00Z  too large",
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 30, "3.0 GiB")]
)
def test_bytes_are_short(count: int, text: str) -> None:
    assert commands._bytes(count) == text


def test_a_missing_letter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_ask", lambda *_: {})
    arguments = cli._parser().parse_args(["deadletters", "show", "--state", "x", "--id", "9"])
    with pytest.raises(UsageError, match="no dead letter 9"):
        arguments.run(arguments)


def test_a_reader_that_leaves_ends_a_command_quietly() -> None:
    command = [sys.executable, "-m", "bridge", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        assert program.stderr.read() == b""
    assert program.returncode == 0
