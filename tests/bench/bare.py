"""Programs: what a destination's own client does with the same bytes and nothing around it.

``python -m tests.bench.bare kafka BOOTSTRAP TOPIC RECORDS`` and ``... httpx URL RECORDS CONCURRENCY``. The
records are rendered before the clock runs; ``rendering`` in place of ``kafka`` does that while it runs. Notes
as of `tests.bench.feeder`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import count, cycle, islice

import trio

from bridge.changes.envelope import Renderer
from bridge.changes.record import Record
from tests.bench.feeder import BRIDGE, PODS, changes

_POLL_EVERY = 200


_Message = tuple[bytes, bytes, list[tuple[str, str | bytes | None]]]


def _records() -> Iterator[Record]:
    """The same thousand changes over and over, each rendered when it is asked for."""
    renderer, made = Renderer(BRIDGE, PODS), changes()
    for number in count():
        record = renderer.render(made[number % len(made)], number + 1)
        if record is not None:
            yield record


def _rendered() -> list[Record]:
    return list(islice(_records(), len(changes())))


def _note(what: str) -> None:
    print(json.dumps({"what": what, "at": time.monotonic()}), flush=True)


def kafka(bootstrap: str, topic: str, records: int, *, rendering: bool) -> None:
    """An idempotent producer with the settings that the sink has."""
    from confluent_kafka import Producer  # noqa: PLC0415 - the other half of this program needs none

    messages = map(_message, _records()) if rendering else cycle(list(map(_encoded, _rendered())))
    producer = Producer(
        {
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all",
            "compression.type": "zstd", "linger.ms": 5, "partitioner": "murmur2_random",
            "message.timeout.ms": 2147483647,
        }
    )  # fmt: skip
    owned = 0

    def report(error: object, _message: object) -> None:
        nonlocal owned
        if error is not None:
            raise SystemExit(f"not delivered: {error}")
        owned += 1

    producer.list_topics(topic, 30)
    _note("begin")
    for number, (value, key, headers) in enumerate(islice(messages, records)):
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=report)
            except BufferError:
                producer.poll(0.01)
                continue
            break
        if number % _POLL_EVERY == 0:
            producer.poll(0)
    producer.flush()
    if owned != records:
        raise SystemExit(f"{owned} of {records} were delivered")
    _note("end")


def _message(record: Record) -> _Message:
    change = record.change
    return (
        record.value,
        record.key.encode(),
        [
            ("id", record.id), ("type", change.type), ("uid", change.uid), ("resourceVersion", change.rv),
            ("sequence", record.sequence), ("stream", record.stream.name), ("origin", change.origin),
        ],
    )  # fmt: skip


def _encoded(record: Record) -> _Message:
    value, key, headers = _message(record)
    return value, key, [(name, str(text).encode()) for name, text in headers]


async def httpx(url: str, records: int, concurrency: int) -> None:
    """So many loops over one client, each waiting for its answer."""
    import httpx  # noqa: PLC0415 - as above

    made = [(record.value, record.id) for record in _rendered()]
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    numbers = iter(range(records))
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=30) as client:

        async def loop() -> None:
            for number in numbers:
                value, identity = made[number % len(made)]
                headers = {"content-type": "application/json", "webhook-id": identity}
                answer = await client.post(url, content=value, headers=headers)
                answer.raise_for_status()

        _note("begin")
        async with trio.open_nursery() as nursery:
            for _ in range(concurrency):
                nursery.start_soon(loop)
        _note("end")


if __name__ == "__main__":
    if sys.argv[1] != "httpx":
        kafka(sys.argv[2], sys.argv[3], int(sys.argv[4]), rendering=sys.argv[1] == "rendering")
    else:
        trio.run(httpx, sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    time.sleep(60)  # until it is killed: whoever measures reads our figures first
