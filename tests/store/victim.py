"""A process to be killed: it appends, acknowledges and trims, and says on stdout what it was promised.

Usage: `python -m tests.store.victim DIRECTORY FIRST`. Each line is `committed NUMBER POSITION` or
`acknowledged POSITION`, written only after the log said so. Object NUMBER of pod `p<NUMBER % 50>`.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import trio

from bridge.changes.change import Cursor
from bridge.store import fold, journal, writer
from bridge.store.log import SqliteLog
from tests.store.samples import PODS, change, emit


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


async def main(directory: Path, first: int) -> None:
    mock.patch.multiple(fold, _CHUNK=10).start()
    mock.patch.multiple(journal, _OVERLAY=40, _TRIM_EVERY=2).start()
    mock.patch.multiple(writer, _BUSY_WINDOW=0.001, _IDLE_WINDOW=0.001).start()
    async with SqliteLog.open(directory) as log, trio.open_nursery() as nursery:
        position = (await log.open_sink("out", "f")).position
        say(f"opened {position} {log.end()}")
        nursery.start_soon(deliver, log, position)
        number = first
        while True:
            for _ in range(3):
                body = str(number).encode() + b"." * 3000
                work = emit(change(f"p{number % 50}", number, body=body))
                await log.append(PODS, "", work, size=len(body), cursor=Cursor(str(number), str(number)))
                number += 1
            await log.flush()
            say(f"committed {number - 1} {log.end()}")


async def deliver(log: SqliteLog, position: int) -> None:
    while True:
        for batch in await log.read(position, 100_000):
            for item in batch.changes:
                say(f"delivered {item.rv}")
            position = batch.last_position
            log.acknowledge("out", position)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
