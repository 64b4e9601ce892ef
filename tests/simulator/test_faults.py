"""Each fault does to a client what its name says, in memory and on a socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from bridge.simulator import Ending, Simulator
from tests.simulator.support import MAPS, STREAMED, client_of, config_map, watching

if TYPE_CHECKING:
    from trio.testing import MockClock

FULL = 4


@pytest.fixture
def simulator() -> Simulator:
    """Three ConfigMaps: a streamed list of them has four lines."""
    simulator = Simulator()
    for name in ("a", "b", "c"):
        simulator.cluster.create("configmaps", config_map(name))
    return simulator


async def names(simulator: Simulator) -> list[str]:
    """What a streamed list tells until its clean end."""
    async with watching(simulator, **STREAMED, timeoutSeconds="60") as watch:
        return [event[1] or event[0] for event in await watch.events()]


async def test_a_fault_holds_for_as_many_requests_as_it_says(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    simulator.faults.eof(after_events=1, times=2)
    assert [len(await names(simulator)) for _ in range(3)] == [1, 1, FULL]


async def test_a_fault_for_one_resource_spares_the_others(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    simulator.faults.eof(resource="pods")
    assert len(await names(simulator)) == FULL


async def test_refused_requests_carry_retry_after(simulator: Simulator) -> None:
    simulator.faults.answer(429, retry_after=1, times=2)
    simulator.faults.answer(503, on="list", retry_after=7)
    async with client_of(simulator) as client:
        answers = [await client.get(MAPS) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 503, 200]
    assert [answer.headers.get("retry-after") for answer in answers] == ["1", "1", "7", None]
    assert answers[0].text == "Too many requests, please try again later.\n"


async def test_a_login_page_is_a_success_in_html(simulator: Simulator) -> None:
    simulator.faults.login_page()
    async with client_of(simulator) as client:
        answer = await client.get(MAPS)
    assert answer.is_success
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("count", [0, 1, 100, 600])
async def test_a_body_is_cut_at_a_byte(simulator: Simulator, count: int) -> None:
    simulator.faults.cut(after_bytes=count)
    async with watching(simulator, **STREAMED) as watch:
        with pytest.raises(httpx.RemoteProtocolError):
            await watch.events()
    assert watch.received == count


async def test_a_list_is_cut_too(simulator: Simulator) -> None:
    simulator.faults.cut(after_bytes=50, on="list")
    async with client_of(simulator) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(MAPS)


async def test_a_torn_line_ends_cleanly(simulator: Simulator) -> None:
    """[C6]"""
    simulator.faults.torn(after_events=1, keep=25)
    async with watching(simulator, **STREAMED) as watch:
        assert len(await watch.events()) == 1
        assert watch.held == b'{"type":"ADDED","object":{'[:25]


async def test_a_reset_is_a_read_error(simulator: Simulator) -> None:
    simulator.faults.cut(after_events=1, reset=True)
    async with watching(simulator, **STREAMED) as watch:
        await watch.event()
        with pytest.raises(httpx.ReadError):
            await watch.event()


async def test_a_half_open_connection_is_seen_by_the_read_timeout_only(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """[H3]"""
    simulator.faults.silence(after_events=1)
    async with watching(simulator, **STREAMED, timeoutSeconds="60", read_timeout="300") as watch:
        await watch.event()
        start = trio.current_time()
        with pytest.raises(httpx.ReadTimeout):
            await watch.event()
        assert trio.current_time() - start == pytest.approx(300)


@pytest.mark.parametrize("after", [0, 2])
async def test_a_410_comes_in_the_stream(simulator: Simulator, after: int) -> None:
    simulator.faults.gone(after_events=after)
    async with watching(simulator, **STREAMED) as watch:
        lines = [await watch.line() for _ in range(after + 1)]
        assert await watch.line() == b""
    assert json.loads(lines[-1])["object"]["code"] == 410


async def test_single_events_are_spoiled(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    simulator.faults.duplicate(2)
    assert await names(simulator) == ["a", "b", "b", "c", "BOOKMARK"]
    simulator.faults.drop_marker()
    assert await names(simulator) == ["a", "b", "c"]
    simulator.faults.wrong_kind(1)
    simulator.faults.invalid_utf8(1)
    async with watching(simulator, **STREAMED) as watch:
        assert json.loads(await watch.line())["object"]["kind"] == "Table"
    async with watching(simulator, **STREAMED) as watch:
        line = await watch.line()
    with pytest.raises(UnicodeDecodeError):
        line.decode()
    json.loads(line.decode(errors="replace"))


async def test_a_slow_drip_is_whole_in_the_end(
    simulator: Simulator,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    expected = await names(simulator)
    simulator.faults.drip(size=3, seconds=0.1)
    start = trio.current_time()
    assert await names(simulator) == expected
    assert trio.current_time() - start > 10


async def test_pages_expire_with_a_token_for_the_rest(simulator: Simulator) -> None:
    """[A4]"""
    async with client_of(simulator) as client:
        first = (await client.get(MAPS, params={"limit": 1})).json()
        simulator.faults.expire_tokens()
        token = first["metadata"]["continue"]
        answer = await client.get(MAPS, params={"limit": 1, "continue": token})
        assert answer.status_code == 410
        rest = await client.get(MAPS, params={"continue": answer.json()["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in rest.json()["items"]] == ["b", "c"]


async def test_lists_out_of_order_and_pages_of_another_revision(simulator: Simulator) -> None:
    async with client_of(simulator) as client:
        simulator.faults.unordered()
        items = (await client.get(MAPS)).json()["items"]
        assert [item["metadata"]["name"] for item in items] == ["c", "b", "a"]
        first = (await client.get(MAPS, params={"limit": 1})).json()["metadata"]
        simulator.cluster.delete("configmaps", "b")
        query = {"limit": "1", "continue": first["continue"]}
        second = (await client.get(MAPS, params=query)).json()
        assert second["metadata"]["resourceVersion"] == first["resourceVersion"]
        assert second["items"][0]["metadata"]["name"] == "b"
        simulator.faults.stale_page()
        torn = (await client.get(MAPS, params=query)).json()
        assert torn["metadata"]["resourceVersion"] != first["resourceVersion"]
        assert torn["items"][0]["metadata"]["name"] == "c"


async def test_watches_that_run_are_ended_at_once(simulator: Simulator) -> None:
    for ending, error in ((Ending.CUT, httpx.RemoteProtocolError), (Ending.RESET, httpx.ReadError)):
        async with watching(simulator, resourceVersion="8") as watch:
            assert simulator.faults.interrupt(ending) == 1
            with pytest.raises(error):
                await watch.event()
    async with watching(simulator, resourceVersion="8") as watch:
        assert simulator.faults.gone_now() == 1
        assert json.loads(await watch.line())["object"]["reason"] == "Expired"
        assert await watch.line() == b""
