"""Old rows keep the description of the stream that they were written under."""

from pathlib import Path

import msgspec

from bridge.changes.change import Cursor
from bridge.store.log import SqliteLog
from tests.store.samples import PODS, SECRETS, change, emit


async def contents(log: SqliteLog, position: int) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    while position < log.end():
        for batch in await log.read(position, 1 << 20):
            found += [(batch.stream.name, batch.stream.version, item.name) for item in batch.changes]
            position = batch.last_position
    return found


async def test_a_stream_that_had_no_records_does_not_take_anothers_number_after_a_restart(
    tmp_path: Path,
) -> None:
    """Pods only move their cursor in the first life; in the second their first record is not a Secret's."""
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(), size=1, cursor=Cursor("1", "1"), fingerprint="f")
        await log.append(SECRETS, "", emit(change("s", 2)), size=1)
        await log.flush()
    async with SqliteLog.open(tmp_path) as log:
        await log.append(PODS, "", emit(change("p", 3)), size=1)
        await log.flush()
        assert await contents(log, start) == [("secrets", "v1", "s"), ("pods", "v1", "p")]
    async with SqliteLog.open(tmp_path) as log:
        assert await contents(log, start) == [("secrets", "v1", "s"), ("pods", "v1", "p")]


async def test_a_row_is_read_with_the_version_it_was_written_under(tmp_path: Path) -> None:
    later = msgspec.structs.replace(PODS, version="v2")
    async with SqliteLog.open(tmp_path) as log:
        start = (await log.open_sink("out", "f")).position
        await log.append(PODS, "", emit(change("a", 1)), size=1)
        await log.append(later, "", emit(change("b", 2)), size=1)
        await log.flush()
    async with SqliteLog.open(tmp_path) as log:
        assert await contents(log, start) == [("pods", "v1", "a"), ("pods", "v2", "b")]
