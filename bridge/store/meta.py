"""Small facts of a log, each under a name of its own: whose it is, what it may give out, what is folded."""

import sqlite3
from pathlib import Path

from bridge.errors import StateError
from bridge.store.opening import RESERVED
from bridge.store.tables import write_meta

__all__ = ["Meta"]


class Meta:
    """The table `meta`: what is known, and what the next transaction writes of it.

    Args:
        connection: of the log.
        known: what the table says.

    Attributes:
        folded_at: the inventory's table durably says the same as the log up to here.
    """

    def __init__(self, connection: sqlite3.Connection, known: dict[str, str]) -> None:
        self._connection = connection
        self._known = known
        self._unwritten: dict[str, str] = {}
        self.folded_at = int(known.get("folded_at", "0"))

    @property
    def cluster(self) -> str | None:
        """The uid of the cluster that the log belongs to, once it was told."""
        return self._known.get("cluster")

    @property
    def dirty(self) -> bool:
        """There is something to write."""
        return bool(self._unwritten)

    @property
    def trust(self) -> str | None:
        """What vouched for that cluster when it was last told, if anything did."""
        return self._known.get("trust")

    def claim(self, cluster: str, trust: str | None, state: Path) -> None:
        """The log belongs to that cluster from now on.

        Args:
            cluster: its uid.
            trust: what vouches for it now, if anything does.
            state: folder of the log, for the sentence.

        Raises:
            StateError: it belongs to another one.
        """
        known = self.cluster
        if known is not None and known != cluster:
            raise StateError(
                f"the state in {state} belongs to cluster {known}, not to {cluster}: "
                "check cluster.kubeconfig and cluster.context, or give this cluster a state.path of its own",
            )
        if known is None:
            self._set("cluster", cluster)
        if trust is not None and trust != self.trust:
            self._set("trust", trust)

    def reserve(self, end: int) -> None:
        """Stay half a reservation ahead, so that even a commit that a lying disk lost repeats no position."""
        reserved = int(self._known["reserved"])
        if end > reserved - RESERVED // 2:
            self._set("reserved", str(max(end, reserved) + RESERVED))

    def write(self) -> None:
        """In the caller's transaction."""
        write_meta(self._connection, self._unwritten)

    def written(self) -> None:
        """The transaction of the last `write` is durable."""
        self._unwritten = {}

    def write_folded(self, position: int) -> None:
        """In the caller's transaction, which ends a fold; `folded_at` is moved when it is durable."""
        write_meta(self._connection, {"folded_at": str(position)})

    def _set(self, name: str, value: str) -> None:
        self._known[name] = self._unwritten[name] = value
