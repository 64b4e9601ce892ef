"""State that no stream of the configuration takes up: what was known under a name that was changed."""

from collections.abc import Collection
from typing import Final

from bridge.logs import log
from bridge.store.contract import Log

__all__ = ["tell_orphans"]

_EVENT: Final = (
    "the state knows a stream that the configuration does not name: if it was renamed, what was deleted "
    "since it ran last is never told; give it its old name back, and see `streams` in docs/configuration.md"
)


async def tell_orphans(records: Log, configured: Collection[str]) -> None:
    """Say which streams are known to the log and not configured any more, a line for each."""
    for stream in await records.watched_streams():
        if stream not in configured:
            log("warning", _EVENT, stream=stream)
