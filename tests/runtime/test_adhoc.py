"""What an ad hoc watch takes for granted, so that it starts fast."""

import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

import trio

from bridge.runtime.adhoc import STDOUT
from bridge.simulator import Simulator
from sinks.jsonlines.lines import Lines
from tests.end_to_end.program import bridge, clean_environment

NOT_FOR_A_WATCH: Final = {
    # Others' modules: each of them takes some hundredths of the start, httpx and confluent_kafka more.
    "asyncio",
    "confluent_kafka",
    "email",
    "http",
    "httpx",
    "importlib.metadata",
    "prometheus_client",
    "trio.testing",
    # Our own, for other commands, other outputs and things that went wrong.
    "sinks.jsonlines.sink",
    "sinks.jsonlines.rotation",
    "bridge.config",
    "bridge.operations.http",
    "bridge.operations.metrics",
    "bridge.runtime.service",
    "bridge.simulator",
    "bridge.store.database",
    "bridge.terminal",
}


def test_standard_output_is_written_with_what_the_entry_point_names() -> None:
    """Found without looking it up, and without what only files need."""
    (entry,) = entry_points(group="kube_bridge.sinks", name="jsonlines")
    by_name, directly = entry.load()(path="-"), resolve_name(STDOUT)()
    assert isinstance(by_name, Lines)
    assert isinstance(directly, Lines)
    assert type(by_name._open()) is type(directly._open())


async def test_a_watch_has_loaded_nothing_it_does_not_use_when_it_shows_the_first_event(
    tmp_path: Path,
) -> None:
    """Time to the first event is nearly all importing: of modules, by the interpreter's own report."""
    errors = tmp_path / "stderr"
    async with Simulator().serve() as url:
        python, *command = bridge("watch", "namespaces", "-o", "json", "--server", url)
        with errors.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [python, "-X", "importtime", *command],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=clean_environment(tmp_path),
                cwd=tmp_path,
            )
        assert process.stdout is not None
        with trio.fail_after(60):
            first = await process.stdout.receive_some()
        process.kill()
        await process.wait()
    report = errors.read_text()
    loaded = {line.rpartition("|")[2].strip() for line in report.splitlines()}
    assert b'"ADDED"' in first
    assert loaded >= {"bridge.runtime.adhoc", "trio", "sinks.jsonlines.appendfile"}
    assert not loaded & NOT_FOR_A_WATCH
