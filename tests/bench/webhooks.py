"""Requests per second of the webhook sink against a bare httpx loop, to a receiver in its own process.

``python -m tests.bench.webhooks`` is that receiver: it answers 200 to whatever comes and prints its port.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import trio

from bridge.changes.change import Change
from bridge.changes.record import Record
from bridge.delivery.sink import Context, Delivery
from bridge.delivery.worker import Batching, Plan, Worker
from bridge.secret import Secret
from sinks.webhook import Webhook
from tests.bench.spread import Spread, ratio
from tests.bench.table import Goal, Row
from tests.delivery.fakes import BRIDGE, PODS, START, MemoryLog

__all__ = ["webhooks"]

LANES: Final = 16
BATCH: Final = 50
_OBJECT: Final = b'{"pad":"' + b"x" * 6400 + b'"}'
_SECRET: Final = Secret(value=b"whsec_" + base64.b64encode(b"k" * 32))
_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

BARE: Final = f"bare httpx loop, {LANES} at once"
SINK: Final = f"webhook sink, signed, {LANES} at once"
WORKER: Final = f"webhook through the worker, {LANES} lanes"
BATCHED: Final = f"webhook through the worker, {BATCH} records a request"


def webhooks(*, requests: int, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Records a second of each way, and the ratios that matter; each round begins with another one."""
    ways: dict[str, Callable[[str, int], Awaitable[None]]] = {
        BARE: _bare,
        SINK: _sink,
        WORKER: _worker,
        BATCHED: _batched,
    }
    names = list(ways)
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    with _receiver() as url:
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                say(f"round {number + 1} of {rounds}: {name}")
                count = requests * (5 if name == BATCHED else 1)
                begun, spent = time.perf_counter(), time.process_time()
                trio.run(ways[name], url, count)
                rates[name].append(count / (time.perf_counter() - begun))
                cpu[name].append((time.process_time() - spent) / count * 1e6)
    return [
        *(Row(name, Spread(tuple(rates[name])), "records/s") for name in names),
        *(Row(f"{name}: processor time", Spread(tuple(cpu[name])), "us/record") for name in names),
        *_against_bare("webhook sink", rates, cpu, SINK),
        *_against_bare("webhook through the worker", rates, cpu, WORKER),
        Row("batched / one record a request", ratio(rates[BATCHED], rates[WORKER]), "x"),
    ]


def _against_bare(
    title: str, rates: dict[str, list[float]], cpu: dict[str, list[float]], name: str
) -> list[Row]:
    title = f"{title} / bare httpx loop"
    return [
        Row(title, ratio(rates[name], rates[BARE]), "x", Goal(0.9)),
        Row(f"{title}, by processor time", ratio(cpu[BARE], cpu[name]), "x"),
    ]


async def _bare(url: str, count: int) -> None:
    body, headers = _OBJECT, {"content-type": "application/json"}

    async def some() -> None:
        for _ in range(count // LANES):
            answer = await client.post(url, content=body, headers=headers)
            answer.raise_for_status()

    limits = httpx.Limits(max_connections=LANES, max_keepalive_connections=LANES)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client, trio.open_nursery() as nursery:
        for _ in range(LANES):
            nursery.start_soon(some)


async def _sink(url: str, count: int) -> None:
    async def some() -> None:
        for number in range(count // LANES):
            record = Record(number, _OBJECT, "k", f"c/pods/u/{number}/U", "1", _change(number), PODS)
            await sink.deliver(Delivery(number, [record], len(_OBJECT)))

    async with _webhook(url) as sink:
        await sink.open(START, Context("hook", "c", "uid"))
        async with trio.open_nursery() as nursery:
            for _ in range(LANES):
                nursery.start_soon(some)


async def _worker(url: str, count: int, batch: int = 1) -> None:
    log = MemoryLog()
    for start in range(0, count, 100):
        log.append([_change(number) for number in range(start, start + 100)])
    worker = Worker(Plan("hook", BRIDGE, batching=Batching(max_records=batch)), _webhook(url), log, START)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        if not await worker.drain(trio.current_time() + 600):
            raise RuntimeError(f"the receiver did not take everything: {worker.stats.reason}")
        nursery.cancel_scope.cancel()


async def _batched(url: str, count: int) -> None:
    await _worker(url, count, BATCH)


def _webhook(url: str) -> Webhook:
    return Webhook(url, signing_secret=(_SECRET,), concurrency=LANES)


def _change(number: int) -> Change:
    return Change("MODIFIED", "watch", number, "ns", f"n{number % 1000}", "u", str(number), 0, _OBJECT)


@contextmanager
def _receiver() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.webhooks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(program.stdout.readline())}/hook"
        finally:
            program.terminate()


class _Receiver(asyncio.Protocol):
    """Reads requests with a content-length: less work than any framework, for it is not measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = bytearray()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).lower()
            size = end + 4 + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self._data) < size:
                return
            del self._data[:size]
            self._transport.write(_ANSWER)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
