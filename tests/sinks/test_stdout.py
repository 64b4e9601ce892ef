"""Standard output and pipes: whole lines in order, and quiet when the reader has enough."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.delivery.sink import ClosedPipe, Unavailable
from sinks.jsonlines.outlet import Outlet
from tests.sinks.program import expected

COUNT, PAD = 400, 3000
PROGRAM = [sys.executable, "-m", "tests.sinks.program", "-"]


def command(cursor: Path, count: int = COUNT, pad: int = PAD) -> list[str]:
    return [*PROGRAM, str(cursor), str(count), str(pad)]


def test_a_pipe_gets_every_line_once(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "cursor"), capture_output=True, check=True, timeout=60)
    assert done.stdout == expected(COUNT, PAD)
    assert done.stderr == b""


def test_a_reader_that_has_enough_ends_the_program_quietly(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path / "cursor"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_a_pipe_that_somebody_made_non_blocking_gets_every_line_once(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen(command(tmp_path / "cursor"), stdout=write) as process:
        os.close(write)
        with os.fdopen(read, "rb") as file:
            assert file.read() == expected(COUNT, PAD)
        assert process.wait(timeout=60) == 0


def test_standard_output_may_be_a_file_and_is_appended_to_as_the_shell_says(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"before")
    with out.open("ab") as file:
        subprocess.run(command(tmp_path / "cursor", 20, 10), stdout=file, check=True, timeout=60)
    assert out.read_bytes() == b"before" + expected(20, 10)


BLOCKED = """
import trio
from bridge.delivery.sink import Delivery
from sinks.jsonlines.sink import JsonLines
from tests.delivery.fakes import records
async def main():
    async with JsonLines("-") as sink:
        with trio.move_on_after(0.2) as scope:
            await sink.deliver(Delivery(1, records(b"x" * 1_000_000), 1_000_000))
    assert scope.cancelled_caught
trio.run(main)
"""


def test_a_reader_that_does_not_read_cannot_keep_the_program_from_ending() -> None:
    begin = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == 0
    assert time.monotonic() - begin < 20


def test_a_closed_standard_output_is_told_and_nothing_is_written_to_whoever_has_its_number(
    tmp_path: Path,
) -> None:
    shell = 'exec "$@" >&-'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *command(tmp_path / "cursor", 5, 5)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert b"Standard output is closed; redirect it to a file or a pipe." in done.stderr
    assert (tmp_path / "cursor").read_bytes() == b""


class Pipe:
    """An outlet into a pipe whose kernel side takes what a script says."""

    def __init__(
        self, patch: pytest.MonkeyPatch, script: list[int | OSError], *, is_stdout: bool = False
    ) -> None:
        read, self.fd = os.pipe()
        self.reader = os.fdopen(read, "rb", buffering=0)
        self.outlet = Outlet(self.fd, "pipe", is_stdout=is_stdout)
        write = os.write

        def scripted(fd: int, data: bytes) -> int:
            step = script.pop(0) if script else len(data)
            if isinstance(step, OSError):
                raise step
            return write(fd, data[:step])

        patch.setattr(os, "write", scripted)

    def taken(self) -> bytes:
        os.close(self.fd)
        with self.reader:
            return self.reader.read()


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("part", range(1, 8))
def test_a_batch_that_was_cut_off_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    pipe = Pipe(monkeypatch, [part, full(), full()])
    for _ in range(2):
        with pytest.raises(Unavailable, match="No space left"):
            pipe.outlet.append(b"abc\ndef\n")
    pipe.outlet.append(b"abc\ndef\n")
    pipe.outlet.append(b"ghi\n")
    assert pipe.taken() == b"abc\ndef\nghi\n"


def test_another_batch_behind_a_torn_one_begins_on_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(monkeypatch, [2, full()])
    with pytest.raises(Unavailable):
        pipe.outlet.append(b"abc\n")
    pipe.outlet.append(b"xyz\n")
    assert pipe.taken() == b"ab\nxyz\n"


def test_short_writes_and_interruptions_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(monkeypatch, [1, BlockingIOError(), 3, BlockingIOError(), 1])
    pipe.outlet.append(b"abc\ndef\n")
    assert pipe.taken() == b"abc\ndef\n"


@pytest.mark.parametrize(("is_stdout", "expected_error"), [(True, ClosedPipe), (False, Unavailable)])
def test_a_closed_pipe_ends_the_command_only_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, expected_error: type[Exception], *, is_stdout: bool
) -> None:
    pipe = Pipe(monkeypatch, [BrokenPipeError(errno.EPIPE, "Broken pipe")], is_stdout=is_stdout)
    with pytest.raises(expected_error):
        pipe.outlet.append(b"abc\n")
    assert pipe.taken() == b""
