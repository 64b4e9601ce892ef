"""A file of whole lines: repaired when opened, extended durably or not at all, never damaged."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.sink import Unavailable
from sinks.jsonlines import appendfile
from sinks.jsonlines.appendfile import AppendFile, problem

LINES = b'{"type":"ADDED","n":1}\n{"type":"DELETED","n":2}\n'
TORN = b'{"type":"MODIFIED","name":"caf\xc3\xa9","object":{"a":"\\n"}}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def opened(path: Path) -> AppendFile:
    return AppendFile.open(str(path))


def content_after_open(path: Path) -> bytes:
    opened(path).close()
    return path.read_bytes()


@pytest.mark.parametrize("cut", range(len(TORN) + 1))
@pytest.mark.parametrize("before", [b"", LINES], ids=["alone", "behind lines"])
def test_a_line_of_ours_torn_at_any_byte_is_cut_and_nothing_else(path: Path, before: bytes, cut: int) -> None:
    path.write_bytes(before + TORN[:cut])
    assert content_after_open(path) == before


@pytest.mark.parametrize(
    "tail", [b"x", b"{", b'{"kind":"List"}', b'{"type":', b'{"typ0":"', b"\x7fELF\x00\x00"]
)
@pytest.mark.parametrize("before", [b"", b"somebody's line\n"], ids=["alone", "behind lines"])
def test_what_is_not_ours_is_never_cut(path: Path, before: bytes, tail: bytes) -> None:
    path.write_bytes(before + tail)
    if TORN.startswith(tail):
        assert content_after_open(path) == before
        return
    with pytest.raises(Unavailable, match="not ours; move the file away"):
        opened(path)
    assert path.read_bytes() == before + tail


def test_whole_lines_of_somebody_else_stay_and_ours_follow(path: Path) -> None:
    path.write_bytes(b"# notes\n")
    file = opened(path)
    file.append([LINES])
    file.close()
    assert path.read_bytes() == b"# notes\n" + LINES


@pytest.mark.parametrize(
    ("spoilt", "kept"),
    [
        (LINES + bytes(5000), LINES),
        (LINES + bytes(4096) + LINES, LINES),
        (LINES + TORN[:9] + bytes(100) + b"\n" + LINES, LINES),
        (LINES + TORN[:9] + bytes(100), LINES),
    ],
    ids=["zeros at the end", "a page of zeros", "zeros within a line", "zeros in a torn line"],
)
def test_zeros_that_a_power_cut_left_are_cut_with_all_that_follows(
    path: Path, spoilt: bytes, kept: bytes
) -> None:
    path.write_bytes(spoilt)
    assert content_after_open(path) == kept


@pytest.mark.parametrize("content", [b"\x7fELF\x00\x01\n\x00more\n", bytes(100), b"text\n\x00\x00"])
def test_a_binary_file_of_somebody_else_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Unavailable, match="not ours"):
        opened(path)
    assert path.read_bytes() == content


def test_a_long_torn_line_is_found_across_chunks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appendfile, "_CHUNK", 64)
    path.write_bytes(LINES + TORN[:-1] + b"x" * 1000)
    assert content_after_open(path) == LINES


@given(
    st.lists(st.binary(min_size=0, max_size=6).map(lambda b: b.replace(b"\n", b"")), max_size=12),
    st.binary(min_size=0, max_size=6).map(lambda b: b.replace(b"\n", b"")),
    st.integers(1, 9),
)
def test_the_last_whole_line_is_found_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], wanted: bytes, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("find") / "f"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    fd = os.open(path, os.O_RDWR)
    file = AppendFile(str(path), fd)
    file.end = path.stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appendfile, "_CHUNK", chunk)
        found = file.find_last(wanted + b"\n")
    file.close()
    last = max((n for n, line in enumerate(lines) if line == wanted), default=None)
    assert found == (None if last is None else sum(len(line) + 1 for line in lines[:last]))


def test_the_search_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(LINES + b'{"type":"x"}\n' * 50)
    monkeypatch.setattr(appendfile, "SEARCHED", 200)
    file = opened(path)
    assert file.find_last(LINES.splitlines(keepends=True)[0]) is None
    assert file.find_last(b'{"type":"x"}\n') == file.end - 13
    file.close()


class Disk:
    """Takes `room` bytes through `os.write`, then says `error`."""

    def __init__(self, patch: pytest.MonkeyPatch, room: int, error: int) -> None:
        self.room, self.error = room, error
        self._write = os.write
        patch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(self.error, os.strerror(self.error))
        taken = self._write(fd, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("room", [0, 1, len(LINES) // 2, len(LINES) - 1])
def test_a_full_disk_takes_nothing_of_a_batch_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: int, room: int
) -> None:
    file = opened(path)
    file.append([LINES])
    disk = Disk(monkeypatch, room, error)
    for _ in range(3):
        disk.room = room
        with pytest.raises(Unavailable, match="make room, nothing is lost meanwhile"):
            file.append([LINES])
        assert path.read_bytes() == LINES
        assert file.sound
    disk.room = 1000
    file.append([LINES])
    assert path.read_bytes() == LINES * 2
    file.close()


def test_a_sync_that_finds_no_room_takes_the_batch_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened(path)

    def full(_fd: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(Unavailable):
            file.append([LINES])
    assert path.read_bytes() == b""
    file.append([LINES])
    assert path.read_bytes() == LINES
    file.close()


def test_a_failed_sync_is_raised_and_its_data_taken_back_never_synced_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(path)
    file.append([LINES])
    syncs = []

    def broken(_fd: int) -> None:
        syncs.append(path.read_bytes())
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        file.append([LINES])
    assert syncs == [LINES * 2]
    assert path.read_bytes() == LINES
    file.close()


def test_a_file_that_cannot_be_taken_back_is_not_sound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened(path)
    Disk(monkeypatch, 5, errno.EIO)

    def stuck(_fd: int, _size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "ftruncate", stuck)
    with pytest.raises(OSError, match="Input/output error"):
        file.append([LINES])
    assert not file.sound
    file.close()


@pytest.mark.parametrize("left", [b"", LINES[:30], LINES + b"foreign\n", LINES + b"torn foreign"])
def test_a_file_that_somebody_else_changes_goes_on_with_a_whole_line(
    path: Path, left: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `copytruncate` of logrotate does; said once, not hidden."""
    file = opened(path)
    file.append([LINES])
    path.write_bytes(left)
    file.append([LINES])
    file.append([LINES])
    file.close()
    ended = left if not left or left.endswith(b"\n") else left + b"\n"
    assert path.read_bytes() == ended + LINES * 2
    assert capsys.readouterr().err.count("somebody else changes the file") == 1


def test_two_writers_of_one_file_are_refused(path: Path) -> None:
    first = opened(path)
    with pytest.raises(Unavailable, match="another process writes to it; stop it or choose another file"):
        opened(path)
    first.close()
    opened(path).close()


def test_a_new_file_is_private_and_an_existing_one_keeps_its_mode(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.touch()
    old.chmod(0o644)
    opened(new).close()
    opened(old).close()
    assert (new.stat().st_mode & 0o777, old.stat().st_mode & 0o777) == (0o600, 0o644)


def test_a_new_file_and_its_name_are_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    sync = os.fsync

    def watched(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        sync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    opened(path).close()
    assert synced == [path, path.parent]


def places(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "file").touch()
    (folder / "loop").symlink_to(folder / "loop")
    yield str(folder), "it is a directory; write the path of a file"
    yield str(folder / "missing" / "out"), "its directory does not exist; create it"
    yield str(folder / "file" / "out"), "a part of the path is not a directory"
    yield str(folder / "loop"), "its symbolic links form a loop"


def test_a_path_that_cannot_work_is_told_in_one_sentence_also_by_the_check(tmp_path: Path) -> None:
    for place, sentence in places(tmp_path):
        with pytest.raises(Unavailable, match=sentence) as caught:
            AppendFile.open(place)
        assert str(caught.value) == problem(place)
        assert place in str(caught.value)


def test_no_permission_is_told_in_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(Unavailable, match="permission denied; let this user write there"):
        opened(path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert problem(str(path)) == f"Cannot write to {path}: permission denied; let this user write there."


def test_the_check_finds_nothing_wrong_and_creates_nothing(path: Path) -> None:
    assert problem(str(path)) is None
    assert not path.exists()
    path.touch()
    assert problem(str(path)) is None
