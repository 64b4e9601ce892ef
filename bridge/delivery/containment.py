"""A sink's library may mean to end the process: it ends that sink's session only."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["contained"]


@contextmanager
def contained() -> Iterator[None]:
    """Around what a sink does: `sys.exit` is an unexpected error of that sink, as any other bug."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"the sink called sys.exit({error.code!r})").with_traceback(
            error.__traceback__
        ) from None
