"""JSON lines in files: what is delivered stands there once, whole, in order, whatever happened before."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.sink import Checked, Context, Delivery, Resume, Sink, Unavailable
from bridge.errors import InvariantError
from sinks.jsonlines import fileoutput
from sinks.jsonlines.sink import JsonLines
from tests.delivery.fakes import records


def lines(*numbers: int) -> list[bytes]:
    return [b'{"type":"ADDED","n":%d}' % number for number in numbers]


def delivery(values: Sequence[bytes], *, replay: bool = False) -> Delivery:
    return Delivery(0, records(*values), sum(map(len, values)), replay)


async def deliver(sink: JsonLines, *batches: Sequence[bytes], replay: bool = False) -> None:
    async with sink:
        for values in batches:
            await sink.deliver(delivery(values, replay=replay))


def text(values: Sequence[bytes]) -> bytes:
    return b"".join(value + b"\n" for value in values)


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def got(path: Path) -> bytes:
    return path.read_bytes()


def unlink(path: Path) -> None:
    path.unlink()


def rename(path: Path, other: Path) -> None:
    path.rename(other)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_it_is_a_sink_and_shows_its_options_only() -> None:
    assert isinstance(JsonLines("x"), Sink)
    assert isinstance(JsonLines("x"), Checked)
    assert repr(JsonLines("x")) == "JsonLines(path='x', rotate=None)"
    assert JsonLines("x") == JsonLines("x")


async def test_what_is_delivered_is_in_the_file_when_deliver_returns(path: Path) -> None:
    async with JsonLines(str(path)) as sink:
        assert await sink.open(Resume("log", 1, 5), Context("out", "c", "uid")) == Resume("log", 1, 5)
        await sink.deliver(delivery(lines(1, 2)))
        assert got(path) == text(lines(1, 2))
        await sink.deliver(delivery(lines(3)))
        assert got(path) == text(lines(1, 2, 3))


async def test_a_closed_sink_cannot_deliver(path: Path) -> None:
    with pytest.raises(InvariantError, match="closed"):
        await JsonLines(str(path)).deliver(delivery(lines(1)))


CUTS = st.lists(st.integers(1, 4), min_size=1, max_size=8)


@given(
    written=st.integers(0, 12),
    cursor=st.integers(0, 12),
    total=st.integers(0, 12),
    cuts=CUTS,
    torn=st.integers(0, 20),
)
@settings(max_examples=60, deadline=None)
def test_a_replay_from_any_cursor_in_any_cut_writes_what_is_missing_only(
    tmp_path_factory: pytest.TempPathFactory,
    written: int,
    cursor: int,
    total: int,
    cuts: list[int],
    torn: int,
) -> None:
    """Earlier runs wrote `written` records and half of one; the durable cursor is behind that."""
    total = max(total, written)
    cursor = min(cursor, written)
    path = tmp_path_factory.mktemp("replay") / "out"
    every = lines(*range(total))
    torn_line = every[written][:torn] if written < total else b""
    put(path, b"# a line of somebody else\n" + text(every[:written]) + torn_line)
    batches, rest = list[list[bytes]](), every[cursor:]
    while rest:
        size = cuts[len(batches) % len(cuts)]
        batches.append(rest[:size])
        rest = rest[size:]
    trio.run(lambda: deliver(JsonLines(str(path)), *batches, replay=True))
    assert got(path) == b"# a line of somebody else\n" + text(every)


async def test_records_that_cannot_be_a_replay_are_written_even_if_they_stand_there(path: Path) -> None:
    put(path, text(lines(1, 2)))
    await deliver(JsonLines(str(path)), lines(1, 2), replay=False)
    assert got(path) == text(lines(1, 2, 1, 2))


@pytest.mark.parametrize("copied", [1 << 20, 5])
@pytest.mark.parametrize("batches", [[[1, 2, 9]], [[1, 2], [9]], [[1], [2], [9]], [[1], [2, 9]]])
async def test_what_only_begins_like_a_replay_is_written_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, batches: list[list[int]], copied: int
) -> None:
    """Records without ids can be equal by chance; a replay runs to the end of the file."""
    monkeypatch.setattr(fileoutput, "_COPIED_AT_ONCE", copied)
    put(path, text(lines(1, 2, 3)))
    await deliver(JsonLines(str(path)), *(lines(*batch) for batch in batches), replay=True)
    assert got(path) == text(lines(1, 2, 3, 1, 2, 9))


async def test_a_match_that_the_replay_does_not_finish_was_none(path: Path) -> None:
    put(path, text(lines(1, 2, 3)))
    async with JsonLines(str(path)) as sink:
        await sink.deliver(delivery(lines(1, 2), replay=True))
        await sink.deliver(delivery(lines(3), replay=False))
    assert got(path) == text(lines(1, 2, 3, 1, 2, 3))


async def test_the_last_place_counts_when_a_line_stands_there_twice(path: Path) -> None:
    put(path, text(lines(1, 2, 1)))
    await deliver(JsonLines(str(path)), lines(1, 2), replay=True)
    assert got(path) == text(lines(1, 2, 1, 2))


async def test_a_line_is_not_found_within_another_one(path: Path) -> None:
    value = lines(1)[0]
    put(path, b'{"type":"x","s":' + value + b"}\n")
    before = got(path)
    await deliver(JsonLines(str(path)), [value], replay=True)
    assert got(path) == before + value + b"\n"


async def test_a_file_that_was_moved_or_removed_is_opened_anew(path: Path) -> None:
    async with JsonLines(str(path)) as sink:
        await sink.deliver(delivery(lines(1)))
        rename(path, path.with_suffix(".1"))
        await sink.deliver(delivery(lines(2)))
        unlink(path)
        await sink.deliver(delivery(lines(3)))
    assert got(path.with_suffix(".1")) == text(lines(1))
    assert got(path) == text(lines(3))


async def test_a_directory_that_vanished_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    path = folder / "out"
    async with JsonLines(str(path)) as sink:
        await sink.deliver(delivery(lines(1)))
        unlink(path)
        folder.rmdir()
        for _ in range(2):
            with pytest.raises(Unavailable, match="its directory does not exist"):
                await sink.deliver(delivery(lines(2)))
        folder.mkdir()
        await sink.deliver(delivery(lines(2)))
    assert got(path) == text(lines(2))


async def test_a_write_that_could_not_be_taken_back_is_completed_without_a_double_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def short(fd: int, data: bytes) -> int:
        if len(data) <= 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:-10])

    def stuck(_fd: int, _size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with JsonLines(str(path)) as sink:
        await sink.deliver(delivery(lines(1)))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short)
            patch.setattr(os, "ftruncate", stuck)
            with pytest.raises(Unavailable, match="No space left"):
                await sink.deliver(delivery(lines(2, 3, 4)))
            assert not got(path).endswith(b"\n")
        await sink.deliver(delivery(lines(2, 3, 4)))
    assert got(path) == text(lines(1, 2, 3, 4))


@pytest.mark.parametrize("replay", [False, True])
async def test_a_full_disk_in_the_middle_of_a_replay_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, replay: bool
) -> None:
    put(path, text(lines(1, 2)))

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with JsonLines(str(path)) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await sink.deliver(delivery(lines(2, 3), replay=True))
        assert got(path) == text(lines(1, 2))
        await sink.deliver(delivery(lines(2, 3), replay=True))
        await sink.deliver(delivery(lines(4), replay=replay))
    assert got(path) == text(lines(1, 2, 3, 4))


async def test_a_cancelled_delivery_to_a_file_is_finished_first(path: Path) -> None:
    async with JsonLines(str(path)) as sink:
        with trio.CancelScope() as scope:
            scope.cancel()
            await sink.deliver(delivery(lines(1)))
        if scope.cancelled_caught:
            await sink.deliver(delivery(lines(1)))
    assert got(path) == text(lines(1))


LIMITED = """
import resource, sys, trio
from bridge.delivery.sink import Delivery, Unavailable
from sinks.jsonlines.sink import JsonLines
from tests.delivery.fakes import records
limit, path = int(sys.argv[1]), sys.argv[2]
async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    taken = refused = 0
    async with JsonLines(path) as sink:
        for n in range(50):
            try:
                await sink.deliver(Delivery(n, records(*[b'{"type":"%d' % n + b"x" * 200 + b'"}'] * 3), 0))
                taken += 1
            except Unavailable as error:
                refused += 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit * 10, resource.RLIM_INFINITY))
                assert "File too large" in str(error), error
                with open(path, "rb") as file:
                    assert file.read().endswith(b"}\\n"), "something of the batch was left"
    print(taken, refused)
trio.run(main)
"""


def test_a_real_limit_of_the_kernel_takes_nothing_of_a_batch(path: Path) -> None:
    """RLIMIT_FSIZE behaves as a full disk does: a short write first, then the error."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.fail("this test needs an unlimited hard limit of file sizes")
    output = subprocess.run(
        [sys.executable, "-c", LIMITED, "10000", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert output.stdout.split() == ["49", "1"], output.stderr
    assert got(path).count(b"\n") == 49 * 3


async def test_a_full_device_is_unavailable_not_an_error() -> None:
    """/dev/full is a device that has no room, on every Linux."""
    async with JsonLines("/dev/full") as sink:
        for _ in range(2):
            with pytest.raises(Unavailable, match="No space left on device"):
                await sink.deliver(delivery(lines(1)))


async def test_a_named_pipe_waits_for_its_reader_and_survives_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Unavailable, match="nobody reads from this pipe; start the reader"):
        await deliver(JsonLines(str(pipe)), lines(1))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    big = b'{"type":"' + b"x" * 300_000 + b'"}'
    async with JsonLines(str(pipe)) as sink, trio.open_nursery() as nursery:
        nursery.start_soon(sink.deliver, delivery([big]))
        got = b""
        while not got.endswith(b"\n"):
            await trio.lowlevel.wait_readable(reader)
            got += os.read(reader, 65536)
        assert got == big + b"\n"
        os.close(reader)
        with pytest.raises(Unavailable, match="its reader is gone"):
            await sink.deliver(delivery(lines(2)))
        with pytest.raises(Unavailable, match="nobody reads"):
            await sink.deliver(delivery(lines(2)))
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        await sink.deliver(delivery(lines(2)))
        assert os.read(reader, 65536) == text(lines(2))
    os.close(reader)
