"""The two logs, under one suite."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bridge.store.contract import Log
from bridge.store.log import SqliteLog
from bridge.store.memory import MemoryLog
from bridge.store.space import MIN_BYTES


@pytest.fixture(params=["sqlite", "memory"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield await stack.enter_async_context(
                SqliteLog.open(tmp_path, max_bytes=MIN_BYTES, memory_bytes=4 << 20)
            )
        else:
            yield await stack.enter_async_context(MemoryLog.open(memory_bytes=1 << 20))
