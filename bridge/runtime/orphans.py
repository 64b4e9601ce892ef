"""State that no stream of the configuration names: one that was renamed takes it up, the rest is told."""

from collections.abc import Collection
from typing import Final

from bridge.logs import log
from bridge.runtime.stream import StreamPlan, fingerprints
from bridge.store.contract import Log

__all__ = ["adopt", "may_adopt", "tell_orphans"]

_EVENT: Final = (
    "the state knows a stream that the configuration does not name, and no new stream watches just the same: "
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
