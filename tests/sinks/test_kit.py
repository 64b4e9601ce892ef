"""Our own sinks pass the kit that third-party sinks are asked to pass."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.changes.envelope import Format
from bridge.testing import check_sink
from sinks.jsonlines.rotation import Rotate
from sinks.jsonlines.sink import JsonLines
from tests.sinks.files import everything

ROTATIONS = {
    "one file": None,
    "rotated": Rotate(max_bytes=3000),
    "packed": Rotate(max_bytes=3000, compress="zstd"),
}


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("rotate", ROTATIONS.values(), ids=ROTATIONS)
async def test_json_lines_pass(tmp_path: Path, rotate: Rotate | None, form: Format) -> None:
    path = tmp_path / "d" / "out.jsonl"
    make_directory(path.parent)

    @asynccontextmanager
    async def outage() -> AsyncIterator[None]:
        """Its directory is not there."""
        aside = tmp_path / "aside"
        os.rename(path.parent, aside)  # noqa: PTH104 - pathlib in an async function
        yield
        os.rename(aside, path.parent)  # noqa: PTH104 - as above

    await check_sink(
        lambda: JsonLines(str(path), rotate),
        lambda: everything(path).splitlines(),
        outage=outage,
        form=form,
    )


def make_directory(path: Path) -> None:
    path.mkdir()
