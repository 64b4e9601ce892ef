"""What all requests share: the cluster, who waits for its next change, and how the server is set up."""

from __future__ import annotations

import random
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from bridge.simulator.access import Access
from bridge.simulator.errors import ApiError, too_large_revision
from bridge.simulator.faults import Faults

if TYPE_CHECKING:
    from bridge.simulator.cluster import Cluster
    from bridge.simulator.history import History
    from bridge.simulator.kinds import Kind

__all__ = ["Backend"]

FRESH_SECONDS = 3.0  # how long a watch cache waits for a revision of the future
SCHEMA_CHANGE_SECONDS = 1.0  # from the change of a CRD to the end of the watches of its objects
REINITIALIZING_SECONDS = 0.25


class Backend:
    """One simulated API server over a cluster.

    Attributes:
        watch_list: The WatchList feature gate.
        bookmark_seconds: The cadence of bookmarks on a cached kind that moves.
        changed: Where watches wait; every write wakes all.
    """

    def __init__(self, cluster: Cluster, *, watch_list: bool = True, bookmark_seconds: float = 60.0) -> None:
        self.cluster = cluster
        self.watch_list = watch_list
        self.bookmark_seconds = bookmark_seconds
        self.access = Access()
        self.faults = Faults()
        self.random = random.Random(0)
        self.changed = trio.lowlevel.ParkingLot()
        self._initializing: dict[str, float] = {}
        cluster.changed.append(self._wake)
        cluster.ended.append(self._end_streams)

    def history(self, kind: Kind) -> History:
        """Where lists and watches of a kind are answered from."""
        cluster = self.cluster
        return cluster.served(kind.resource) if kind.cached else cluster.stored(kind.resource)

    def catch_up(self, kind: Kind) -> History:
        """What a consistent read does: asks etcd for its revision and lets the cache come up to it."""
        history = self.history(kind)
        history.revision = max(history.revision, self.cluster.revision)
        return history

    async def reach(self, kind: Kind, revision: int) -> History:
        """Waits a moment until a revision is there.

        Raises:
            ApiError: 504, it did not come.
        """
        history = self.catch_up(kind)
        if kind.cached:
            with trio.move_on_after(FRESH_SECONDS):
                while history.revision < revision:
                    await self.changed.park()
                    history = self.catch_up(kind)
        if history.revision < revision:
            raise too_large_revision(revision, history.revision, cached=kind.cached)
        return history

    def check_initialized(self, kind: Kind) -> None:
        """Refuses what a cache that is starting anew cannot answer.

        Raises:
            ApiError: 429, with Retry-After.
        """
        if kind.resource in self._initializing and trio.current_time() < self._initializing[kind.resource]:
            message = "storage is (re)initializing"
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", message, retry_after=1)

    def _wake(self) -> None:
        self.changed.unpark_all()

    def _end_streams(self, resource: str) -> None:
        streams = [stream for stream in self.faults.streams if stream.resource == resource]
        for stream in streams:
            end = trio.current_time() + SCHEMA_CHANGE_SECONDS
            stream.end_at(end)
            self._initializing[resource] = end + REINITIALIZING_SECONDS
