"""What is known under a name that no stream has any more is taken up by one that was renamed, or told."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.changes.change import Cursor, StreamInfo
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.requests import Scope
from bridge.runtime.orphans import adopt, may_adopt, tell_orphans
from bridge.runtime.stream import StreamPlan, fingerprints
from bridge.store.contract import Log
from bridge.store.log import SqliteLog
from bridge.store.memory import MemoryLog
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


async def watched(log: Log, plans: Iterable[StreamPlan]) -> None:
    for plan in plans:
        for scope, mark in fingerprints("uid", plan).items():
            work = emit(change("x", 1, namespace=scope))
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
