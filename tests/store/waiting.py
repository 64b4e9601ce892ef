"""Waiting for a thread that no virtual clock drives."""

from collections.abc import Callable

import trio

__all__ = ["until"]


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds, fail after 60 s of real time."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - the other side is a thread and its file, not a task
            await trio.sleep(0.005)
