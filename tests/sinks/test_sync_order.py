"""The kernel's own record: no position is acknowledged before the sync that covers its lines."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sinks.program import expected

COUNT, PAD = 150, 200

CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>(?P<rest>.*)$")
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
RESULT = re.compile(r"= (?P<result>-?\d+)")
TEXT = re.compile(r'"(?P<text>[^"]*)"')


def has_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return probe.returncode == 0


class Disk:
    """What of one file is written and what is synced, replayed from system calls in their order."""

    def __init__(self, out: Path, cursor: Path) -> None:
        self.out, self.cursor = str(out), str(cursor)
        self.written = self.synced = 0
        self.acknowledged: list[int] = []
        self.sizes = [len(expected(number, PAD)) for number in range(COUNT + 1)]
        self._begun: dict[str, tuple[str, str, int]] = {}

    def line(self, line: str) -> None:
        if call := CALL.match(line):
            self._begin(call["pid"], call["name"], call["path"], call["rest"])
            if "<unfinished" not in call["rest"]:
                self._end(call["pid"], call["rest"])
        elif (resumed := RESUMED.match(line)) and resumed["pid"] in self._begun:
            self._end(resumed["pid"], resumed["rest"])

    def _begin(self, pid: str, name: str, path: str, rest: str) -> None:
        self._begun[pid] = (name, path, self.written)  # a sync covers what was written when it began
        if name == "pwrite64" and path == self.cursor:
            text = TEXT.search(rest)
            assert text is not None, rest
            position = int(text["text"])
            assert self.synced >= self.sizes[position], (
                f"position {position} was acknowledged before its sync"
            )
            self.acknowledged.append(position)

    def _end(self, pid: str, rest: str) -> None:
        name, path, written = self._begun.pop(pid)
        result = RESULT.search(rest)
        if path != self.out or result is None or int(result["result"]) < 0:
            return
        if name == "write":
            self.written += int(result["result"])
        elif name in ("fdatasync", "fsync"):
            self.synced = max(self.synced, written)


@pytest.mark.skipif(
    not has_strace() and not os.environ.get("CI"), reason="strace is not installed or not permitted here"
)
def test_strace_sees_every_acknowledgement_after_the_sync_of_its_lines(tmp_path: Path) -> None:
    out, cursor, trace = tmp_path / "out.jsonl", tmp_path / "cursor", tmp_path / "trace"
    program = [sys.executable, "-m", "tests.sinks.program", str(out), str(cursor), str(COUNT), str(PAD)]
    calls = "trace=write,writev,pwrite64,fdatasync,fsync,ftruncate"
    subprocess.run(
        ["strace", "-f", "-y", "-s", "40", "-e", calls, "-o", str(trace), *program],
        env=os.environ | {"MAX_BYTES": "4000"},
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert out.read_bytes() == expected(COUNT, PAD)
    disk = Disk(out, cursor)
    for line in trace.read_text().splitlines():
        disk.line(line)
    assert disk.written == disk.sizes[COUNT], "the trace shows every byte of the file"
    assert disk.acknowledged[-1] == COUNT
    assert len(disk.acknowledged) > 10


def test_the_judge_sees_an_acknowledgement_that_comes_before_its_sync(tmp_path: Path) -> None:
    out, cursor = tmp_path / "out.jsonl", tmp_path / "cursor"
    size = len(expected(1, PAD))
    disk = Disk(out, cursor)
    disk.line(f'7 write(5<{out}>, "..."..., {size}) = {size}')
    disk.line(f"7 fdatasync(5<{out}> <unfinished ...>")
    with pytest.raises(AssertionError, match="position 1 was acknowledged before its sync"):
        disk.line(f'8 pwrite64(4<{cursor}>, "00000000000000000001", 20, 0) = 20')
    disk.line("7 <... fdatasync resumed>) = 0")
    disk.line(f'8 pwrite64(4<{cursor}>, "00000000000000000001", 20, 0) = 20')
