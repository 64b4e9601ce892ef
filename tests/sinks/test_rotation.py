"""Rotated files hold each record once over all of them, whatever happens to the process or the clock."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.changes.envelope import Format, Renderer
from bridge.config import ConfigError, loads
from bridge.delivery.sink import Checked, Context, Unavailable
from sinks.jsonlines import appendfile, rotation
from sinks.jsonlines.rotation import PACKED, Rotate, rotated_files
from sinks.jsonlines.sink import JsonLines
from tests.changes.samples import BRIDGE, PODS
from tests.delivery.fakes import change
from tests.sinks.files import (
    deliver,
    delivery,
    everything,
    got,
    line,
    lines,
    names,
    put,
    read_at,
    rotated,
    rotating,
    text,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


class Clock:
    """Stands in for the module `time` in the rotation."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall = 1_795_251_600.0
        self.steady = 1000.0
        patch.setattr(rotation, "time", self)

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_no_file_is_larger_than_the_limit_and_together_they_hold_everything(path: Path) -> None:
    every = lines(*range(100))
    batches = [every[at : at + 3] for at in range(0, 100, 3)]
    await deliver(rotating(path, max_bytes=10 * len(line(1))), *batches)
    files = sorted(path.parent.iterdir())
    assert len(files) > 9
    assert all(file.stat().st_size <= 10 * len(line(1)) for file in files)
    assert b"".join(file.read_bytes() for file in files[1:]) + files[0].read_bytes() == text(every)
    assert everything(path) == text(every)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


async def test_a_record_larger_than_the_limit_has_a_file_of_its_own(path: Path) -> None:
    big = b'{"type":"' + b"x" * 5000 + b'"}'
    await deliver(rotating(path, max_bytes=1000), lines(1), [big], lines(2))
    assert rotated(path) == [
        text(lines(1)),
        big + b"\n",
    ]
    assert got(path) == text(lines(2))


def test_a_batch_fits_into_a_file_with_its_line_ends() -> None:
    limit = 64 << 10
    most = rotating(Path("x"), max_bytes=limit).max_bytes
    smallest = len(b'{"type":"ADDED","object":{"kind":"K","apiVersion":"v1","metadata":{}}}')
    assert most + most // smallest <= limit
    assert rotating(Path("x"), max_bytes=1 << 30).max_bytes == JsonLines("x").max_bytes == 2 << 20


async def test_a_file_is_rotated_when_its_first_record_is_old_enough(path: Path, clock: Clock) -> None:
    async with rotating(path, max_age=60) as sink:
        clock.steady += 1000
        await sink.deliver(delivery(lines(1)))
        clock.steady += 59
        clock.wall += 10_000  # a step of the clock that people set changes nothing
        await sink.deliver(delivery(lines(2)))
        assert not names(path)
        clock.steady += 1
        await sink.deliver(delivery(lines(3)))
    assert rotated(path) == [text(lines(1, 2))]
    assert got(path) == text(lines(3))


@pytest.mark.parametrize("form", [Format.NATIVE, Format.CLOUDEVENTS])
async def test_the_age_survives_a_restart_through_the_time_of_the_first_record(
    path: Path, clock: Clock, form: Format
) -> None:
    def rendered(number: int) -> list[bytes]:
        record = Renderer(BRIDGE, PODS, form).render(read_at(clock.wall, number), 0)
        assert record is not None
        return [record.value]

    await deliver(rotating(path, max_age=60), rendered(1))
    clock.wall += 50
    await deliver(rotating(path, max_age=60), rendered(2))
    assert not names(path)
    clock.wall += 10
    await deliver(rotating(path, max_age=60), rendered(3))
    assert len(names(path)) == 1


async def test_without_a_time_in_the_record_the_file_is_as_old_as_the_end_of_the_one_before(
    path: Path, clock: Clock
) -> None:
    """And older than any limit where there is none before: rotated early rather than late."""
    put(path, text(lines(1)))
    stamp = datetime.fromtimestamp(clock.wall - 50, UTC).strftime("%Y%m%dT%H%M%SZ")
    put(path.with_name(f"out.jsonl.00000001-{stamp}"), text(lines(0)))
    await deliver(rotating(path, max_age=60), lines(2))
    assert len(names(path)) == 1
    clock.wall += 10
    await deliver(rotating(path, max_age=60), lines(3))
    assert len(names(path)) == 2

    alone = path.with_name("alone")
    put(alone, text(lines(1)))
    await deliver(rotating(alone, max_age=60), lines(2))
    assert len(names(alone)) == 1


async def test_a_first_record_of_the_future_makes_no_file_eternal(path: Path, clock: Clock) -> None:
    put(path, b'{"type":"ADDED","id":"x","time":"2099-01-01T00:00:00Z"}\n')
    async with rotating(path, max_age=60) as sink:
        clock.steady += 60
        await sink.deliver(delivery(lines(1)))
    assert len(names(path)) == 1


@pytest.mark.parametrize(
    "first", [b'{"type":"x","id":"y","time":"soon"}', b'{"type":"x","id":"y","time":"\xff"}', b"# notes"]
)
async def test_a_first_line_that_says_nothing_makes_no_trouble(path: Path, first: bytes) -> None:
    put(path, first + b"\n")
    await deliver(rotating(path, max_age=3600), lines(1))
    assert everything(path) == first + b"\n" + text(lines(1))


async def test_an_empty_file_is_never_rotated(path: Path, clock: Clock) -> None:
    put(path, b"")
    async with rotating(path, max_age=1, max_bytes=10) as sink:
        clock.steady += 100
        await sink.deliver(delivery(lines(1)))
    assert not names(path)


async def test_names_sort_by_age_though_the_clock_goes_back_and_the_process_restarts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([datetime(2026, 11, 28, 10, 11, 12, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)])

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # of the clock, not of the class
            assert tz is UTC
            return next(moments)

    monkeypatch.setattr(rotation, "datetime", Wrong)
    for number in range(3):
        await deliver(rotating(path, max_bytes=10), lines(number))
    assert names(path) == ["out.jsonl.00000001-20261128T101112Z", "out.jsonl.00000002-19990101T000000Z"]
    assert everything(path) == text(lines(0, 1, 2))


async def test_a_file_that_gets_its_compressed_name_while_the_folder_is_read_is_seen(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missed, its number is given twice; a file of the same second is then removed as a compressed one."""
    await deliver(rotating(path, max_bytes=10), lines(1), lines(2))
    (plain,) = [path.with_name(name) for name in names(path)]
    scandir = os.scandir

    @contextmanager
    def read_slowly(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            told = [entry for entry in entries if entry.name != plain.name]
        if (
            plain.exists()
        ):  # its place in the folder is read after it has gone, that of the new name before it came
            plain.rename(f"{plain}{PACKED}")
        yield told

    monkeypatch.setattr(os, "scandir", read_slowly)
    assert [(file.number, file.packed) for file in rotated_files(str(path))] == [(1, True)]


async def test_the_target_of_a_link_is_rotated_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "real.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(real)
    await deliver(rotating(link, max_bytes=10), lines(1), lines(2))
    assert link.is_symlink()
    assert got(real) == text(lines(2))
    assert names(real) == names(link)
    assert len(names(real)) == 1


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["rename", "open"])
async def test_a_disk_that_is_full_at_a_rotation_is_unavailable_and_nothing_is_lost_or_doubled(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: int, call: str
) -> None:
    real_open = os.open

    def full(*arguments: object, **_: object) -> int:
        if call == "rename" or arguments[0] == str(path):
            raise OSError(error, os.strerror(error))
        return real_open(*arguments)  # type: ignore[arg-type]  # passed on

    async with rotating(path, max_bytes=10) as sink:
        await sink.deliver(delivery(lines(1)))
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            for _ in range(2):
                with pytest.raises(Unavailable, match="make room, nothing is lost meanwhile"):
                    await sink.deliver(delivery(lines(2)))
        await sink.deliver(delivery(lines(2)))
        await sink.deliver(delivery(lines(3)))
    assert everything(path) == text(lines(1, 2, 3))
    assert len(names(path)) == 2


async def test_a_directory_that_takes_no_new_files_is_told_also_by_the_check(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    sentence = f"Cannot rotate {path}: permission denied; let this user create files in its directory."
    async with rotating(path, max_bytes=10) as sink:
        await sink.deliver(delivery(lines(1)))
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", denied)
            with pytest.raises(Unavailable) as caught:
                await sink.deliver(delivery(lines(2)))
            assert str(caught.value) == sentence
        await sink.deliver(delivery(lines(2)))
    assert isinstance(sink, Checked)
    context = Context("out", "c", "uid")
    assert await sink.problems(context) == ()
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) != path.parent)
    assert await sink.problems(context) == (sentence,)


def test_standard_output_cannot_be_rotated() -> None:
    with pytest.raises(
        ValueError, match="is no file, so there is nothing to rotate; write the path of a file"
    ):
        JsonLines("-", Rotate(max_bytes=1 << 20))


async def test_what_is_no_file_now_is_told_by_check_and_waited_for_by_run(path: Path) -> None:
    """It may be put right; the configuration alone says nothing of it."""
    os.mkfifo(path)
    (told,) = await rotating(path, max_bytes=1 << 20).problems(Context("out", "c", "cluster-uid"))
    assert "is no file, so there is nothing to rotate" in told


async def test_a_pipe_that_took_the_place_of_a_file_is_told(path: Path) -> None:
    sink = rotating(path, max_bytes=1 << 20)
    os.mkfifo(path)
    with pytest.raises(Unavailable, match=r"Cannot rotate .*: it is no file"):
        await deliver(sink)


def test_a_rotation_without_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="has no limit; write maxBytes, maxAge or both"):
        Rotate(keep=3)


def test_it_says_what_it_means_that_a_record_is_owned(path: Path) -> None:
    assert JsonLines(str(path)).ownership == "written and synced, once each"
    assert JsonLines("-").ownership == JsonLines("/dev/null").ownership == "taken by the kernel"


def test_another_rotation_is_not_another_destination() -> None:
    """A sink of another destination would be a new one, and get everything again."""
    assert JsonLines("x", Rotate(max_bytes=1 << 20)).destination == JsonLines("x").destination == "x"


@pytest.mark.parametrize("form", Format)
def test_a_line_of_each_format_is_known_as_ours(form: Format) -> None:
    """By its beginning: what is torn of it may be cut."""
    record = Renderer(BRIDGE, PODS, form).render(change(1), 0)
    assert record is not None
    assert record.value.startswith(appendfile._BEGIN)


REFUSED = [
    ("path: '-', rotate: {maxBytes: 1Mi}", "sinks[0].rotate: `-` is no file, so there is nothing to rotate"),
    ("path: x, rotate: {keep: 3}", "sinks[0].rotate: has no limit; write maxBytes, maxAge or both"),
    ("path: x, rotate: {maxBytes: 1Ki}", "sinks[0].rotate.maxBytes: `1Ki` is out of bounds"),
    ("path: x, rotate: {maxBytes: 1Mi, compress: zip}", "sinks[0].rotate.compress: `zip`"),
    ("path: x, rotate: {maxBytes: 1Mi}}, {name: b, type: jsonlines, path: ./x",
     "sinks[1].path: `x` belongs to sinks[0].path in line 5; write another path"),
    (f"path: x}}, {{name: b, type: jsonlines, path: {Path('x').absolute()}",
     "x` belongs to sinks[0].path in line 5; write another path"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "told"), REFUSED, ids=[told[:40] for _, told in REFUSED])
def test_a_rotation_that_cannot_be_is_a_problem_of_the_configuration(keys: str, told: str) -> None:
    source = (
        "configVersion: 1\ncluster: {name: c}\nstate: {path: s}\n"
        "streams: [{name: pods, resource: pods}]\n"
        f"sinks: [{{name: a, type: jsonlines, {keys}}}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        loads(source, "c.yaml", check_files=False)
    assert told in str(caught.value)
    assert str(caught.value).count("\n") == 0, "this one problem alone"
