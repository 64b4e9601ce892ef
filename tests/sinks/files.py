"""Deliveries into rotated files, and what these hold."""

import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio
import zstandard

from bridge.changes.change import Change
from bridge.delivery.sink import Delivery
from sinks.jsonlines.rotation import PACKED, Rotate, rotated_files
from sinks.jsonlines.sink import JsonLines
from tests.delivery.fakes import change, records

LINE = 40


def line(number: int) -> bytes:
    return b'{"type":"ADDED","n":%d,' % number + b'"x":"' + b"x" * (LINE - 30 - len(str(number))) + b'"}'


def lines(*numbers: int) -> list[bytes]:
    return [line(number) for number in numbers]


def text(values: Sequence[bytes]) -> bytes:
    return b"".join(value + b"\n" for value in values)


def delivery(values: Sequence[bytes], *, replay: bool = False) -> Delivery:
    return Delivery(0, records(*values), sum(map(len, values)), replay)


async def deliver(sink: JsonLines, *batches: Sequence[bytes], replay: bool = False) -> None:
    async with sink:
        for values in batches:
            await sink.deliver(delivery(values, replay=replay))


def rotating(path: Path, **options: object) -> JsonLines:
    return JsonLines(str(path), Rotate(**options))  # type: ignore[arg-type]  # what a test chooses


def names(path: Path) -> list[str]:
    return [Path(file.path).name for file in rotated_files(str(path))]


def got(path: Path) -> bytes:
    return path.read_bytes()


def rotated(path: Path) -> list[bytes]:
    return [Path(file.path).read_bytes() for file in rotated_files(str(path))]


def move(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def dress(path: Path, mode: int, time_written: float) -> None:
    path.chmod(mode)
    os.utime(path, (time_written, time_written))


def make_directory(path: Path) -> None:
    path.mkdir()


def remove_directory(path: Path) -> None:
    path.rmdir()


def status(path: Path) -> os.stat_result:
    return path.stat()


def read_at(seconds: float, number: int) -> Change:
    return msgspec.structs.replace(change(number), time=int(seconds * 1_000_000))


def put(path: Path, data: bytes, *, seconds_ago: float = 0) -> None:
    path.write_bytes(data)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


async def eventually(condition: Callable[[], bool]) -> None:
    """The thread that tidies up is nobody's to wait for, so it is looked after."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - as above
            await trio.sleep(0.002)


def plain_content(path: Path) -> bytes:
    return b"".join(rotated(path)) + got(path)


def everything(path: Path) -> bytes:
    """Of all rotated files, in order, and of the current one, as a reader would put it together."""
    parts = [content(file.path) for file in rotated_files(str(path))]
    return b"".join(parts) + (path.read_bytes() if path.exists() else b"")


def content(path: str) -> bytes:
    """Of one rotated file; while it is there in both forms they must be the same."""
    plain, packed = Path(path), Path(path + PACKED)
    if packed.exists():
        data = unpacked(packed)
        assert not plain.exists() or plain.read_bytes() == data
        return data
    return plain.read_bytes()


def unpacked(path: Path) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())) as stream:
        return stream.read()
