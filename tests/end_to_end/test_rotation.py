"""Killed while it rotates and compresses, a bridge leaves each record once over all files, in each format."""

import json
import signal
from collections import Counter
from pathlib import Path

import trio
from cloudevents.core.formats.json import JSONFormat

from bridge.simulator import Simulator
from tests.end_to_end.program import Program, bridge
from tests.sinks.files import everything

ROUNDS, EACH = 4, 60


def configured(folder: Path, url: str) -> Path:
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sim",
        "clusters": [{"name": "sim", "cluster": {"server": url}}],
        "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": ""}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    rotate = {"maxBytes": "64Ki", "compress": "zstd"}
    config = {
        "configVersion": 1,
        "cluster": {"name": "sim", "kubeconfig": str(folder / "kubeconfig")},
        "state": {"path": str(folder / "state")},
        "streams": [{"name": "configmaps", "resource": "configmaps"}],
        "sinks": [
            {"name": form, "type": "jsonlines", "path": str(folder / form), "format": form, "rotate": rotate}
            for form in ("native", "cloudevents", "kubernetes")
        ],
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder / "config.yaml"


def holds(path: Path, count: int) -> bool:
    """Whether so many objects were told; a file that is compressed just now is looked for again later."""
    try:
        return everything(path).count(b'{"type":"ADDED"') >= count
    except FileNotFoundError:
        return False


def rotated(path: Path) -> int:
    return len(list(path.parent.glob(f"{path.name}.[0-9]*")))


async def test_each_record_stands_once_over_all_rotated_files_through_kills(tmp_path: Path) -> None:
    simulator = Simulator()

    def live(count: int, end: signal.Signals) -> None:
        with Program(bridge("run", "-c", config), tmp_path) as program:
            program.wait(lambda: holds(tmp_path / "native", count), f"{count} objects")
            program.signal(end)
            assert program.end() == (-signal.SIGKILL if end == signal.SIGKILL else 0)

    async with simulator.serve() as url:
        config = configured(tmp_path, url)
        for number in range(ROUNDS):
            for each in range(EACH):
                body = {"metadata": {"name": f"c{number}-{each}"}, "data": {"padding": "x" * 2000}}
                simulator.cluster.create("configmaps", body)
            end = signal.SIGKILL if number < ROUNDS - 1 else signal.SIGTERM
            await trio.to_thread.run_sync(live, (number + 1) * EACH, end)
    native = [json.loads(line) for line in everything(tmp_path / "native").splitlines()]
    events = [JSONFormat().read(None, line) for line in everything(tmp_path / "cloudevents").splitlines()]
    assert max(Counter(record["id"] for record in native).values()) == 1
    assert [event.get_id() for event in events] == [record["id"] for record in native]
    objects = [record["object"] for record in native if "object" in record]
    assert len(objects) == ROUNDS * EACH
    assert [event.get_data() for event in events if event.get_subject()] == objects
    lines = [json.loads(line) for line in everything(tmp_path / "kubernetes").splitlines()]
    assert lines == [{"type": "ADDED", "object": body} for body in objects]
    assert rotated(tmp_path / "native") > 2
