"""State that no stream of the configuration names: one that was renamed takes it up, the rest is told."""

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import trio

from bridge.changes.change import StreamInfo
from bridge.errors import Refused
from bridge.logs import log
from bridge.runtime.forget import forget
from bridge.runtime.stream import StreamPlan, fingerprints
from bridge.store.contract import Log
from bridge.store.log import SqliteLog

__all__ = ["KEPT_SECONDS", "adopt", "forget_orphans", "may_adopt", "tell_orphans"]

KEPT_SECONDS: Final = 7 * 24 * 3600
"""How long state is kept of a stream that is not configured."""
_LOOK_SECONDS: Final = 3600.0

_EVENT: Final = (
    "the state knows a stream that the configuration does not name, and no new stream watches just the same; "
    "what is known is kept for seven days from when it was first missing: "
    "if it was renamed, what was deleted since it ran last is never told; give it its old name back, with "
    "namespaces and selectors as they were, and see `streams` in docs/configuration.md"
)
_SEVERAL: Final = (
    "a new stream watches just what several streams of the state did that the configuration does not name: "
    "it takes up none of them, and begins with everything"
)


async def may_adopt(records: Log, configured: Collection[str]) -> bool:
    """Whether a stream may have been renamed: one is not configured any more, and one is not known yet."""
    known = set(await records.watched_streams())
    return not known.issubset(configured) and not known.issuperset(configured)


async def adopt(records: Log, plan: StreamPlan, cluster_uid: str, configured: Collection[str]) -> bool:
    """Have a stream that was renamed take up what is known under its old name; nothing for a known stream.

    Args:
        records: the log; nobody watches the stream yet.
        plan: of the stream.
        cluster_uid: the cluster that it is in.
        configured: names of all streams that are configured.

    Raises:
        Refused: there is no room; nothing was changed, and the stream must not be watched.
    """
    found = await records.adopt(plan.info.name, fingerprints(cluster_uid, plan), configured)
    if len(found) > 1:
        log("warning", _SEVERAL, stream=plan.info.name, known=", ".join(found))
    elif found:
        log(
            "info",
            "stream adopted: it goes on as the one that was renamed",
            stream=plan.info.name,
            was=found[0],
        )
    return len(found) == 1


async def tell_orphans(records: Log, configured: Collection[str]) -> None:
    """Say which streams are known to the log and not configured any more, a line for each."""
    for stream in await records.watched_streams():
        if stream not in configured:
            log("warning", _EVENT, stream=stream)


async def forget_orphans(records: SqliteLog, configured: Collection[str]) -> None:
    """Forget what is known of streams that have not been configured for seven days; runs until cancelled."""
    while True:
        with suppress(Refused):  # no room to note since when: an hour later there may be
            now = time.time()
            for orphan in await records.orphans(configured, now):
                if now - orphan.since >= KEPT_SECONDS:
                    await _forget(orphan.stream, records)
        await trio.sleep(_LOOK_SECONDS)


async def _forget(stream: StreamInfo, records: Log) -> None:
    for scope, state in (await records.watch_states(stream.name)).items():
        if state.fingerprint:
            await forget(stream, scope, records)
    await records.flush()
    log("info", "forgot a stream that has not been configured for seven days", stream=stream.name)
