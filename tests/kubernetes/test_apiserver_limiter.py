"""Requests are limited to a rate with a burst, in order; watches do not wait for it."""

import httpx
import trio
import trio.testing
from trio.testing import MockClock

from bridge.kubernetes.apiserver import ApiServer, RateLimiter
from bridge.kubernetes.connection import Connection


async def test_the_limiter_allows_a_burst_and_then_a_rate_in_order(autojump_clock: MockClock) -> None:
    limiter, times = RateLimiter(qps=10, burst=3), []
    start = autojump_clock.current_time()

    async def ask(index: int) -> None:
        await limiter.acquire()
        times.append((index, round(autojump_clock.current_time() - start, 3)))

    async with trio.open_nursery() as nursery:
        for index in range(6):
            nursery.start_soon(ask, index)
            await trio.testing.wait_all_tasks_blocked(0)
    assert [time for _, time in sorted(times)] == [0, 0, 0, 0.1, 0.2, 0.3]
    await trio.sleep(100)
    before = autojump_clock.current_time()
    for _ in range(3):
        await limiter.acquire()
    assert autojump_clock.current_time() == before


async def test_a_cancelled_turn_goes_back(autojump_clock: MockClock) -> None:
    limiter = RateLimiter(qps=1, burst=1)
    await limiter.acquire()
    for _ in range(5):
        with trio.move_on_after(0.1):
            await limiter.acquire()
    before = autojump_clock.current_time()
    await limiter.acquire()
    assert autojump_clock.current_time() - before <= 1


async def test_watches_do_not_wait_behind_lists(autojump_clock: MockClock) -> None:
    """[B21]"""

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={})

    limiter = RateLimiter(qps=0.001, burst=1)
    async with ApiServer(
        Connection("http://x"), limiter=limiter, transport=httpx.MockTransport(handler)
    ) as api:
        await api.get("/x")
        before = autojump_clock.current_time()
        async with api.stream("/x", {"watch": "true"}):
            assert autojump_clock.current_time() == before
        async with api.stream("/x", {"limit": "5"}):
            assert autojump_clock.current_time() - before > 900
