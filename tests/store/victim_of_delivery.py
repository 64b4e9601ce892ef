"""A process to be killed: it buries, redrives and purges dead letters and drops backlogs, and says so.

Usage: `python -m tests.store.victim_of_delivery DIRECTORY FIRST`. Each line is written only after the log
said so, but for `purging NUMBER`. Record NUMBER is a deletion; so is its dead letter, with another `gone`.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import msgspec
import trio

from bridge.store import backlog, letters
from bridge.store.log import SqliteLog
from tests.store.samples import PODS, change, emit, letter, owed


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


async def main(directory: Path, first: int) -> None:
    mock.patch.multiple(backlog, _ROWS=2, _ROW_RECORDS=3).start()
    mock.patch.multiple(letters, _MANY=2).start()
    async with SqliteLog.open(directory) as log:
        await log.open_sink("out", "f")
        for number in range(first, first + 100_000):
            item = change(f"p{number}", number, kind="DELETED", body=str(number).encode() + b"." * 2000)
            item = msgspec.structs.replace(item, extra={"gone": "deleted"})
            await log.append(PODS, "", emit(item), size=2000)
            await log.flush()
            say(f"committed {number}")
            await log.bury([letter(number, msgspec.structs.replace(item, extra={"gone": "letter"}))])
            say(f"buried {number}")
            if number % 5 == 0:
                some = await log.dead_letters("out", 0, 5)
                await log.redrive("out", [one.number for one in some], force=True)
            kept = await log.dead_letters("out", 0, 1)
            if number % 7 == 0 and kept:
                say(f"purging {kept[0].position}")
                await log.purge("out", [kept[0].number])
                say(f"purged {kept[0].position}")
            if number % 9 == 0:
                await log.drop_backlog("out", None, [owed(key=str(number))])
                say(f"dropped {number}")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
