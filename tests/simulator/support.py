"""A client of the simulator for its own tests: whole watches as lists of events."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import h11
import httpx
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bridge.simulator import Simulator

MAPS = "/api/v1/namespaces/default/configmaps"
STREAMED = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}


@asynccontextmanager
async def client_of(simulator: Simulator, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An httpx client in memory; without a read timeout unless one is given."""
    options.setdefault("timeout", None)
    async with httpx.AsyncClient(
        transport=simulator.transport(), base_url="http://simulator", **options
    ) as client:
        yield client


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap in `default`."""
    return {"metadata": {"name": name}, "data": data}


class Watch:
    """One watch, read line by line; no async generators, so that it can be left at any place."""

    def __init__(self, receive: Callable[[], Awaitable[bytes]]) -> None:
        self.held = b""
        self.received = 0
        self._receive = receive

    async def chunk(self) -> bytes:
        """The next chunk as it came; empty at a clean end."""
        chunk = await self._receive()
        self.received += len(chunk)
        return chunk

    async def line(self) -> bytes:
        """The next whole line; empty at a clean end."""
        while b"\n" not in self.held:
            chunk = await self.chunk()
            if not chunk:
                return b""
            self.held += chunk
        line, _, self.held = self.held.partition(b"\n")
        return line

    async def event(self) -> tuple[str, str, int]:
        """Type, name and revision of the next event; ("", "", 0) at a clean end."""
        line = await self.line()
        if not line:
            return "", "", 0
        event = json.loads(line)
        metadata = event["object"]["metadata"]
        return event["type"], metadata.get("name", ""), int(metadata.get("resourceVersion", 0))

    async def events(self) -> list[tuple[str, str, int]]:
        """All up to a clean end."""
        found = []
        while (event := await self.event()) != ("", "", 0):
            found.append(event)
        return found


@asynccontextmanager
async def watching(
    simulator: Simulator,
    path: str = MAPS,
    *,
    bearer: str = "",
    read_timeout: str = "",
    **query: str,
) -> AsyncIterator[Watch]:
    """Opens a watch in memory; what is left unread at the end of the block is dropped."""
    request = httpx.Request(
        "GET",
        f"http://simulator{path}",
        params={"watch": "1"} | query,
        headers={"Authorization": f"Bearer {bearer}"},
        extensions={"timeout": {"read": float(read_timeout) if read_timeout else None}},
    )
    response = await simulator.transport().handle_async_request(request)
    assert response.status_code == httpx.codes.OK, await response.aread()
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    chunks = aiter(stream)

    async def receive() -> bytes:
        return await anext(chunks, b"")

    try:
        yield Watch(receive)
    finally:
        await stream.aclose()


@asynccontextmanager
async def socket_watching(url: str, path: str = MAPS, **query: str) -> AsyncIterator[Watch]:
    """Opens a watch on a socket of its own."""
    address = httpx.URL(f"{url}{path}", params={"watch": "1"} | query)
    assert address.port is not None
    client = h11.Connection(h11.CLIENT)
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        target = address.raw_path
        request = h11.Request(method="GET", target=target, headers=[("Host", "simulator")])
        await stream.send_all(client.send(request) or b"")
        await stream.send_all(client.send(h11.EndOfMessage()) or b"")

        async def next_event() -> object:
            while (event := client.next_event()) is h11.NEED_DATA:
                client.receive_data(bytes(await stream.receive_some()))
            return event

        async def receive() -> bytes:
            event = await next_event()
            return bytes(event.data) if isinstance(event, h11.Data) else b""

        assert isinstance(await next_event(), h11.Response)
        yield Watch(receive)
