"""What an API server said, held against what we have already reported. No I/O here."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

__all__ = ["Inventory", "Known"]


class Known(NamedTuple):
    """What the inventory remembers of one object."""

    uid: str
    rv: str


class Inventory(Protocol):
    """What exists, as far as one stream has reported it.

    Keys are the UTF-8 bytes of `namespace/name` (`/name` for cluster-scoped objects), in byte order.
    Writes become durable in the transaction of the work that makes them. A *suspect* is an object that
    a complete listing passed over and whose deletion no GET has confirmed yet: it stays in the inventory.
    """

    def get(self, key: bytes) -> Known | None:
        """What is known under this key, or None."""
        ...

    def put(self, key: bytes, known: Known) -> None:
        """Remember; clears a suspicion of this key."""
        ...

    def remove(self, key: bytes) -> None:
        """Forget; clears a suspicion of this key. Unknown keys are no error."""
        ...

    def scan(self, after: bytes, through: bytes | None) -> Iterable[tuple[bytes, Known]]:
        """Entries with `after < key <= through` (no upper end for None), in byte order."""
        ...

    def suspect(self, key: bytes, listed_rv: str) -> None:
        """Mark an entry as passed over by the complete listing at `listed_rv`."""
        ...

    def suspects(self, limit: int) -> Iterable[tuple[bytes, Known, str]]:
        """At most `limit` suspects as (key, known, listed_rv), in byte order."""
        ...
