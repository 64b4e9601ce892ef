"""The table `meta`: single values, in memory at once, durable with the next transaction."""

import sqlite3
from pathlib import Path

from bridge.errors import StateError

__all__ = ["Meta"]


class Meta:
    """What the table says, and what is not written yet.

    Args:
        values: the table.
        place: the state directory, for a sentence.
    """

    def __init__(self, values: dict[str, str], place: Path) -> None:
        self._values = values
        self._place = place
        self._unwritten: dict[str, str] = {}

    @property
    def dirty(self) -> bool:
        """Something is not written yet."""
        return bool(self._unwritten)

    @property
    def cluster(self) -> str | None:
        """The uid of the cluster that this log belongs to, once it was told."""
        return self._values.get("cluster")

    @property
    def trust(self) -> str | None:
        """What vouched for that cluster when it was last told, if anything did."""
        return self._values.get("trust")

    def number(self, key: str) -> int:
        """A value that counts something; 0 where it was never set."""
        return int(self._values.get(key, "0"))

    def set(self, key: str, value: str) -> None:
        """Remember."""
        if self._values.get(key) != value:
            self._values[key] = self._unwritten[key] = value

    def claim(self, cluster: str, trust: str | None = None) -> None:
        """This log belongs to that cluster from now on; durable before any record of it is.

        Args:
            cluster: its uid.
            trust: what vouches for it now.

        Raises:
            StateError: it belongs to another one.
        """
        if self.cluster is not None and self.cluster != cluster:
            raise StateError(
                f"the state in {self._place} belongs to cluster {self.cluster}, not to {cluster}: "
                "check cluster.kubeconfig and cluster.context, or give this cluster a state.path of its own",
            )
        self.set("cluster", cluster)
        if trust is not None:
            self.set("trust", trust)

    def write(self, connection: sqlite3.Connection) -> None:
        """Make durable what was set, in the caller's transaction."""
        connection.executemany(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", sorted(self._unwritten.items())
        )

    def written(self) -> None:
        """The transaction of `write` is committed."""
        self._unwritten.clear()
