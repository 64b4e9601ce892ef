"""A replay finds what an earlier run has written, in whichever files it stands by now."""

import os
from pathlib import Path

import pytest
import trio
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.jsonlines import trail
from sinks.jsonlines.rotation import PACKED
from tests.sinks.files import LINE, deliver, everything, got, lines, put, rotating, text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


CUTS = st.lists(st.integers(1, 4), min_size=1, max_size=8)


@given(
    sizes=st.lists(st.integers(1, 5), max_size=5),
    packed=st.lists(st.booleans(), min_size=5, max_size=5),
    current=st.integers(0, 4),
    torn=st.integers(0, 20),
    cursor=st.integers(0, 20),
    more=st.integers(0, 6),
    cuts=CUTS,
    limit=st.integers(1, 8),
    chunk=st.integers(1, 100),
)
@settings(max_examples=150, deadline=None)
def test_a_replay_from_any_cursor_finds_what_is_there_in_any_row_of_files(  # noqa: PLR0917 - what is drawn
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    packed: list[bool],
    current: int,
    torn: int,
    cursor: int,
    more: int,
    cuts: list[int],
    limit: int,
    chunk: int,
) -> None:
    """Earlier runs wrote into rotated files, some compressed; the durable cursor is anywhere behind."""
    path = tmp_path_factory.mktemp("replay") / "out"
    written = sum(sizes) + current
    every = lines(*range(written + more))
    done = 0
    for number, size in enumerate(sizes, 1):
        name, data = path.with_name(f"out.{number:08d}-20261128T101112Z"), text(every[done : done + size])
        put(Path(f"{name}{PACKED}"), zstandard.compress(data)) if packed[number - 1] else put(name, data)
        done += size
    put(path, text(every[done:written]) + (every[written][:torn] if more else b""))
    batches, rest = list[list[bytes]](), every[min(cursor, written) :]
    while rest:
        size = cuts[len(batches) % len(cuts)]
        batches.append(rest[:size])
        rest = rest[size:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trail, "_CHUNK", chunk)
        sink = rotating(path, max_bytes=limit * (LINE + 1), compress="zstd" if packed[0] else "none")
        trio.run(lambda: deliver(sink, *batches, replay=True))
    assert everything(path) == text(every)


async def test_what_only_begins_like_a_replay_in_a_rotated_file_is_written_whole(path: Path) -> None:
    put(path.with_name("out.jsonl.00000001-20261128T101112Z"), text(lines(1, 2)))
    put(path, text(lines(3)))
    await deliver(rotating(path, max_bytes=10_000), lines(1, 2), lines(9), replay=True)
    assert everything(path) == text(lines(1, 2, 3, 1, 2, 9))


@pytest.mark.parametrize(
    "damaged",
    [
        zstandard.compress(b"x" * 5000)[:-4],
        b"no zstd at all",
        b"",
        zstandard.compress(os.urandom(5000))[:3000],
    ],
)
async def test_a_damaged_compressed_file_is_told_and_holds_nothing_back(
    path: Path, damaged: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(trail, "log", lambda *words, **_: said.append(words[1]))
    put(path.with_name(f"out.jsonl.00000001-20261128T101112Z{PACKED}"), damaged)
    await deliver(rotating(path, max_bytes=10_000), lines(1, 2), replay=True)
    assert got(path) == text(lines(1, 2))
    assert said == ["a damaged rotated file: replayed records are not looked for there"]


async def test_the_search_through_rotated_files_has_a_bound(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        put(path.with_name(f"out.jsonl.0000000{number}-20261128T101112Z"), text(lines(number)))
    opened = []
    real = trail._Segment

    def counted(place: str) -> object:
        opened.append(place)
        return real(place)

    monkeypatch.setattr(trail, "_Segment", counted)
    monkeypatch.setattr(trail, "SEARCHED", LINE + 2)
    await deliver(rotating(path, max_bytes=10_000), lines(1), replay=True)
    assert len(opened) == 2
