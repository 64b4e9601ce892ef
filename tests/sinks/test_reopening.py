"""A file that was moved away is let go, at once when asked to and with the next record otherwise."""

import os
from pathlib import Path

import pytest
import trio

from bridge.delivery.sink import Reopened, Unavailable
from sinks.jsonlines import appendfile
from sinks.jsonlines.rotation import Rotate
from sinks.jsonlines.sink import JsonLines
from tests.sinks.files import delivery, got, lines, make_directory, move, remove_directory, rotating, text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


async def test_a_file_that_was_moved_away_just_before_its_rotation_is_not_missed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an external rotation does, between our look and our move."""
    async with rotating(path, max_bytes=10) as sink:
        await sink.deliver(delivery(lines(1)))
        monkeypatch.setattr(appendfile.AppendFile, "is_current", lambda _: True)
        move(path, "theirs")
        await sink.deliver(delivery(lines(2)))
    assert (got(path.with_name("theirs")), got(path)) == (text(lines(1)), text(lines(2)))


@pytest.mark.parametrize("rotate", [Rotate(max_bytes=1 << 20), None])
async def test_reopening_lets_go_of_a_file_that_was_moved_away_and_of_no_other(
    path: Path, rotate: Rotate | None
) -> None:
    sink = JsonLines(str(path), rotate)
    assert isinstance(sink, Reopened)
    await sink.reopen()
    async with sink:
        await sink.deliver(delivery(lines(1)))
        await sink.reopen()
        move(path, "moved")
        await sink.reopen()
        assert got(path) == b"", "the new one is there before the next record"
        await sink.deliver(delivery(lines(2)))
        move(path, "moved again")
        make_directory(path)
        await sink.reopen()
        with pytest.raises(Unavailable, match="it is a directory"):
            await sink.deliver(delivery(lines(3)))
        remove_directory(path)
        await sink.deliver(delivery(lines(3)))
    assert got(path) == text(lines(3))


async def test_a_pipe_is_opened_again_with_the_next_record(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    readers = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)]
    async with JsonLines(str(pipe)) as sink:
        await sink.deliver(delivery(lines(1)))
        pipe.rename(tmp_path / "old")
        os.mkfifo(pipe)
        readers.append(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        await sink.reopen()
        await sink.deliver(delivery(lines(2)))
    assert [os.read(reader, 1000) for reader in readers] == [text(lines(1)), text(lines(2))]
    for reader in readers:
        os.close(reader)


async def test_a_pipe_that_is_reopened_while_its_reader_is_waited_for_gets_all_of_the_record(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    big = b'{"type":"' + b"x" * 300_000 + b'"}'
    async with JsonLines(str(pipe)) as sink, trio.open_nursery() as nursery:
        nursery.start_soon(sink.deliver, delivery([big]))
        await trio.lowlevel.wait_readable(reader)
        await sink.reopen()
        taken = b""
        while not taken.endswith(b"\n"):
            await trio.lowlevel.wait_readable(reader)
            taken += os.read(reader, 65536)
        assert taken == big + b"\n"
    assert os.read(reader, 1) == b"", "the one that was let go is closed"
    os.close(reader)
