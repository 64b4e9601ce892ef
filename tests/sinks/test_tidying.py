"""Rotated files are compressed and removed beside delivery, and a kill there loses nothing."""

import errno
import os
import time
from pathlib import Path

import pytest
import trio
import zstandard

from sinks.jsonlines import tidying
from sinks.jsonlines.rotation import PACKED, UNFINISHED, rotated_files
from tests.sinks.files import (
    deliver,
    delivery,
    dress,
    eventually,
    everything,
    got,
    lines,
    names,
    plain_content,
    put,
    rotating,
    status,
    text,
    unpacked,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


async def test_what_only_looks_like_a_rotated_file_is_left_alone(path: Path) -> None:
    odd = [
        "out.jsonl.1", "out.jsonl.00000001-20261128T101112Z.gz", "out.jsonl.00000001-20269928T101112Z",
        "other.jsonl.00000001-20261128T101112Z", "out.jsonl.00000001-20261128T101112Z.zst.old",
    ]  # fmt: skip
    for name in odd:
        put(path.with_name(name), b"mine", seconds_ago=1000)
    await deliver(
        rotating(path, max_bytes=10, keep=1, compress="zstd"), *([value] for value in lines(1, 2, 3))
    )
    assert all(got(path.with_name(name)) == b"mine" for name in odd)


async def test_what_another_file_of_a_similar_name_is_just_being_compressed_into_is_left_alone(
    path: Path,
) -> None:
    others = [
        "out.jsonl.eu.00000001-20261128T101112Z.zst.tmp", "out.jsonl.backup.zst.tmp", "out.jsonl.zst.tmp",
    ]  # fmt: skip
    left = "out.jsonl.00000001-20261128T101112Z.zst.tmp"
    for name in (*others, left):
        put(path.with_name(name), b"half")
    async with rotating(path, max_bytes=10, compress="zstd"):
        await eventually(lambda: not path.with_name(left).exists())
    assert all(got(path.with_name(name)) == b"half" for name in others)


async def test_the_oldest_are_removed_in_both_forms_and_what_is_young_stays(path: Path) -> None:
    """A replay may look for records in what was written within the last minute."""
    for number in range(1, 7):
        name = f"out.jsonl.{number:08d}-20261128T101112Z"
        put(
            path.with_name(name + (PACKED if number % 2 else "")), b"old", seconds_ago=61 if number < 4 else 0
        )
    async with rotating(path, max_bytes=10, keep=2):
        await eventually(lambda: len(names(path)) == 3)
    assert [name[:18] for name in names(path)] == [
        "out.jsonl.00000004",
        "out.jsonl.00000005",
        "out.jsonl.00000006",
    ]


async def test_what_was_too_young_is_removed_a_minute_later_without_another_rotation(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "_NEEDED_SECONDS", 0.2)
    async with rotating(path, max_bytes=10, keep=1) as sink:
        for value in lines(1, 2, 3, 4):
            await sink.deliver(delivery([value]))
        await eventually(lambda: len(names(path)) == 1)
    assert everything(path) == text(lines(3, 4))


async def test_rotated_files_are_compressed_and_the_current_one_never(path: Path) -> None:
    async with rotating(path, max_bytes=10, compress="zstd") as sink:
        await sink.deliver(delivery(lines(1)))
        dress(path, 0o640, 1)
        await sink.deliver(delivery(lines(2)))
        await eventually(lambda: {one.suffix for one in path.parent.iterdir()} == {path.suffix, PACKED})
        [packed] = path.parent.glob(f"*{PACKED}")
        assert unpacked(packed) == text(lines(1))
        assert status(packed).st_mode & 0o777 == 0o640, "who may read it stays as it was"
        assert status(packed).st_mtime == 1, "retention goes by when it was written to"
        assert zstandard.get_frame_parameters(got(packed)).has_checksum
        assert got(path) == text(lines(2))


async def test_what_a_kill_left_is_tidied_up_at_the_next_start(path: Path) -> None:
    first, second = (path.with_name(f"out.jsonl.0000000{n}-20261128T101112Z") for n in (1, 2))
    put(first, text(lines(1)))
    put(Path(f"{first}{UNFINISHED}"), b"half")
    put(second, text(lines(2)))
    put(Path(f"{second}{PACKED}"), zstandard.compress(text(lines(2))))
    async with rotating(path, max_bytes=1000, compress="zstd"):
        await eventually(lambda: not any(file.plain for file in rotated_files(str(path))))
    assert not list(path.parent.glob("*.tmp"))
    assert everything(path) == text(lines(1, 2))


async def test_compressing_holds_back_no_delivery_and_closing_waits_for_one_block_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "_CHUNK", 16)
    reached, go_on = trio.Event(), list[bool]()
    token = trio.lowlevel.current_trio_token()

    def stuck(point: str) -> None:
        if point == "rotate.compressing":
            token.run_sync_soon(reached.set)
            while not go_on:
                time.sleep(0.001)  # this is the thread that must not be waited for

    monkeypatch.setattr(tidying, "crash_point", stuck)
    async with rotating(path, max_bytes=100, compress="zstd") as sink:
        for value in lines(1, 2, 3, 4):
            await sink.deliver(delivery([value]))
        await reached.wait()
        for value in lines(5, 6, 7, 8):
            await sink.deliver(delivery([value]))
        assert plain_content(path) == text(lines(*range(1, 9)))
        sink._runtime.output._tidier._stop.set()  # type: ignore[union-attr]  # as closing does, before it waits
        go_on.append(True)
    assert not list(path.parent.glob("*.tmp"))
    assert not list(path.parent.glob(f"*{PACKED}")), "it was told to stop before the end"
    assert everything(path) == text(lines(*range(1, 9)))


async def test_a_file_that_cannot_be_compressed_stays_and_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(path.with_name("out.jsonl.00000001-20261128T101112Z"), text(lines(1)))
    said: list[str] = []
    monkeypatch.setattr(tidying, "log", lambda *_, **fields: said.append(fields["error"]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", lambda *_: full(0))
        async with rotating(path, max_bytes=1000, compress="zstd"):
            await eventually(lambda: bool(said))
    assert "No space left" in said[0]
    assert not list(path.parent.glob("*.tmp"))
    async with rotating(path, max_bytes=1000, compress="zstd"):
        await eventually(lambda: not any(file.plain for file in rotated_files(str(path))))
