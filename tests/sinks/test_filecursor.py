"""Beside a file stands up to where it holds the log: never further than what is synced, never in the way."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.delivery.sink import Context, Delivery, Forgetting, Resume, Unavailable
from sinks.jsonlines import filecursor
from sinks.jsonlines.sink import JsonLines
from tests.delivery.fakes import records
from tests.sinks.files import everything, got, line, make_directory, move, names, put, rotating, text

HERE = Context("out", "c", "cluster-uid")
START = Resume("log", 7, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reasons: list[str] = []
    monkeypatch.setattr(
        filecursor, "log", lambda _level, _event, **fields: reasons.append(str(fields["reason"]))
    )
    return reasons


def beside(path: Path) -> Path:
    return path.with_name(path.name + ".cursor")


def exists(path: Path) -> bool:
    return path.exists()


def remove(path: Path) -> None:
    path.unlink()


def at(position: int, log_id: str = "log", incarnation: int = 7) -> Resume:
    return Resume(log_id, incarnation, position)


async def deliver(
    sink: JsonLines, *positions: int, resume: Resume = START, context: Context = HERE
) -> Resume:
    """One batch for each position; where the sink said to go on when it was opened."""
    async with sink:
        known = await sink.open(resume, context)
        for position in positions:
            await sink.deliver(Delivery(position, records(line(position)), 0))
    return known


async def known(path: Path, resume: Resume = START, context: Context = HERE) -> Resume:
    return await deliver(JsonLines(str(path)), resume=resume, context=context)


async def test_what_is_delivered_is_known_to_the_next_run(path: Path) -> None:
    assert await deliver(JsonLines(str(path)), 3, 9) == START
    assert json.loads(got(beside(path))) == {
        "logId": "log", "incarnation": 7, "position": 9, "sink": "out",
    }  # fmt: skip
    assert await known(path) == at(9)
    assert await known(path, at(9, incarnation=8)) == at(9, incarnation=8), "the log knows as much"
    assert await known(path, at(12)) == at(12), "it may be behind: it is not synced"


async def test_another_log_is_told_wherever_it_stands(path: Path) -> None:
    await deliver(JsonLines(str(path)), 3)
    assert await known(path, at(1000, "another")) == at(3)
    assert await deliver(JsonLines(str(path)), 1001, resume=at(1000, "another")) == at(3)
    assert await known(path, at(1000, "another")) == at(1001, "another"), "that log has it now"


async def test_another_sink_of_the_same_log_says_nothing_about_this_one(path: Path) -> None:
    await deliver(JsonLines(str(path)), 30)
    other = Context("other", "c", "cluster-uid")
    assert await known(path, at(5), other) == at(5)
    assert await known(path, at(5, "another"), other) == at(30)


async def test_nothing_stands_beside_before_something_is_owned(path: Path) -> None:
    assert await known(path) == START
    assert not exists(beside(path))


async def test_it_is_written_when_the_records_are_synced_and_never_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fdatasync
    seen: list[int] = []

    def position() -> int:
        return int(json.loads(got(beside(path)))["position"]) if exists(beside(path)) else 0

    def look(fd: int) -> None:
        seen.append(position())
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", look)
    async with JsonLines(str(path)) as sink:
        await sink.open(START, HERE)
        for number in (5, 9):
            await sink.deliver(Delivery(number, records(line(number)), 0))
            assert position() == number
    assert seen == [0, 5, 9], "two batches, and its own at the end"


async def test_a_batch_that_was_not_taken_is_not_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async with JsonLines(str(path)) as sink:
        await sink.open(START, HERE)
        await sink.deliver(Delivery(5, records(line(5)), 0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(Unavailable):
                await sink.deliver(Delivery(9, records(line(9)), 0))
    assert await known(path) == at(5)


async def test_a_shorter_number_leaves_nothing_of_a_longer_one(path: Path) -> None:
    await deliver(JsonLines(str(path)), 10**15)
    size = len(got(beside(path)))
    await deliver(JsonLines(str(path)), 6, resume=at(5, "yes"))
    assert len(got(beside(path))) == size
    assert await known(path, at(5, "yes")) == at(6, "yes")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "torn"),
        (b"\0" * 100, "torn"),
        (b'{"logId":"log","incarn', "torn"),
        (b'{"logId":"log","incarnation":"x","position":3,"sink":"out"}\n', "torn"),
        (b'{"logId":"log","incarnation":7,"position":30,"sink":"out"}garbage\n', "torn"),
    ],
)
async def test_a_torn_one_is_as_if_there_were_none_and_is_written_anew(
    path: Path, told: list[str], content: bytes, reason: str
) -> None:
    put(path, b"")
    put(beside(path), content)
    assert await deliver(JsonLines(str(path)), 4) == START
    assert len(told) == 1
    assert reason in told[0]
    assert await known(path) == at(4)


@pytest.mark.parametrize("content", [b"my notes\n", b"\xff" * 9000, b'{"type":"ADDED"}\n'])
async def test_what_somebody_else_keeps_there_is_left_alone(
    path: Path, told: list[str], content: bytes
) -> None:
    """Also where the file is not there yet."""
    put(beside(path), content)
    assert await deliver(JsonLines(str(path)), 4, 5) == START
    assert told == ["it is not ours; move it away"]
    assert got(beside(path)) == content
    assert got(path) == text([line(4), line(5)])


@pytest.mark.parametrize("make", [make_directory, os.mkfifo])
async def test_what_is_no_file_there_holds_back_nothing(
    path: Path, told: list[str], make: Callable[[Path], None]
) -> None:
    make(beside(path))
    assert await deliver(JsonLines(str(path)), 4, 5) == START
    assert len(told) == 1
    assert got(path) == text([line(4), line(5)])


async def test_a_full_disk_for_it_holds_back_nothing_and_is_told_once(
    path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        await deliver(JsonLines(str(path)), 4, 5)
    assert told == ["it cannot be written: No space left on device"]
    assert got(path) == text([line(4), line(5)])


async def test_it_has_the_mode_of_its_file(path: Path) -> None:
    put(path, b"")
    path.chmod(0o660)  # noqa: ASYNC240 - nothing else runs
    await deliver(JsonLines(str(path)), 4)
    assert beside(path).stat().st_mode & 0o777 == 0o660


async def test_it_lies_where_the_records_lie(tmp_path: Path) -> None:
    """A link can lead to another volume."""
    make_directory(tmp_path / "volume")
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "volume" / "real.jsonl")
    await deliver(JsonLines(str(link)), 4)
    assert exists(tmp_path / "volume" / "real.jsonl.cursor")
    assert not exists(beside(link))
    assert await known(link) == at(4)


async def test_a_link_that_is_switched_takes_its_place_with_it(tmp_path: Path) -> None:
    """Else the file before would be said to hold what the next one has."""
    for volume in ("a", "b"):
        make_directory(tmp_path / volume)
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "a" / "f.jsonl")
    async with JsonLines(str(link)) as sink:
        await sink.open(START, HERE)
        await sink.deliver(Delivery(5, records(line(5)), 0))
        remove(link)
        link.symlink_to(tmp_path / "b" / "f.jsonl")
        await sink.deliver(Delivery(9, records(line(9)), 0))
    assert await known(tmp_path / "a" / "f.jsonl") == at(5)
    assert await known(tmp_path / "b" / "f.jsonl") == at(9)


async def test_a_file_that_was_taken_away_while_nobody_wrote_takes_what_was_known_with_it(path: Path) -> None:
    """Who removes the file and the state begins anew, without a sentence about a log that is gone."""
    await deliver(JsonLines(str(path)), 4)
    remove(path)
    assert await known(path, at(0, "another")) == at(0, "another")
    assert not exists(beside(path))


async def test_a_file_that_was_moved_away_under_a_running_bridge_changes_nothing(path: Path) -> None:
    async with JsonLines(str(path)) as sink:
        await sink.open(START, HERE)
        await sink.deliver(Delivery(4, records(line(4)), 0))
        move(path, "old")
        await sink.reopen()
        assert json.loads(got(beside(path)))["position"] == 4
        await sink.deliver(Delivery(5, records(line(5)), 0))
        assert json.loads(got(beside(path)))["position"] == 5
    assert await known(path) == at(5)


async def test_one_that_was_removed_is_back_with_the_next_file(path: Path) -> None:
    async with JsonLines(str(path)) as sink:
        await sink.open(START, HERE)
        await sink.deliver(Delivery(4, records(line(4)), 0))
        remove(beside(path))
        move(path, "old")
        await sink.deliver(Delivery(5, records(line(5)), 0))
    assert await known(path) == at(5)


async def test_rotated_files_hold_what_is_known_together(path: Path) -> None:
    """A kill between moving away and beginning anew leaves no current file, and nothing is forgotten."""
    await deliver(rotating(path, max_bytes=2 * len(line(1)) + 2), 1, 2, 3, 4, 5)
    assert len(names(path)) == 2
    assert await known(path) == at(5)
    move(path, path.name + ".00000003-20261128T000000Z")
    assert await known(path) == at(5)
    assert everything(path) == text([line(n) for n in range(1, 6)])


@pytest.mark.parametrize("place", ["-", "/dev/null"])
async def test_what_is_no_file_has_nothing_beside_it(place: str) -> None:
    async with JsonLines(place) as sink:
        assert await sink.open(at(3), HERE) == at(3)
    assert not exists(Path(f"{place}.cursor"))


async def test_it_says_how_to_forget(path: Path) -> None:
    sink = JsonLines(str(path))
    assert isinstance(sink, Forgetting)
    assert sink.forgetting == f"remove {beside(path)} to begin anew"
