"""How the program looks for garbage in cycles: seldom, and never among its modules."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["loading"]

_THRESHOLD: Final = 10_000
"""More new objects than a delivery of records has. With Python's 700 whatever is on its way is looked at
again and again, which takes as long as to render it; none of it is in a cycle."""


@contextmanager
def loading() -> Iterator[None]:
    """Import a command's modules inside of it, so that `--help` and `--version` do not pay for them.

    Modules stay: looking for garbage among them costs some hundredths of the start and of every full
    collection after it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_THRESHOLD)
        gc.enable()
