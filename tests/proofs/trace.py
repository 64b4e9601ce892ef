"""What a process did to its files, from strace: calls in order, what is written, what is synced."""

import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Begin", "Call", "Disk", "End", "Moment", "read_trace", "strace", "strace_problem"]

_TRACED: Final = (
    "write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,splice,"
    "fsync,fdatasync,sync_file_range,msync,ftruncate,unlink"
)
_LINE: Final = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?:\d+<(?P<path>[^>]*)>)?(?P<rest>.*)$")
_RESUMED: Final = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
_STRING: Final = re.compile(r'"(?P<hex>(?:\\x[0-9a-f]{2})*)"(?P<cut>\.\.\.)?')
_NUMBERS: Final = re.compile(r"\d+")
_RESULT: Final = re.compile(r"\)\s*= (?P<result>-?\d+)")


@dataclass(frozen=True)
class Call:
    """One system call on a file.

    Attributes:
        path: of the descriptor, or the argument.
        data: what it writes.
        numbers: the numbers behind the data: size and offset, or a length.
    """

    name: str
    path: str
    data: bytes
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Begin:
    """A call was entered; what it does may happen from now on."""

    call: Call


@dataclass(frozen=True)
class End:
    """A call has returned; what it does has happened."""

    call: Call
    result: int


Moment = Begin | End


def strace_problem() -> str:
    """Why no process can be traced here, or ""."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else f"strace is not permitted here: {probe.stderr.decode().strip()}"


def strace(trace: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` with its writes and syncs, all bytes of them, in `trace`.

    Every sync takes 20 ms longer, as on a slow disk: what does not wait for it is then seen to overtake it.
    """
    options = ["-f", "-y", "-xx", "-s", str(16 << 20), "--seccomp-bpf", "-e", f"trace={_TRACED}"]
    options += ["-e", "inject=fsync,fdatasync:delay_enter=20000"]
    return ["strace", *options, "-e", "signal=none", "-o", str(trace), *command]


def read_trace(text: str, files: Collection[Path]) -> list[Moment]:
    """Begins and ends of all calls on these files, in the order in which the kernel saw them."""
    return list(_moments(text.splitlines(), {str(path) for path in files}))


def _moments(lines: Sequence[str], files: Collection[str]) -> Iterator[Moment]:
    begun: dict[str, Call] = {}
    for line in lines:
        if call := _LINE.match(line):
            path = _decoded(call["path"] or "").decode(errors="replace")
            made = _call(call["name"], path, call["rest"])
            if made.path not in files:
                continue
            yield Begin(made)
            if "<unfinished" in call["rest"]:
                begun[call["pid"]] = made
            else:
                yield End(made, _result(call["rest"]))
        elif (resumed := _RESUMED.match(line)) and resumed["pid"] in begun:
            yield End(begun.pop(resumed["pid"]), _result(resumed["rest"]))


def _call(name: str, path: str, rest: str) -> Call:
    found = _STRING.search(rest)
    assert found is None or not found["cut"], "strace was told to show every byte"
    data = _decoded(found["hex"]) if found else b""
    if not path:
        path, data = data.decode(errors="replace"), b""
    arguments = rest[found.end() if found else 0 :].partition(")")[0].partition("<unfinished")[0]
    return Call(name, path, data, tuple(map(int, _NUMBERS.findall(arguments))))


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _result(rest: str) -> int:
    found = _RESULT.search(rest)
    return int(found["result"]) if found else -1  # killed within the call


class Disk:
    """The files as their readers see them, and as a power cut would leave them at worst.

    A sync makes durable what was written when it *began*, and only once it has *returned*.

    Attributes:
        written: what every reader sees.
        synced: what is certain to survive.
    """

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}
        self.synced: dict[str, bytes] = {}
        self._syncing: dict[int, bytes] = {}

    def apply(self, moment: Moment) -> None:
        """Take the next moment. Raises AssertionError for a call that is not understood."""
        call = moment.call
        if isinstance(moment, Begin):
            if call.name in ("fsync", "fdatasync"):
                self._syncing[id(call)] = self.written.get(call.path, b"")
            return
        if moment.result < 0:
            return
        content = self.written.get(call.path, b"")
        match call.name:
            case "write":  # every file that is written so here is open for appending
                self.written[call.path] = content + call.data[: moment.result]
            case "pwrite64":
                offset = call.numbers[-1]
                before = content[:offset].ljust(offset, b"\0")
                self.written[call.path] = (
                    before + call.data[: moment.result] + content[offset + moment.result :]
                )
            case "ftruncate":
                self.written[call.path] = content[: call.numbers[-1]].ljust(call.numbers[-1], b"\0")
            case "fsync" | "fdatasync":
                self.synced[call.path] = self._syncing.pop(id(call))
            case "unlink":
                self.written.pop(call.path, None)
                self.synced.pop(call.path, None)
            case _:
                raise AssertionError(f"the judge does not understand {call.name} on {call.path}")
