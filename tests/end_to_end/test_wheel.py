"""Proof 7: the wheel alone, in an empty environment, outside the checkout."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import __version__
from tests.end_to_end.program import Program, clean_environment

ROOT = Path(__file__).parents[2]


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel, the locked dependencies and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT)
    [wheel] = (folder / "dist").iterdir()
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    python = folder / "env" / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    install = [*pip, "install", "--quiet", "--no-compile"]
    _run(*install, "--require-hashes", "--only-binary=:all:", "-r", ROOT / "requirements.lock")
    _run(*install, "--no-deps", "--no-index", wheel)
    _run(*pip, "check")
    return folder / "env" / "bin"


def test_the_demo_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    """It streams creates, changes and deletions of several kinds at once, and ends by itself."""
    with Program([installed / "kube-bridge", "demo", "--seconds", "5"], tmp_path) as demo:
        assert demo.end() == 0
    records = [json.loads(line) for line in demo.out.splitlines()]
    assert {record["type"] for record in records} >= {"ADDED", "MODIFIED", "DELETED"}
    assert len({record["resource"] for record in records}) > 1
    assert "Traceback" not in demo.err


def test_both_commands_are_there(installed: Path, tmp_path: Path) -> None:
    for name, prog in (("kube-bridge", "kube-bridge"), ("kubectl-bridge", "kubectl bridge")):
        with Program([installed / name, "--version"], tmp_path) as version:
            assert version.end() == 0
            assert version.out.decode() == f"kube-bridge {__version__}\n"
        with Program([installed / name, "watch", "--help"], tmp_path) as usage:
            assert usage.end() == 0
            assert usage.out.decode().startswith(f"usage: {prog} watch ")


def test_a_service_finds_its_sink_and_checks_its_configuration(installed: Path, tmp_path: Path) -> None:
    """The sinks are entry points: what works in a checkout could be missing from the wheel."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "configVersion: 1\ncluster: {name: x}\nstate: {path: state}\n"
        "streams: [{name: pods, apiVersion: v1, kind: Pod}]\n"
        "sinks: [{name: out, type: jsonlines, path: '-'}]\n"
    )
    with Program([installed / "kube-bridge", "check", "--offline", "-c", config], tmp_path) as check:
        assert check.end() == 0, check.err
    assert re.search(r"ok \(1 stream, 1 sink\)", check.out.decode())


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    where = "import bridge, sinks; print(bridge.__file__, sinks.__file__)"
    done = subprocess.run(
        [installed / "python", "-c", where],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean_environment(tmp_path),
    )
    assert str(ROOT) not in done.stdout
    assert done.stdout.count("site-packages") == 2
