"""What is known under a name that no stream has any more is taken up by one that was renamed, or told."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridge.changes.change import Change, Cursor, StreamInfo
from bridge.changes.reconcile import Inventory
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.requests import Scope
from bridge.runtime import forget as forgetting
from bridge.runtime.orphans import KEPT_SECONDS, adopt, forget_orphans, may_adopt, tell_orphans
from bridge.runtime.stream import StreamPlan, fingerprints
from bridge.store.contract import Log, WatchState
from bridge.store.log import SqliteLog
from bridge.store.memory import MemoryLog
from tests.store.reading import read_all
from tests.store.samples import PODS, SECRETS, change, emit

OLD = msgspec.structs.replace(PODS, name="old-name")

Said = list[tuple[str, str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Stream and event of each line of the log."""
    said: Said = []

    def heard(*told: Any, stream: str, **more: str) -> None:
        said.append((stream, " ".join((told[1], *more.values()))))

    monkeypatch.setattr("bridge.runtime.orphans.log", heard)
    return said


def planned(info: StreamInfo, *namespaces: str, labels: str = "") -> StreamPlan:
    resource = Resource(info.group, info.version, info.resource, info.kind, namespaced=True)
    scopes = tuple(Scope(namespace, labels, "") for namespace in namespaces)
    return StreamPlan(info, resource, scopes, report_initial=True, redact=None)


async def watched(log: Log, plans: Iterable[StreamPlan], name: str = "x") -> None:
    for plan in plans:
        for scope, mark in fingerprints("uid", plan).items():
            work = emit(change(name, 1, namespace=scope or "a"))
            await log.append(plan.info, scope, work, size=1, cursor=Cursor("1", "1"), fingerprint=mark)
    await log.flush()


async def test_a_stream_that_nobody_watches_any_more_is_told_once_a_start_by_its_name(
    tmp_path: Path, said: Said
) -> None:
    async with SqliteLog.open(tmp_path) as log:
        await tell_orphans(log, ["pods"])
        await watched(log, [planned(stream, "a", "b") for stream in (PODS, OLD, SECRETS)])
        await tell_orphans(log, ["pods", "old-name", "secrets"])
        assert said == []
    async with SqliteLog.open(tmp_path) as log:
        await tell_orphans(log, ["pods", "new-name", "secrets"])
    ((name, event),) = said
    assert name == "old-name"
    assert "give it its old name back" in event


async def test_a_stream_under_another_name_is_adopted_once_and_both_names_are_told(said: Said) -> None:
    log, configured = MemoryLog(), ["pods", "secrets"]
    await watched(log, [planned(OLD, "a", "b"), planned(SECRETS, "a")])
    assert await may_adopt(log, configured)
    assert not await adopt(log, planned(PODS, "a"), "uid", configured)
    assert not await adopt(log, planned(PODS, "a", "b", labels="x=y"), "uid", configured)
    assert not await adopt(log, planned(PODS, "a", "b"), "another cluster", configured)
    assert said == []
    assert await adopt(log, planned(PODS, "b", "a"), "uid", configured)
    ((name, event),) = said
    assert (name, event.split()[-1]) == ("pods", "old-name")
    assert not await adopt(log, planned(PODS, "a", "b"), "uid", configured)
    assert not await may_adopt(log, configured)


async def test_between_two_nothing_is_chosen_and_that_is_told(said: Said) -> None:
    log, again = MemoryLog(), msgspec.structs.replace(PODS, name="again")
    await watched(log, [planned(OLD, "a"), planned(again, "a")])
    assert not await adopt(log, planned(PODS, "a"), "uid", ["pods"])
    ((name, event),) = said
    assert name == "pods"
    assert "again, old-name" in event


@pytest.mark.parametrize(
    ("configured", "expected"),
    [((), False), (("pods",), False), (("pods", "new"), False), (("new",), True)],
    ids=["removed", "as-before", "added", "renamed"],
)
async def test_sinks_wait_for_the_api_server_only_where_a_stream_may_have_been_renamed(
    configured: tuple[str, ...],
    expected: bool,  # noqa: FBT001 - a parameter
) -> None:
    log = MemoryLog()
    assert not await may_adopt(log, configured)
    await watched(log, [planned(PODS, "a")])
    assert await may_adopt(log, configured) is expected


async def test_a_stream_that_was_removed_is_forgotten_after_seven_days_and_then_as_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    """Of all its namespaces, in several pieces, for good; another stream and its records are not touched."""
    monkeypatch.setattr(forgetting, "_AT_ONCE", 2)
    now = 1_000_000.0
    monkeypatch.setattr("bridge.runtime.orphans.time.time", lambda: now)

    async def look(log: SqliteLog) -> list[str]:
        """One look of the task; it never ends by itself."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forget_orphans, log, ["pods"])
            for _ in range(40):  # it needs some 20 answers of the log
                await log.flush()
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return list(await log.watched_streams())

    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        for plan in (planned(OLD, "a", "b"), planned(SECRETS, ""), planned(PODS, "")):
            for name in ("x", "y", "z", "v", "w"):
                await watched(log, [plan], name)
        assert await look(log) == ["old-name", "pods", "secrets"]
        now += KEPT_SECONDS - 1
        assert await look(log) == ["old-name", "pods", "secrets"]
    async with SqliteLog.open(tmp_path) as log:
        now += 1
        assert await look(log) == ["pods"]
    assert [stream for stream, _ in said] == ["old-name", "secrets"]
    async with SqliteLog.open(tmp_path) as log:
        assert await log.watched_streams() == ["pods"]
        assert set((await log.watch_states("old-name")).values()) == {WatchState(None, 0, "")}
        assert [await entries(log, stream) for stream in (OLD, SECRETS, PODS)] == [0, 0, 5]
        kept = sum(len(batch.changes) for batch in await read_all(log, start))
        assert kept == 20, "what sinks do not have yet is theirs"


async def entries(log: Log, stream: StreamInfo) -> int:
    found: list[bytes] = []

    def look(inventory: Inventory) -> Sequence[Change]:
        found[:] = [key for key, _ in inventory.scan(b"", None)]
        return ()

    await log.append(stream, "", look, size=1, audience="nobody")
    await log.flush()
    return len(found)
