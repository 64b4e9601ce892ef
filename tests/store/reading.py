"""Reading a log to its end."""

from collections.abc import Sequence

from bridge.changes.change import Batch, Change
from bridge.store.contract import Log
from tests.store.samples import PODS, emit

__all__ = ["flat", "heard", "read_all", "store"]


async def read_all(log: Log, after: int) -> list[Batch]:
    batches: list[Batch] = []
    while after < log.end():
        batches.extend(await log.read(after, 1 << 20))
        after = batches[-1].last_position
    return batches


def flat(batches: Sequence[Batch]) -> list[tuple[int, Change]]:
    return [(batch.position + n, item) for batch in batches for n, item in enumerate(batch.changes)]


async def store(log: Log, *changes: Change) -> None:
    await log.append(PODS, "", emit(*changes), size=100)
    await log.flush()


async def heard(log: Log, sink: str, after: int) -> list[tuple[str, str]]:
    """Type and revision of what a sink is told."""
    return [
        (item.type, item.rv)
        for batch in await read_all(log, after)
        for item in batch.changes
        if batch.audience in ("", sink)
    ]
