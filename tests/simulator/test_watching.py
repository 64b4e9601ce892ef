"""What a watch of the simulator sends, live, and when it ends; the virtual clock makes hours pass."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridge.simulator import Simulator
from bridge.simulator.kinds import CRDS
from tests.simulator.support import MAPS, STREAMED, client_of, config_map, watching

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


async def test_a_live_event_comes_at_once_in_a_chunk_of_its_own(simulator: Simulator) -> None:
    async with watching(simulator, resourceVersion="5") as watch:
        for name in ("a", "b"):
            made = simulator.cluster.create("configmaps", config_map(name))
            line = await watch.chunk()
            assert line.count(b"\n") == 1
            assert json.loads(line)["object"] == made


async def test_a_streamed_list_ends_with_the_marker_at_the_revision_of_etcd(simulator: Simulator) -> None:
    """[F1] [F7]"""
    simulator.cluster.create("configmaps", config_map("a"))
    simulator.cluster.create("secrets", {"metadata": {"name": "s"}})
    async with watching(simulator, **STREAMED) as watch:
        assert (await watch.event())[:2] == ("ADDED", "a")
        marker = json.loads(await watch.line())
    assert marker["object"]["metadata"] == {
        "resourceVersion": str(simulator.cluster.revision),
        "annotations": {"k8s.io/initial-events-end": "true"},
    }


async def test_bookmarks_come_each_minute_only_when_the_cache_has_moved(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """[E4] 2.3: none as long as the cache stands where the watch began; then also with one revision again."""
    query = {"resourceVersion": str(simulator.cluster.revision), "allowWatchBookmarks": "true"}
    start = trio.current_time()

    async def others() -> None:
        await trio.sleep(61)
        simulator.cluster.create("secrets", {"metadata": {"name": "s"}})
        async with client_of(simulator) as client:
            await client.get(MAPS)  # a consistent read makes the cache ask etcd how far it is

    async with (
        watching(simulator, **query, timeoutSeconds="200") as watch,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(others)
        times = []
        while (event := await watch.event())[0]:
            assert event == ("BOOKMARK", "", simulator.cluster.revision)
            times.append(trio.current_time() - start)
    assert times == pytest.approx([120, 180, 198])
    assert trio.current_time() - start == pytest.approx(200)


async def test_a_watch_from_the_future_is_silent_to_its_clean_end(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """[B8] 1.6"""
    query = {"resourceVersion": "999", "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
    async with watching(simulator, **query) as watch:
        simulator.cluster.create("configmaps", config_map("a"))
        assert await watch.events() == []


async def test_without_a_timeout_a_watch_ends_cleanly_within_the_hour(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """[H1]"""
    async with watching(simulator, resourceVersion="5") as watch:
        start = trio.current_time()
        assert await watch.events() == []
        assert 1800 <= trio.current_time() - start <= 3600


async def test_a_revision_that_expired_is_an_error_event(simulator: Simulator) -> None:
    """[B5] 1.4"""
    simulator.cluster.create("configmaps", config_map("a"))
    simulator.cluster.expire()
    async with watching(simulator, resourceVersion="2") as watch:
        status = json.loads(await watch.line())["object"]
        assert await watch.line() == b""
    assert (status["reason"], status["code"]) == ("Expired", 410)
    assert status["message"] == f"too old resource version: 2 ({simulator.cluster.revision})"


async def test_compaction_of_etcd_does_not_touch_cached_kinds(simulator: Simulator) -> None:
    """1.21"""
    revision = str(simulator.cluster.revision)
    simulator.cluster.create("configmaps", config_map("a"))
    simulator.cluster.create("events", {"metadata": {"name": "e"}})
    simulator.cluster.compact()
    async with watching(simulator, resourceVersion=revision) as watch:
        assert (await watch.event())[:2] == ("ADDED", "a")
    async with watching(simulator, MAPS.replace("configmaps", "events"), resourceVersion=revision) as watch:
        assert json.loads(await watch.line())["object"]["code"] == 410


async def test_resuming_inside_a_shared_revision_loses_what_was_not_read(simulator: Simulator) -> None:
    """[E5] 14.3: at the shared revision nothing comes again, one below all of them."""
    for name in ("a", "b", "c"):
        simulator.cluster.create("events", {"metadata": {"name": name}})
    simulator.cluster.delete_together("events", ["a", "b", "c"])
    shared = simulator.cluster.revision
    path = MAPS.replace("configmaps", "events")
    found = {}
    simulator.cluster.create("events", {"metadata": {"name": "d"}})
    simulator.cluster.create("events", {"metadata": {"name": "e"}})
    for start in (shared, shared - 1):
        async with watching(simulator, path, resourceVersion=str(start)) as watch:
            found[start] = [(await watch.event())[0] for _ in range(2)]
    assert found[shared] == ["ADDED", "ADDED"]
    assert found[shared - 1] == ["DELETED", "DELETED"]


async def test_the_deletion_of_a_definition_deletes_on_the_open_stream_and_then_ends_it(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """[L10] 6.10: a list is 404 while the stream still tells the deletions; it ends a second later."""
    simulator.cluster.define("example.io", "widgets", "Widget")
    for name in ("a", "b"):
        simulator.cluster.create("widgets.example.io", {"metadata": {"name": name}})
    path = "/apis/example.io/v1/widgets"
    async with (
        client_of(simulator) as client,
        watching(simulator, path, resourceVersion=str(simulator.cluster.revision)) as watch,
    ):
        simulator.cluster.delete(CRDS, "widgets.example.io")
        assert (await client.get(path)).text == "404 page not found\n"
        start = trio.current_time()
        assert [event[:2] for event in await watch.events()] == [("DELETED", "a"), ("DELETED", "b")]
        assert trio.current_time() - start == pytest.approx(1.0)


async def test_a_changed_definition_is_429_for_a_moment(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """[L8] 6.4"""
    crd = simulator.cluster.define("example.io", "widgets", "Widget")
    path = "/apis/example.io/v1/widgets"
    async with client_of(simulator) as client:
        async with watching(simulator, path) as watch:
            simulator.cluster.patch(CRDS, crd["metadata"]["name"], {"spec": {"names": {"shortNames": ["w"]}}})
            assert await watch.events() == []
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        await trio.sleep(1)
        assert (await client.get(path)).is_success


async def test_a_client_that_leaves_is_forgotten(simulator: Simulator) -> None:
    async with watching(simulator):
        assert len(simulator.faults.streams) == 1
    assert not simulator.faults.streams


async def test_a_reader_that_is_behind_the_whole_window_is_closed_cleanly() -> None:
    """[G8]"""
    simulator = Simulator()
    simulator.cluster._window = 10
    async with watching(simulator, resourceVersion="5") as watch:
        for number in range(30):
            simulator.cluster.create("configmaps", config_map(f"c{number}"))
        assert await watch.events() == []


async def test_rights_that_are_withdrawn_do_not_end_a_watch(simulator: Simulator) -> None:
    """[K2] 7.1"""
    simulator.access.add("secret", "alice")
    simulator.access.allow("alice", {"list", "watch"}, {"configmaps"})
    async with client_of(simulator, headers={"Authorization": "Bearer secret"}) as client:
        async with watching(simulator, bearer="secret", resourceVersion="5") as watch:
            simulator.access.revoke("alice")
            assert (await client.get(MAPS)).status_code == 403
            simulator.cluster.create("configmaps", config_map("a"))
            assert (await watch.event())[:2] == ("ADDED", "a")
        simulator.access.remove("secret")
        assert (await client.get(MAPS)).status_code == 401


async def test_a_write_wakes_every_watch_that_waits(simulator: Simulator) -> None:
    seen: list[str] = []

    async def read(path: str) -> None:
        async with watching(simulator, path, resourceVersion="5") as watch:
            seen.append((await watch.event())[1])

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read, MAPS)
        await wait_all_tasks_blocked()
        simulator.cluster.create("configmaps", config_map("a"))
    assert seen == ["a", "a", "a"]
