"""The sink of docs/writing-a-sink.md passes the kit and runs in the bridge as an installed package."""

import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trio
import yaml

from bridge import __version__
from bridge.simulator import Simulator
from tests.end_to_end.program import Program, bridge

PAGE = (Path(__file__).parents[1] / "docs" / "writing-a-sink.md").read_text("utf-8")
SINK, PROOF, ALONE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MODULE = "kube_bridge_table"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place on the path of Python with the package, as pip would have put it there."""
    place = tmp_path_factory.mktemp("site")
    (place / f"{MODULE}.py").write_text(SINK, "utf-8")
    (place / "test_table.py").write_text(PROOF, "utf-8")
    information = place / f"{MODULE}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n", "utf-8")
    [toml] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    [(group, sinks)] = tomllib.loads(toml)["project"]["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in sinks.items())]
    (information / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return place


def test_the_example_is_short_and_strictly_typed(installed: Path) -> None:
    assert len(SINK.splitlines()) < 60
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-incremental",
            installed / f"{MODULE}.py",
            installed / "test_table.py",
        ],
        env=os.environ | {"MYPYPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


async def test_the_example_passes_the_kit_as_the_page_shows(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    await importlib.import_module("test_table").test_table(tmp_path)


def test_the_proof_runs_without_a_test_runner(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_table.py").write_text(f"{PROOF}\n\n{ALONE}", "utf-8")
    ran = subprocess.run(
        [sys.executable, tmp_path / "test_table.py"],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_image_has_the_package_where_its_python_looks_and_is_of_this_version() -> None:
    [lines] = re.findall(r"```dockerfile\n(.*?)```", PAGE, re.DOTALL)
    image = (Path(__file__).parents[1] / "deploy" / "Dockerfile").read_text("utf-8")
    assert f"FROM kube-bridge:{__version__}\n" in lines
    [python] = re.findall(r"^FROM python:(\S+)-slim AS sink$", lines, re.MULTILINE)
    assert set(re.findall(r"^FROM python:(\S+)-slim", image, re.MULTILINE)) == {python}
    assert f"COPY --from=sink /sink /opt/kube-bridge/lib/python{python}/site-packages/" in lines
    assert "python -m venv /opt/kube-bridge" in image


def rows(database: Path) -> list[dict[str, object]]:
    with sqlite3.connect(database) as connection:
        # The file is there a moment before the table is.
        if not connection.execute("SELECT * FROM sqlite_master WHERE name = 'records'").fetchall():
            return []
        values = [value for (value,) in connection.execute("SELECT value FROM records ORDER BY rowid")]
    connection.close()
    return [json.loads(value) for value in values]


def configured(folder: Path, url: str) -> Path:
    """The page's sink in a configuration for a cluster at `url`."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sim",
        "clusters": [{"name": "sim", "cluster": {"server": url}}],
        "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": ""}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    [sink] = yaml.safe_load(example)["sinks"]
    config = {
        "configVersion": 1,
        "cluster": {"name": "sim", "kubeconfig": str(folder / "kubeconfig")},
        "state": {"path": str(folder / "state")},
        "streams": [{"name": "configmaps", "resource": "configmaps"}],
        "sinks": [sink | {"database": str(folder / "records.db")}],
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder / "config.yaml"


async def test_a_bridge_delivers_to_the_installed_example(installed: Path, tmp_path: Path) -> None:
    database = tmp_path / "records.db"
    simulator = Simulator()
    environ = {"PYTHONPATH": str(installed)}

    def check() -> tuple[int, str]:
        with Program(bridge("check", "--offline", "-c", config), tmp_path, environ) as program:
            return program.end(), program.err

    def run() -> int:
        with Program(bridge("run", "-c", config), tmp_path, environ) as program:
            program.wait(lambda: database.exists() and len(rows(database)) >= 4, "the rows of the objects")
            program.signal(signal.SIGTERM)
            return program.end()

    async with simulator.serve() as url:
        config = configured(tmp_path, url)
        for number in range(2):
            simulator.cluster.create("configmaps", {"metadata": {"name": f"c{number}"}})
        assert await trio.to_thread.run_sync(check) == (0, "")
        assert await trio.to_thread.run_sync(run) == 0
    found = [(row["type"], row.get("name")) for row in rows(database)]
    assert found[0] == ("RESYNC", None)
    assert set(found) >= {("ADDED", "c0"), ("ADDED", "c1")}
