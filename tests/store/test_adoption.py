"""A stream that was renamed goes on with all that is known under its old name, and with nothing else."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import pytest

from bridge.changes.change import Change, Cursor, StreamInfo
from bridge.changes.reconcile import Inventory
from bridge.store import fold
from bridge.store.adoption import Orphan
from bridge.store.contract import Log, Refused, WatchState
from bridge.store.failures import Full
from bridge.store.journal import Journal
from bridge.store.log import SqliteLog
from tests.store.reading import read_all
from tests.store.samples import PODS, SECRETS, change, deleted, emit, letter, owed

NEW = msgspec.structs.replace(PODS, name="renamed")


async def tell(log: Log, stream: StreamInfo, *changes: Change, scope: str = "", mark: str = "f") -> None:
    """One append; the cursor is the last revision, the fingerprint `mark` and the scope."""
    rv = changes[-1].rv
    await log.append(
        stream, scope, emit(*changes), size=100, cursor=Cursor(rv, rv), fingerprint=f"{mark}{scope}"
    )
    await log.flush()


async def known(log: Log, stream: StreamInfo) -> dict[str, str]:
    """Revision by name, as the next work of a stream would find it; and what it doubts."""
    found: dict[str, str] = {}

    def look(inventory: Inventory) -> Sequence[Change]:
        found.update((key.decode(), entry.rv) for key, entry in inventory.scan(b"", None))
        found.update((f"doubt {key.decode()}", rv) for key, _, rv in inventory.suspects(10))
        return ()

    await log.append(stream, "look", look, size=1, audience="nobody")
    await log.flush()
    return found


async def told(log: Log, after: int, streams: Collection[str]) -> list[tuple[str, str, str]]:
    """Stream, name and type of all that is kept, of these streams."""
    return [
        (batch.stream.name, item.name, item.type)
        for batch in await read_all(log, after)
        for item in batch.changes
        if batch.stream.name in streams
    ]


async def test_all_that_stands_under_the_old_name_stands_under_the_new_one(log: Log) -> None:
    start = (await log.open_sink("out", "f", ["pods"])).position
    await log.open_sink("other", "f", ["secrets"], ["pods"])
    await tell(log, PODS, change("a", 1), change("b", 2), deleted("b", 3))
    await tell(log, SECRETS, change("s", 4))

    def doubt(inventory: Inventory) -> Sequence[Change]:
        inventory.suspect(b"shop/a", "3")
        return ()

    await log.append(PODS, "", doubt, size=1)
    await log.flush()
    await log.bury([letter(start + 1, change("a", 1))])
    await log.request_snapshots([owed(), owed("other", "secrets")])
    assert await log.adopt("renamed", {"": "f"}, ["renamed", "secrets"]) == ["pods"]
    assert list(await log.watched_streams()) == ["renamed", "secrets"]
    assert await log.watch_states("pods") == {}
    assert await log.watch_states("renamed") == {"": WatchState(Cursor("3", "3"), 0, "f")}
    assert await known(log, NEW) == {"shop/a": "1", "doubt shop/a": "3"}
    assert await known(log, SECRETS) == {"shop/s": "4"}
    assert await known(log, PODS) == {}
    everything = [("renamed", "a", "MODIFIED"), ("renamed", "b", "MODIFIED"), ("renamed", "b", "DELETED")]
    assert await told(log, start, ["pods", "renamed"]) == everything
    assert [one.stream for one in await log.dead_letters(None, 0, 9)] == [NEW]
    assert list(await log.snapshot_requests()) == [owed("other", "secrets"), owed(stream="renamed")]
    assert (await log.open_sink("out", "f", ["renamed", "secrets"])).missed == ()
    assert (await log.open_sink("other", "f", ["renamed", "secrets"])).missed == ("renamed",)


async def test_records_of_the_new_name_go_behind_those_of_the_old_one(log: Log) -> None:
    start = (await log.open_sink("out", "f")).position
    await tell(log, PODS, change("a", 1))
    await log.adopt("renamed", {"": "f"}, ["renamed"])
    await tell(log, NEW, deleted("a", 2))
    assert await told(log, start, ["renamed"]) == [("renamed", "a", "MODIFIED"), ("renamed", "a", "DELETED")]
    assert await known(log, NEW) == {}


async def test_only_the_one_stream_that_nobody_watches_and_that_watched_just_the_same_is_adopted(
    log: Log,
) -> None:
    for stream in (PODS, SECRETS):
        for scope in ("a", "b"):
            await tell(log, stream, change("x", 1, namespace=scope), scope=scope)
    both = {"a": "fa", "b": "fb"}
    before = await log.watch_states("pods"), await known(log, PODS)
    assert await log.adopt("renamed", {"a": "fa"}, ["renamed"]) == [], "fewer namespaces"
    assert await log.adopt("renamed", {**both, "c": "fc"}, ["renamed"]) == [], "more namespaces"
    assert await log.adopt("renamed", {"a": "fa", "b": "gb"}, ["renamed"]) == [], "another selector"
    assert await log.adopt("renamed", both, ["renamed", "pods", "secrets"]) == [], "both are watched"
    assert await log.adopt("secrets", both, ["secrets"]) == [], "it is known itself"
    assert await log.adopt("renamed", both, ["renamed"]) == ["pods", "secrets"], "two did"
    assert (await log.watch_states("pods"), await known(log, PODS)) == before
    assert await log.adopt("renamed", both, ["renamed", "secrets"]) == ["pods"]
    assert await log.adopt("renamed", both, ["renamed", "secrets"]) == [], "once"


async def test_what_a_stream_left_of_which_nothing_is_known_any_more_is_not_adopted(log: Log) -> None:
    await tell(log, PODS, change("x", 1))
    await log.append(PODS, "", lambda _: (), size=1, fingerprint="")
    await log.flush()
    assert list(await log.watched_streams()) == []
    assert await log.adopt("renamed", {}, ["renamed"]) == []


@pytest.mark.parametrize("folded", [0, 1, 2, 99])
async def test_a_rename_is_whole_after_a_restart_wherever_the_fold_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folded: int
) -> None:
    """Some of the inventory stands in the table, some in the log; the names are exchanged in the middle."""
    monkeypatch.setattr(fold, "_CHUNK", 2)
    expected = {f"shop/p{n}": str(n) for n in range(2, 8)}
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await tell(log, PODS, *(change(f"p{n}", n) for n in range(1, 8)))
        await tell(log, PODS, deleted("p1", 8))
        await tell(log, SECRETS, change("s", 9))

        def some(journal: Journal) -> None:
            for _ in range(folded):
                if journal.fold_step():
                    break

        await log._ask(some)
        await log.adopt("renamed", {"": "f"}, ["renamed", "secrets"])
        assert await known(log, NEW) == expected
    for _ in range(2):
        async with SqliteLog.open(tmp_path) as log:
            assert await known(log, NEW) == expected
            assert await known(log, PODS) == {}
            assert await log.watch_state("renamed", "") == WatchState(Cursor("8", "8"), 0, "f")
            assert {name for name, *_ in await told(log, start, ["pods", "renamed"])} == {"renamed"}
            await log._ask(lambda journal: [journal.fold_step() for _ in range(9)])


class Story:
    """Three names for streams that come, change their names and are forgotten; and what each should know."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.known: dict[str, dict[str, str]] = {"a": {}}
        self.marks = {"a": "f0"}
        self.steps = Counter[str]()
        self.rv = 0

    async def step(self, log: SqliteLog) -> None:
        self.rv += 1
        name = self.chance.choice(sorted(self.known))
        free = self.chance.choice([each for each in "abc" if each not in self.known] or [""])
        step = self.chance.choice(["tell", "tell", "tell", "fold", "begin", "rename", "forget"])
        if step == "tell":
            await self.tell(log, name)
        elif step == "fold":
            await log._ask(lambda journal: journal.fold_step())
        elif step == "begin" and len(self.known) == 1:
            self.begin(free)
        elif step == "rename" and free and self.known[name]:
            await self.rename(log, name, free)
        elif step == "forget" and self.known[name]:
            await self.forget(log, name)
        else:
            return
        self.steps[step] += 1

    async def tell(self, log: SqliteLog, name: str) -> None:
        item, kind = self.chance.choice("pqr"), self.chance.choice(("MODIFIED", "MODIFIED", "DELETED"))
        await tell(log, info(name), change(item, self.rv, kind=kind), mark=self.marks[name])
        self.known[name].pop(f"shop/{item}", None)
        if kind == "MODIFIED":
            self.known[name][f"shop/{item}"] = str(self.rv)

    def begin(self, name: str) -> None:
        self.known[name], self.marks[name] = {}, f"f{self.rv}"

    async def rename(self, log: SqliteLog, name: str, free: str) -> None:
        configured = {*self.known, free} - {name}
        assert await log.adopt(free, {"": self.marks[name]}, configured) == [name]
        self.known[free], self.marks[free] = self.known.pop(name), self.marks.pop(name)
        self.steps["renamed"] += 1

    async def forget(self, log: SqliteLog, name: str) -> None:
        """And at once another stream gets its name."""
        entries = self.known.pop(name)
        del self.marks[name]

        def remove(inventory: Inventory) -> Sequence[Change]:
            for key in entries:
                inventory.remove(key.encode())
            return ()

        await log.append(info(name), "", remove, size=1, fingerprint="")
        await log.flush()
        other = next((other for other, entries in sorted(self.known.items()) if entries), None)
        if other is None:
            self.begin(name)
        else:
            await self.rename(log, other, name)


@pytest.mark.parametrize("seed", range(12))
async def test_however_often_names_change_each_stream_knows_what_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Names are used again for other streams, also for one that was forgotten while a sink lags."""
    monkeypatch.setattr(fold, "_CHUNK", 2)
    story = Story(seed)
    for _ in range(6):
        async with SqliteLog.open(tmp_path) as log:
            start = (await log.open_sink("out", "f")).position
            for name in "abc":
                assert await known(log, info(name)) == story.known.get(name, {})
            for _ in range(12):
                await story.step(log)
            for name in "abc":
                assert await known(log, info(name)) == story.known.get(name, {})
            assert {name for name, entries in story.known.items() if entries} <= set(
                await log.watched_streams()
            )
            assert sum(len(batch.changes) for batch in await read_all(log, start)) == story.steps["tell"]
    assert min(story.steps[step] for step in ("tell", "fold", "renamed", "forget")) > 0, story.steps


def info(name: str) -> StreamInfo:
    return msgspec.structs.replace(PODS, name=name)


async def test_a_drop_that_was_cut_off_goes_on_with_the_deletions_of_the_new_name(tmp_path: Path) -> None:
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await tell(log, PODS, change("a", 1), deleted("a", 2))

        def cut_off(journal: Journal) -> None:
            cursor = journal.sinks["out"]
            cursor.dropping = f'{{"through":{journal.end},"streams":["pods"]}}'
            journal.sinks.touch("out")

        await log._ask(cut_off)
        await log.adopt("renamed", {"": "f"}, ["renamed"])
    async with SqliteLog.open(tmp_path) as log:
        after = (await log.open_sink("out", "f", ["renamed"])).position
        assert after > start
        assert await told(log, after, ["renamed"]) == [("renamed", "a", "DELETED")]


async def test_without_room_nothing_is_renamed_and_the_next_try_may_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteLog.open(tmp_path) as log:
        await log.open_sink("out", "f", [], ["pods"])
        await tell(log, PODS, change("a", 1))
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "amend", lambda *_, **__: (_ for _ in ()).throw(Full("no room")))
            with pytest.raises(Refused):
                await log.adopt("renamed", {"": "f"}, ["renamed"])
        assert await known(log, PODS) == {"shop/a": "1"}
        assert (await log.open_sink("out", "f", ["pods"])).missed == ("pods",)
        assert await log.adopt("renamed", {"": "f"}, ["renamed"]) == ["pods"]
        assert (await log.open_sink("out", "f", ["renamed"])).missed == ("renamed",)


async def test_since_when_a_stream_is_missing_is_noted_until_it_is_back_under_a_name(
    tmp_path: Path,
) -> None:
    async with SqliteLog.open(tmp_path) as log:
        await tell(log, PODS, change("a", 1))
        await tell(log, SECRETS, change("s", 2))
        assert await log.orphans(["pods", "secrets"], 10) == []
        assert await log.orphans(["secrets"], 20) == [Orphan(PODS, 20)]
    async with SqliteLog.open(tmp_path) as log:
        assert await log.orphans([], 30) == [Orphan(PODS, 20), Orphan(SECRETS, 30)]
        assert await log.orphans(["pods"], 40) == [Orphan(SECRETS, 30)]
        assert await log.orphans([], 50) == [Orphan(PODS, 50), Orphan(SECRETS, 30)]
        await log.adopt("renamed", {"": "f"}, ["renamed", "secrets"])
    async with SqliteLog.open(tmp_path) as log:
        await log.adopt("pods", {"": "f"}, ["pods", "secrets"])
        assert await log.orphans([], 60) == [Orphan(PODS, 60), Orphan(SECRETS, 30)]


_VICTIM = """
import sys, pathlib, trio
from bridge.store.log import SqliteLog
async def main():
    async with SqliteLog.open(pathlib.Path(sys.argv[1])) as log:
        await log.open_sink("out", "f", ["renamed"])
        print("opened", flush=True)
        await log.adopt("renamed", {"": "f"}, ["renamed", "secrets"])
        print("adopted", flush=True)
trio.run(main)
"""


def live(directory: Path, crash: str) -> tuple[int, bytes]:
    """Exit code and output of a process that opens a sink and renames the stream."""
    done = subprocess.run(
        [sys.executable, "-c", _VICTIM, str(directory)],
        env={**os.environ, "KUBE_BRIDGE_CRASH": crash},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("point", ["log.renamed", "log.written", "log.committed"])
async def test_a_kill_at_any_point_leaves_all_under_one_name(tmp_path: Path, point: str) -> None:
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await tell(log, PODS, change("a", 1), deleted("a", 2), change("b", 3))
        await tell(log, SECRETS, change("s", 4))
        await log.request_snapshots([owed()])
    names = set()
    for arrival in range(1, 9):
        code, said = live(tmp_path, f"{point}:{arrival}")
        async with SqliteLog.open(tmp_path) as log:
            (name,) = set(await log.watched_streams()) - {"secrets"}
            assert name == "renamed" or b"adopted" not in said
            names.add(name)
            assert await log.watch_states(name) == {"": WatchState(Cursor("3", "3"), 0, "f")}
            assert await known(log, info(name)) == {"shop/b": "3"}
            assert {each for each, *_ in await told(log, start, ["pods", "renamed"])} == {name}
            assert list(await log.snapshot_requests()) == [owed(stream=name)]
        if code == 0:
            break
    assert "renamed" in names
