"""The log is one line per incident, for people or for machines, and never in the way."""

import fcntl
import io
import json
import logging
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal, TextIO

import pytest

from bridge import logs
from bridge.logs import Incidents, Log, configure, log

NOON = 1_800_000_000.25


class Lines:
    """A logger that keeps what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, object]]] = []

    def __call__(self, level: str, event: str, /, **fields: object) -> None:
        self.seen.append((level, event, fields))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, TextIO]]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield ours, stream
    os.close(ours)


def written(form: Literal["auto", "text", "json"], event: str = "it happened", **fields: Any) -> str:
    stream = io.StringIO()
    Log(stream, form=form, now=lambda: NOON)("warning", event, **fields)
    return stream.getvalue()


def test_a_line_for_a_machine_is_json_with_time_level_and_event_first() -> None:
    line = written("auto", stream="pods", seconds=1.5, left=None, ok=True, parts=["a"], error=ValueError("x"))
    assert line.startswith(
        '{"time": "2027-01-15T08:00:00.250000Z", "level": "warning", "event": "it happened"'
    )
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250000Z",
        "level": "warning",
        "event": "it happened",
        "stream": "pods",
        "seconds": 1.5,
        "ok": True,
        "parts": ["a"],
        "error": "x",
    }


def test_a_line_for_a_person_is_time_level_event_and_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    line = written("text", stream="pods", reason="no route to host", empty="", n=3)
    assert line == '08:00:00 WARNING it happened  stream=pods  reason="no route to host"  empty=""  n=3\n'


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_one_line_and_has_no_control_characters(form: Literal["text", "json"]) -> None:
    line = written(form, "a\nb\x1b]0;evil\x07", reason="c\r\n\x1b[2J\u202e\u0085\ud800")
    assert line.count("\n") == 1
    assert line[:-1].isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_never_longer_than_a_pipe_takes_at_once(form: Literal["text", "json"]) -> None:
    for fields in ({"reason": "x" * 100_000}, {f"k{n}": "\u0085" * 5000 for n in range(40)}):
        line = written(form, "e" * 300, **fields)
        assert len(line.encode()) <= 4096
        assert line.endswith("\n")
        if form == "json":
            assert json.loads(line)["event"] == "e" * 300
    assert "(100000 characters)" in written(form, reason="x" * 100_000)


def test_a_list_is_a_list_for_a_machine_and_words_for_a_person() -> None:
    parts: dict[str, Any] = {
        "topics": ("k8s.pods", 'a"b'),
        "one": ["x"],
        "none": [],
        "set": {"b", "a"},
        "odd": [1, None, ["y"]],
    }
    line = json.loads(written("json", **parts))
    assert [line[key] for key in parts] == [
        ["k8s.pods", 'a"b'], ["x"], [], ["a", "b"], [1, "null", '["y"]'],
    ]  # fmt: skip
    text = written("text", **parts)
    assert r'  topics="k8s.pods, a\"b"  one=x  none=""  set="a, b"  odd=' in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_list_that_is_too_long_says_how_long_it_was(form: Literal["text", "json"]) -> None:
    line = written(form, names=[f"name-{number}" for number in range(10_000)])
    assert len(line.encode()) <= 4096
    assert "name-0" in line
    assert "name-50" in line
    assert "... (10000 in all)" in line
    if form == "json":
        assert json.loads(line)["names"][-1] == "... (10000 in all)"
    assert "... (1 in all)" not in written(form, names=["x" * 100_000])
    assert "(100000 characters)" in written(form, names=["x" * 100_000])


def test_numbers_that_json_does_not_know_are_text() -> None:
    assert json.loads(written("json", n=float("nan")))["n"] == "nan"


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    quiet = Log(stream, level="warning")
    quiet("debug", "a")
    quiet("info", "b")
    assert stream.getvalue() == ""


def test_a_terminal_gets_text_with_colour(terminal: tuple[int, TextIO]) -> None:
    ours, stream = terminal
    Log(stream)("error", "it broke")
    line = os.read(ours, 1000)
    assert b"\x1b[31mERROR  \x1b[0m it broke" in line


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(
    terminal: tuple[int, TextIO], variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable)
    ours, stream = terminal
    Log(stream)("error", "it broke")
    assert b"\x1b" not in os.read(ours, 1000)


def test_a_reader_that_stalls_costs_lines_and_not_time() -> None:
    """The pipe fills; nothing blocks; when it is read again a line tells how many are missing."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK)
    with os.fdopen(theirs, "w") as stream:
        stalled = Log(stream, form="json")
        for number in range(2000):
            stalled("info", "line", number=number)
        found = bytearray()
        while len(found) < 1 << 20:
            try:
                found += os.read(ours, 65536)
            except BlockingIOError:
                break
        got = [json.loads(line) for line in found.splitlines()]
        assert [line["number"] for line in got] == list(range(len(got)))
        stalled("info", "line", number=-1)
        assert json.loads(os.read(ours, 65536))["dropped"] == 2000 - len(got)
        stalled("info", "line", number=-2)
        assert "dropped" not in json.loads(os.read(ours, 65536))
    os.close(ours)


def test_a_dead_stderr_is_no_error() -> None:
    """Closed by its reader, closed by us, full disk, never open."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as broken, open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        for stream in (broken, full):
            Log(stream)("error", "into the void")
    closed = io.StringIO()
    dead = Log(closed)
    closed.close()
    dead("error", "into the void")
    program = "from bridge.logs import log; log('error', 'x'); print('alive')"
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "{program}" 2>&-'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "alive\n"


def test_an_incident_is_one_line_then_sums_then_its_end() -> None:
    lines, clock = Lines(), Clock()
    incidents = Incidents(lines, every=300, clock=clock)
    for second in range(900):
        clock.now = 1000.0 + second
        incidents.report("pods", "warning", "watch failed", status=500 + second % 2)
    clock.now = 2000.0
    incidents.end("pods", "watch works again", stream="pods")
    incidents.end("pods", "watch works again", stream="pods")
    assert lines.seen == [
        ("warning", "watch failed", {"status": 500}),
        ("warning", "watch failed", {"status": 500, "again": 300, "times": 301, "seconds": 300.0}),
        ("warning", "watch failed", {"status": 500, "again": 300, "times": 601, "seconds": 600.0}),
        ("info", "watch works again", {"stream": "pods", "times": 900, "seconds": 1000.0}),
    ]


def test_incidents_of_two_streams_are_two() -> None:
    lines = Lines()
    incidents = Incidents(lines, clock=Clock())
    for key in ("a", "b", "a", "b"):
        incidents.report(key, "warning", "failed", stream=key)
    assert [fields["stream"] for _, _, fields in lines.seen] == ["a", "b"]


def test_an_incident_that_gets_worse_is_told_at_once_and_only_then() -> None:
    lines = Lines()
    incidents = Incidents(lines, clock=Clock())
    for level, event in (("warning", "slow"), ("error", "gone"), ("warning", "slow"), ("warning", "odd")):
        incidents.report("k", level, event)  # type: ignore[arg-type]  # literals in a tuple are plain strings to mypy
    assert [(level, event) for level, event, _ in lines.seen] == [("warning", "slow"), ("error", "gone")]


def test_each_sort_of_reason_is_told_at_once_when_it_is_the_first_of_its_incident() -> None:
    lines = Lines()
    incidents = Incidents(lines, clock=Clock())
    for why in ("connect", "connect", "topic", "connect", "topic"):
        incidents.report("k", "warning", "failed", why, reason=why)
    incidents.end("k", "works")
    incidents.report("k", "warning", "failed", "topic", reason="topic")
    assert [fields.get("reason") for _, _, fields in lines.seen] == ["connect", "topic", None, "topic"]


def test_a_sum_that_is_due_comes_with_a_tick_and_not_twice() -> None:
    lines, clock = Lines(), Clock()
    incidents = Incidents(lines, every=300, clock=clock)
    incidents.report("k", "warning", "failed")
    incidents.report("k", "warning", "failed")
    for _ in range(5):
        clock.now += 200
        incidents.tick()
    assert [fields for _, _, fields in lines.seen] == [{}, {"again": 1, "times": 2, "seconds": 400.0}]


def test_an_incident_after_the_end_is_a_new_one() -> None:
    lines = Lines()
    incidents = Incidents(lines, clock=Clock())
    for _ in range(2):
        incidents.report("k", "warning", "failed")
        incidents.end("k", "works")
    assert [event for _, event, _ in lines.seen] == ["failed", "works"] * 2


@pytest.fixture
def process_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(logs, "_current", None)
    configure(stream=stream)
    configure(stream=stream)
    yield stream
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, logs._Forward)]:
        root.removeHandler(handler)


def test_warnings_of_libraries_are_lines_of_ours_and_their_chatter_is_not(process_log: io.StringIO) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET https://host/?token=x")
    logging.getLogger("lib").warning("odd %s", "thing")
    log("info", "ours")
    lines = [json.loads(line) for line in process_log.getvalue().splitlines()]
    assert [(line["level"], line["event"], line.get("logger")) for line in lines] == [
        ("warning", "odd thing", "lib"),
        ("info", "ours", None),
    ]


def test_before_it_is_configured_the_log_goes_to_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_current", None)
    log("info", "early", n=1)
    assert json.loads(capfd.readouterr().err)["event"] == "early"
