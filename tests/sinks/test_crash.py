"""Killed at any moment, a file holds each record once, whole and in order, after the next runs."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.faults import POINTS
from tests.sinks.files import everything
from tests.sinks.program import expected

COUNT, PAD = 120, 300
SINK_POINTS = [point for point in POINTS if point.startswith("sink.")]
ROTATED_POINTS = [*SINK_POINTS, *(point for point in POINTS if point.startswith("rotate."))]
ROTATE = 9000


def start(
    folder: Path, every: int, crash: str = "", count: int = COUNT, pad: int = PAD, rotate: int = 0
) -> subprocess.Popen[bytes]:
    environment = os.environ | {"KUBE_BRIDGE_CRASH": crash, "MAX_BYTES": "6000"}
    if rotate:
        environment["ROTATE"] = str(rotate)
    arguments = [str(folder / "out.jsonl"), str(folder / "cursor"), str(count), str(pad), str(every)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.sinks.program", *arguments], env=environment, stderr=subprocess.PIPE
    )


def forget(folder: Path, *, beside: bool) -> None:
    """Lose what stands beside the file, unless it is to be kept."""
    if not beside:
        (folder / "out.jsonl.cursor").unlink(missing_ok=True)


def run(folder: Path, every: int, crash: str = "", rotate: int = 0) -> int:
    process = start(folder, every, crash, rotate=rotate)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode


@pytest.mark.parametrize("point", SINK_POINTS)
@pytest.mark.parametrize(("every", "beside"), [(1, True), (4, True), (4, False), (1000, False)])
def test_a_kill_at_each_crash_point_leaves_each_line_once(
    tmp_path: Path, point: str, every: int, *, beside: bool
) -> None:
    """A cursor in the log that is never durable, one that lags, one that does not; the file's, and none."""
    for arrival in (3, 1):
        assert run(tmp_path, every, f"{point}:{arrival}") == -signal.SIGKILL
        assert expected(COUNT, PAD).startswith((tmp_path / "out.jsonl").read_bytes().rpartition(b"\n")[0])
        forget(tmp_path, beside=beside)
    assert run(tmp_path, every) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == expected(COUNT, PAD)
    forget(tmp_path, beside=beside)
    assert run(tmp_path, every) == 0, "a clean start writes nothing more"
    assert (tmp_path / "out.jsonl").read_bytes() == expected(COUNT, PAD)


def test_kills_at_random_moments_leave_each_line_once(tmp_path: Path) -> None:
    dice = random.Random(20261121)
    count, pad = 3000, 2000
    for _ in range(8):
        process = start(tmp_path, 50, count=count, pad=pad)
        try:
            process.wait(timeout=dice.uniform(0.25, 0.6))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate(timeout=60)
    process = start(tmp_path, 50, count=count, pad=pad)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    assert (tmp_path / "out.jsonl").read_bytes() == expected(count, pad)


@pytest.mark.parametrize("point", ROTATED_POINTS)
@pytest.mark.parametrize(("every", "beside"), [(1, True), (1000, True), (1000, False)])
def test_a_kill_at_each_crash_point_leaves_each_line_once_over_all_rotated_files(
    tmp_path: Path, point: str, every: int, *, beside: bool
) -> None:
    """With a cursor that was never durable the replay goes through all of them, compressed or not."""
    out = tmp_path / "out.jsonl"
    for arrival in (3, 2, 1):
        assert run(tmp_path, every, f"{point}:{arrival}", ROTATE) == -signal.SIGKILL
        assert expected(COUNT, PAD).startswith(everything(out).rpartition(b"\n")[0])
        forget(tmp_path, beside=beside)
    for _ in range(2):
        assert run(tmp_path, every, rotate=ROTATE) == 0
        assert everything(out) == expected(COUNT, PAD)
    assert out.stat().st_size <= ROTATE
    assert len(list(tmp_path.glob("*.zst"))) > 3


def test_kills_at_random_moments_leave_each_line_once_over_all_rotated_files(tmp_path: Path) -> None:
    dice = random.Random(20261128)
    count, pad = 2000, 2000
    for _ in range(8):
        process = start(tmp_path, 50, count=count, pad=pad, rotate=50_000)
        try:
            process.wait(timeout=dice.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate(timeout=60)
    process = start(tmp_path, 50, count=count, pad=pad, rotate=50_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    assert everything(tmp_path / "out.jsonl") == expected(count, pad)
