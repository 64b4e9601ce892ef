"""Dropping what is known of objects that nobody asks for any more: not deleted, so no record says so."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from bridge.changes.change import Change, StreamInfo
from bridge.changes.reconcile import Inventory
from bridge.store.contract import Log

__all__ = ["forget"]

_AT_ONCE: Final = 1024
"""Inventory entries that one piece of work removes, while what live watches append waits behind it."""


async def forget(stream: StreamInfo, scope: str, log: Log) -> None:
    """Drop what is known of a namespace, or with the scope "" of all, in small transactions.

    The fingerprint goes last: a crash on the way leaves something to forget at the next start, and after it
    the scope is as new.
    """
    prefix = f"{scope}/".encode() if scope else b""
    through = prefix + b"\xff" if scope else None  # no UTF-8 contains it
    some = [prefix]

    def remove(inventory: Inventory) -> Sequence[Change]:
        # Behind what is gone already: passing over that each time costs the square of it.
        some[:] = [key for key, _ in islice(inventory.scan(some[-1], through), _AT_ONCE)]
        for key in some:
            inventory.remove(key)
        return ()

    while some:
        await log.append(stream, scope, remove, size=_AT_ONCE << 6)
        await log.flush()
    await log.append(stream, scope, lambda _: (), size=64, fingerprint="")
