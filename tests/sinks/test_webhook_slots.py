"""Requests that are cancelled at any moment leave no connection lost (httpcore#1093)."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import httpx
import pytest
import trio

from bridge.delivery.sink import Unavailable
from tests.sinks.receiver import Received, hooked, receiving, record, send

LIMIT: Final = 8
CANCELLED: Final = 10_000


def lingering(random: Random) -> Callable[[Received, trio.abc.Stream], Awaitable[bool]]:
    """Answers at once, or after a turn of everybody else, or never; now and then it hangs up."""

    async def step(_: Received, stream: trio.abc.Stream) -> bool:
        fate = random.random()
        if fate < 0.3:
            await stream.receive_some()  # returns when the other side has gone away
            return False
        if fate < 0.5:
            await trio.lowlevel.checkpoint()
        if fate < 0.7:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-le")
            await trio.lowlevel.checkpoint()
            await stream.send_all(b"ngth: 2\r\n\r\nok")
        else:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        return fate < 0.9

    return step


async def cancel_many(
    ask: Callable[[int], Awaitable[object]], count: int, together: int, random: Random
) -> int:
    """Ask again and again, each time cancelled after a few turns of the loop; how many were cut off."""
    left, cut = count, 0

    async def one(number: int) -> None:
        nonlocal cut
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_soon, scope, random.randrange(12))
                await ask(number)
                nursery.cancel_scope.cancel()
        cut += scope.cancelled_caught

    async def many() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            try:
                await one(left)
            except* (Unavailable, httpx.HTTPError):
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(together):
            nursery.start_soon(many)
    return cut


async def cancel_soon(scope: trio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_after_ten_thousand_cancelled_requests_every_connection_can_be_used() -> None:
    random = Random(7)
    async with (
        receiving(always=lingering(random)) as receiver,
        hooked(receiver.url, concurrency=LIMIT) as sink,
    ):
        cut = await cancel_many(lambda number: send(sink, number), CANCELLED, 2 * LIMIT, random)
        assert cut > CANCELLED // 2
        await trio.testing.wait_all_tasks_blocked()
        assert receiver.open <= LIMIT, "a connection of a cancelled request stayed open"
        await all_at_once(receiver, lambda: send(sink, 0))


@pytest.mark.filterwarnings("ignore:.*Async generator:ResourceWarning", "ignore:.*async_generator")
async def test_the_load_finds_the_leak_where_there_is_one() -> None:
    """What the test above would say of one pool for everybody."""
    random = Random(7)
    limits = httpx.Limits(max_connections=LIMIT)
    async with receiving(always=lingering(random)) as receiver, httpx.AsyncClient(limits=limits) as client:
        url, body = receiver.url, record(0).value
        await cancel_many(lambda _: client.post(url, content=body), 2000, 4 * LIMIT, random)
        with pytest.raises(trio.TooSlowError):
            await all_at_once(receiver, lambda: client.post(url, content=body, timeout=None))


async def all_at_once(receiver: object, ask: Callable[[], Awaitable[object]]) -> None:
    """As many requests as there may be connections are under way at the same time."""
    arrived, everybody = 0, trio.Event()

    async def together(_: Received, stream: trio.abc.Stream) -> bool:
        nonlocal arrived
        arrived += 1
        if arrived == LIMIT:
            everybody.set()
        await everybody.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        return True

    receiver.always = together  # type: ignore[attr-defined]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(LIMIT):
                nursery.start_soon(ask)
