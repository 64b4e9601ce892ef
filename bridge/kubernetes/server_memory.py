"""What all watches of one API server know about it; hints that age, never configuration. No I/O here."""

from typing import Final

__all__ = ["ServerMemory"]

_REMEMBERED: Final = 3600.0


class ServerMemory:
    """Shared by the watchers of one cluster.

    Attributes:
        events_share_revisions: Events were seen to live in the same etcd as the rest, so their revision,
            which no cache can falsify, tells whether the server was rewound (real-apiserver 8.4).
            Many clusters keep Events in an etcd of their own, so this is never assumed.
    """

    def __init__(self) -> None:
        self.events_share_revisions = False
        self._unstreamable: dict[str, float] = {}

    def streams(self, resource: str, now: float) -> bool:
        """Whether a streaming list of this resource is worth trying."""
        return self._unstreamable.get(resource, now) <= now

    def refused_streaming(self, resource: str, now: float) -> None:
        """The server refused a streaming list, or never ended one; do not ask again for an hour [F4].

        Replicas of different versions may answer differently [P7], so this is forgotten again.
        """
        self._unstreamable[resource] = now + _REMEMBERED
