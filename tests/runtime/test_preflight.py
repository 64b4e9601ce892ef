"""`check` against a server: what it warns of, and what it lets pass because `run` does too."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Config, StateConfig, load
from bridge.runtime import preflight
from bridge.simulator import Simulator
from sinks.jsonlines.sink import JsonLines


def configured(folder: Path, url: str, *, out: str = "-", **cluster: str) -> Config:
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    config: dict[str, Any] = {
        "cluster": {"name": "test", "kubeconfig": str(folder / "kubeconfig"), **cluster},
        "state": {"path": str(folder / "state")},
        "streams": [{"name": "pods", "apiVersion": "v1", "kind": "Pod"}],
        "sinks": [{"name": "out", "type": "jsonlines", "path": out}],
    }
    (folder / "bridge.yaml").write_text(json.dumps(config))
    return load(folder / "bridge.yaml")


@pytest.mark.parametrize(
    ("cluster", "granted", "told"),
    [
        ({}, [], ["get namespaces kube-system", "list events in namespace default"]),
        ({"uid": "u"}, [], ["list events in namespace default"]),
        ({}, ["namespaces", "events"], []),
    ],
)
async def test_check_warns_of_what_a_bridge_does_not_need_and_is_better_off_with(
    cluster: dict[str, str],
    granted: list[str],
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(preflight, "short_lived", lambda _: "")
    simulator = Simulator()
    simulator.access.add("t", "bridge")
    simulator.access.allow("bridge", ["get", "list", "watch"], ["pods"])
    simulator.access.allow("bridge", ["get", "list"], granted)
    async with simulator.serve() as url:
        assert await preflight.check(configured(tmp_path, url, **cluster)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "ok"
    warnings = [line for line in said if line.startswith("warning: ")]
    assert [line.partition("may not ")[2].partition(":")[0] for line in warnings] == told
    assert all("add to a " in line for line in warnings)


async def test_a_sink_that_cannot_say_what_owning_means_hides_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: JsonLines) -> str:
        raise RuntimeError("boom")

    monkeypatch.setattr(JsonLines, "ownership", property(fails))
    async with Simulator().serve() as url:
        with pytest.raises(preflight.NotReady) as caught:
            await preflight.check(configured(tmp_path, url, out=str(tmp_path / "none" / "out")))
    assert "  - sink out: it cannot tell (RuntimeError('boom')); report that to" in str(caught.value)
    assert "its directory does not exist" in str(caught.value), "it is asked on"
    assert "sink out: jsonlines\n" in capsys.readouterr().out


async def test_a_file_in_the_folder_that_run_makes_for_the_state_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Simulator().serve() as url:
        assert await preflight.check(configured(tmp_path, url, out="./state/out.jsonl")) == 0
        with pytest.raises(preflight.NotReady, match=r"state/deeper/out.jsonl: its directory does not exist"):
            await preflight.check(configured(tmp_path, url, out="./state/deeper/out.jsonl"))
    assert not (tmp_path / "state").exists(), "it looks and makes nothing"
    assert "ok\n" in capsys.readouterr().out


async def test_a_state_that_cannot_be_made_is_told_with_the_folder_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda *_: False)
    async with Simulator().serve() as url:
        config = configured(tmp_path, url)
        (tmp_path / "deep").mkdir()
        config = replace(config, state=StateConfig(Path("deep/state")))
        told = f"state.path '{tmp_path}/deep/state' cannot be written: make '{tmp_path}/deep' writable"
        with pytest.raises(preflight.NotReady, match=re.escape(told)):
            await preflight.check(config)
