"""What was known under a name that no stream has any more is told: nothing is compared with it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.changes.change import Cursor
from bridge.runtime.orphans import tell_orphans
from bridge.store.log import SqliteLog
from tests.store.samples import PODS, SECRETS, change, emit


async def test_a_stream_that_was_renamed_is_told_once_a_start_by_its_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, str]] = []

    def heard(*told: Any, stream: str) -> None:
        said.append((stream, told[1]))

    monkeypatch.setattr("bridge.runtime.orphans.log", heard)
    old = msgspec.structs.replace(PODS, name="old-name")
    async with SqliteLog.open(tmp_path) as log:
        await tell_orphans(log, ["pods"])
        for stream in (PODS, old, SECRETS):
            for scope in ("a", "b"):
                await log.append(
                    stream, scope, emit(change("x", 1)), size=1, cursor=Cursor("1", "1"), fingerprint="f"
                )
        await log.flush()
        await tell_orphans(log, ["pods", "old-name", "secrets"])
        assert said == []
    async with SqliteLog.open(tmp_path) as log:
        await tell_orphans(log, ["pods", "new-name", "secrets"])
    ((name, event),) = said
    assert name == "old-name"
    assert "give it its old name back" in event
