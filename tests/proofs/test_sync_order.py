"""Proof 2: the kernel saw no record handed out, and no cursor stored, before the sync that covers it.

A real `kube-bridge run` under strace, twice on the same state: killed in the middle, then drained.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from bridge.changes.identity import Bridge
from bridge.simulator import Simulator
from tests.proofs.judge import Judge
from tests.proofs.trace import End, Moment, read_trace, strace, strace_problem

BRIDGE = Bridge("sim", "cluster-uid")
SINK = "out"
ROUNDS = 15
EACH = 8
SECONDS = 120


class Traced(NamedTuple):
    """What two lives of a bridge did to their files.

    Attributes:
        judge: has judged the first life, and knows what its kill left behind.
        lives: the moments of each.
    """

    folder: Path
    judge: Judge
    lives: list[list[Moment]]


def fresh_judge(folder: Path) -> Judge:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return Judge(folder / "state", folder / "out.jsonl", SINK, BRIDGE, scratch)


def configure(folder: Path, url: str) -> Path:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "sim",
                "clusters": [{"name": "sim", "cluster": {"server": url}}],
                "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": ""}}],
            }
        )
    )
    config = {
        "configVersion": 1,
        "cluster": {"name": BRIDGE.cluster, "uid": BRIDGE.cluster_uid, "kubeconfig": str(kubeconfig)},
        "state": {"path": str(folder / "state")},
        "streams": [
            {"name": "configmaps", "resource": "configmaps"},
            {"name": "secrets", "resource": "secrets"},
        ],
        "sinks": [{"name": SINK, "type": "jsonlines", "path": str(folder / "out.jsonl")}],
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    return path


class Life:
    """One traced process."""

    def __init__(self, folder: Path, number: int, config: Path) -> None:
        self.trace = folder / f"trace{number}"
        self._errors = folder / f"errors{number}"
        command = strace(self.trace, [sys.executable, "-m", "bridge", "run", "-c", str(config)])
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stderr=errors, stdout=errors)

    def signal(self, number: signal.Signals) -> None:
        """To the bridge itself, not to strace."""
        tracer = self.process.pid
        (bridge, *_) = Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
        os.kill(int(bridge), number)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(SECONDS):
            while not condition():
                assert self.process.poll() is None, self._errors.read_text()
                await trio.sleep(0.02)
            return
        pytest.fail(f"{what} took longer than {SECONDS} s: {self._errors.read_text()}")

    async def ended(self) -> int:
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)

    def moments(self, folder: Path) -> list[Moment]:
        files = [folder / "out.jsonl", folder / "state" / "log.db", folder / "state" / "log.db-wal"]
        return read_trace(self.trace.read_text(), files)


async def churn(simulator: Simulator, mark: str) -> None:
    """Creations, changes and deletions, so spread that some arrive while others are on their way to the sink.

    The last one creates `mark`.
    """
    cluster = simulator.cluster
    for number in range(EACH):
        name = f"{mark}-{number}"
        cluster.create("configmaps", {"metadata": {"name": name}, "data": {"padding": name * 50}})
        cluster.patch("configmaps", name, {"data": {"changed": "yes"}})
        cluster.create("secrets", {"metadata": {"name": name}, "data": {"a": "YQ=="}})
        if number % 2:
            cluster.delete("configmaps", name)
        await trio.sleep(0.01)
    cluster.create("configmaps", {"metadata": {"name": mark}})


async def two_lives(folder: Path) -> Traced:
    simulator = Simulator()
    out = folder / "out.jsonl"

    def shows(mark: str) -> Callable[[], bool]:
        return lambda: out.exists() and f'"name":"{mark}","uid"'.encode() in out.read_bytes()

    async with simulator.serve() as url:
        config = configure(folder, url)
        await churn(simulator, "before")
        first = Life(folder, 1, config)
        try:
            await first.until(shows("before"), "the first listing")
            for number in range(ROUNDS):
                await churn(simulator, f"a{number}")
                await first.until(shows(f"a{number}"), "a round of changes")
            await churn(simulator, "unseen")
            first.signal(signal.SIGKILL)
            await first.ended()
            judge = fresh_judge(folder)
            moments = first.moments(folder)
            judge.run(moments)
            judge.killed()
            second = Life(folder, 2, config)
        finally:
            first.process.kill()
        try:
            await second.until(shows("unseen"), "what the kill left behind")
            for number in range(ROUNDS):
                await churn(simulator, f"b{number}")
                await second.until(shows(f"b{number}"), "a round of changes")
            second.signal(signal.SIGTERM)
            assert await second.ended() == 0
        finally:
            second.process.kill()
    return Traced(folder, judge, [moments, second.moments(folder)])


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    if problem := strace_problem():
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(problem)
        pytest.fail(f"CI must be able to trace a process: {problem}", pytrace=False)
    return trio.run(two_lives, tmp_path_factory.mktemp("traced"))


def test_no_record_and_no_cursor_comes_before_the_sync_that_covers_it(traced: Traced) -> None:
    """And the judge has seen everything: the files that it put together are the files that are there."""
    verdict = traced.judge.run(traced.lives[1])
    out = traced.folder / "out.jsonl"
    written = traced.judge.disk.written
    assert written[str(out)] == out.read_bytes()
    assert written[str(traced.folder / "state" / "log.db")] == (traced.folder / "state/log.db").read_bytes()
    ids = [json.loads(line)["id"] for line in out.read_bytes().splitlines()]
    assert len(set(ids)) == len(ids), "each once, also over the kill"
    assert set(verdict.handed) == set(ids)
    assert len(ids) > 2 * ROUNDS * EACH * 3
    assert len(verdict.cursors) > ROUNDS


def delayed(moments: Sequence[Moment], paths: Collection[Path], since: int, until: int) -> list[Moment]:
    """The same trace, but syncs of these files that returned from `since` on return behind `until`."""
    late = [
        moment
        for moment in moments[since:until]
        if isinstance(moment, End) and moment.call.name in ("fsync", "fdatasync")
        and moment.call.path in {str(path) for path in paths}
    ]  # fmt: skip
    assert late
    early = [moment for moment in moments[: until + 1] if not any(moment is one for one in late)]
    return [*early, *late, *moments[until + 1 :]]


def test_the_judge_finds_a_record_that_is_written_before_its_commit_is_synced(traced: Traced) -> None:
    """It can fail: for each of many records, the syncs between its commit and its delivery come too late."""
    verdict = fresh_judge(traced.folder).run(traced.lives[0])
    state = traced.folder / "state"
    for record, handed in list(verdict.handed.items())[10::100]:
        durable = verdict.durable[record]
        doctored = delayed(traced.lives[0], (state / "log.db", state / "log.db-wal"), durable, handed)
        with pytest.raises(AssertionError, match="written to the sink before it was durable"):
            fresh_judge(traced.folder).run(doctored)


def test_the_judge_finds_a_cursor_that_is_stored_before_the_file_is_synced(traced: Traced) -> None:
    verdict = fresh_judge(traced.folder).run(traced.lives[0])
    at = {position: record for record, position in verdict.positions.items()}
    found = 0
    for cursor, stored in list(verdict.cursors.items())[2::10]:
        if cursor not in at:
            continue  # the start of the sink
        found += 1
        doctored = delayed(traced.lives[0], (traced.folder / "out.jsonl",), verdict.owned[at[cursor]], stored)
        with pytest.raises(AssertionError, match="which the file did not own yet"):
            fresh_judge(traced.folder).run(doctored)
    assert found
