"""Of which streams a log knows something, and which of them watched the same. No I/O here."""

from collections.abc import Collection, Mapping

from bridge.store.contract import WatchState
from bridge.store.group import WatchKey

__all__ = ["alike", "known_streams"]


def known_streams(watches: Mapping[WatchKey, WatchState]) -> dict[str, dict[str, str]]:
    """Fingerprints by scope of each stream of whose objects something is known."""
    found: dict[str, dict[str, str]] = {}
    for (stream, scope), state in sorted(watches.items()):
        if state.fingerprint:
            found.setdefault(stream, {})[scope] = state.fingerprint
    return found


def alike(
    watches: Mapping[WatchKey, WatchState],
    stream: str,
    collection: Mapping[str, str],
    configured: Collection[str],
) -> list[str]:
    """Streams that are not configured and watched just this collection; none for a stream that is known."""
    known = known_streams(watches)
    if stream in known:
        return []
    return [name for name, scopes in known.items() if name not in configured and scopes == collection]
