"""The commands that talk to a running bridge, from outside: a real `run`, its socket, a real API server."""

import json
import signal
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.components.cluster import Cluster
from tests.end_to_end.objects import CONFIGMAPS, configmap
from tests.end_to_end.program import Program, RunBridge, Service, StartService, fold

pytest_plugins = ["tests.components.fixtures"]


@pytest.fixture
def service(cluster: Cluster, namespace: str, start_service: StartService) -> Service:
    """A bridge with two files, over a namespace where one ConfigMap exists; it is live."""
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("first"))
    stream: dict[str, object] = {
        "name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace],
    }  # fmt: skip
    service = start_service(cluster, [stream])
    other = service.folder / "other.jsonl"
    service.document["sinks"].append({"name": "other", "type": "jsonlines", "path": str(other)})
    service.start().wait_listed()
    service.wait(lambda: any(r.get("phase") == "end" for r in records(other)), "the other sink's")
    service.program.wait_err('"live"')
    return service


def done(program: Program) -> str:
    assert program.end() == 0, program.err
    return program.out.decode()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def has_snapshot(path: Path) -> bool:
    return len(marked(records(path))) == 3


def marked(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(r["type"], r.get("name") or r["phase"]) for r in found if "snapshot" in r]


def test_status_says_what_each_stream_and_sink_does(
    service: Service, namespace: str, run_bridge: RunBridge
) -> None:
    status = json.loads(done(run_bridge("status", "-c", service.config)))
    assert [(s["stream"], s["namespace"], s["state"]) for s in status["streams"]] == [
        ("cm", namespace, "live")
    ]
    assert [(s["sink"], s["state"], s["deadLetters"]) for s in status["sinks"]] == [
        ("out", "delivering", 0), ("other", "delivering", 0),
    ]  # fmt: skip
    table = done(run_bridge("status", "--state", service.state, "-o", "table"))
    lines = [line.split() for line in table.splitlines()]
    assert ["cm", namespace, "live"] in [line[:3] for line in lines]
    assert ["other", "delivering", "0"] in [line[:3] for line in lines]


def test_only_the_owner_may_talk_to_it_and_a_killed_bridge_leaves_nothing_in_the_way(
    service: Service, run_bridge: RunBridge
) -> None:
    path = service.state / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    service.kill()
    assert path.exists()
    code, sentence = run_bridge("status", "-c", service.config).failure()
    assert code == 1
    assert "no bridge runs on the state" in sentence
    assert str(service.state) in sentence
    service.start()
    service.wait(
        lambda: '"live"' in run_bridge("status", "-c", service.config).finished(), "to be live again"
    )
    assert service.stop() == 0
    assert not path.exists()


def test_a_snapshot_goes_to_the_sink_that_it_was_asked_for_and_to_no_other(
    service: Service, run_bridge: RunBridge
) -> None:
    other = service.folder / "other.jsonl"
    said = done(run_bridge("snapshot", "-c", service.config, "--stream", "cm", "--sink", "other"))
    assert "other" in said
    service.wait(lambda: len(marked(records(other))) == 3, "the snapshot")
    assert marked(records(other)) == [("RESYNC", "begin"), ("ADDED", "first"), ("RESYNC", "end")]
    assert marked(service.records()) == []
    (added,) = [r for r in records(other) if r["type"] == "ADDED" and "snapshot" in r]
    assert added["id"].endswith(f"/U/s{added['snapshot']}")
    assert done(run_bridge("snapshot", "-c", service.config, "--stream", "cm"))
    service.wait(lambda: len(marked(records(other))) == 6, "another snapshot")
    service.wait(lambda: len(marked(service.records())) == 3, "the other sink's")


def test_a_paused_sink_keeps_its_place_and_the_other_one_goes_on(
    service: Service, cluster: Cluster, namespace: str, run_bridge: RunBridge
) -> None:
    other = service.folder / "other.jsonl"
    assert "paused" in done(run_bridge("pause", "-c", service.config, "--sink", "other"))
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("second"))
    service.wait_types("second", "ADDED")
    status = json.loads(done(run_bridge("status", "-c", service.config)))
    paused = status["sinks"][1]
    assert (paused["state"], paused["lag"]["records"]) == ("paused", 1)
    assert paused["lag"]["seconds"] >= 0
    assert "second" not in {record.get("name") for record in records(other)}
    assert done(run_bridge("resume", "-c", service.config, "--sink", "other")) == "other: resumed\n"
    said = done(run_bridge("resume", "-c", service.config, "--sink", "out"))
    assert said == "out: was not paused; it is delivering\n"
    service.wait(lambda: "second" in {record.get("name") for record in records(other)}, "what it has missed")


def test_a_sink_that_joins_later_or_goes_elsewhere_gets_what_exists(
    service: Service, cluster: Cluster, namespace: str
) -> None:
    assert service.stop() == 0
    late = service.folder / "late.jsonl"
    service.document["sinks"][1]["path"] = str(service.folder / "moved.jsonl")
    service.document["sinks"].append({"name": "late", "type": "jsonlines", "path": str(late)})
    service.start()
    for path in (late, service.folder / "moved.jsonl"):
        service.wait(partial(has_snapshot, path), f"a snapshot in {path.name}")
        assert {r["cause"] for r in records(path) if "snapshot" in r and r["type"] == "RESYNC"} == {
            "firstStart"
        }
        assert fold(records(path)) == fold(service.records())
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("second"))
    service.wait(lambda: "second" in {r.get("name") for r in records(late)}, "live records")
    assert service.stop() == 0
    before = late.read_bytes()
    service.start().program.wait_err('"live"')
    assert service.stop() == 0
    assert late.read_bytes() == before, "a snapshot is owed once"


def test_a_sink_that_takes_one_more_stream_gets_what_exists_of_it_and_an_old_name_is_told(
    service: Service,
) -> None:
    other, stream = service.folder / "other.jsonl", service.document["streams"][0]
    assert service.stop() == 0
    service.document["streams"].append({**stream, "name": "again"})
    service.document["sinks"][1]["streams"] = ["cm"]
    service.start()
    service.wait(lambda: "again" in {r["stream"] for r in service.records()}, "the second stream")
    assert service.stop() == 0
    assert {r["stream"] for r in records(other)} == {"cm"}
    del service.document["sinks"][1]["streams"]
    service.start()
    service.wait(partial(has_snapshot, other), "a snapshot")
    assert {r["stream"] for r in records(other) if "snapshot" in r} == {"again"}
    assert marked(service.records()) == []
    assert service.stop() == 0
    before = other.read_bytes()
    service.start().program.wait_err('"live"')
    assert service.stop() == 0
    assert other.read_bytes() == before, "a snapshot is owed once"
    service.document["streams"].pop()
    service.start().program.wait_err("give it its old name back")
    assert service.stop() == 0


UNKNOWN = [
    (("snapshot", "--stream", "nope"), ("no stream 'nope'", "cm")),
    (("snapshot", "--stream", "cm", "--sink", "nope"), ("no sink 'nope'", "out, other")),
    (("pause", "--sink", "nope"), ("no sink 'nope'",)),
    (("redrive", "--sink", "nope"), ("no sink 'nope'",)),
    (("redrive", "--sink", "out", "--id", "9" * 26), ("ids of dead letters are numbers",)),
    (("deadletters", "show", "--id", "7"), ("no dead letter 7",)),
    (("deadletters", "purge"), ("--id --all",)),
    (("deadletters", "purge", "--id", "7"), ("no dead letter 7,", "nothing was done")),
    (("redrive", "--sink", "out", "--id", "7"), ("no dead letter 7 of the sink out",)),
    (("deadletters", "show", "--id", "x"), ("'x' is no id",)),
]


def test_a_name_that_it_does_not_know_is_exit_2_and_says_which_there_are(
    service: Service, run_bridge: RunBridge
) -> None:
    for arguments, words in UNKNOWN:
        count = 2 if arguments[0] == "deadletters" else 1
        program = run_bridge(*arguments[:count], "-c", service.config, *arguments[count:])
        code, sentence = program.failure()
        assert code == 2
        for word in words:
            assert word in sentence


def test_without_a_bridge_to_talk_to_it_says_how_to_name_one(run_bridge: RunBridge, tmp_path: Path) -> None:
    code, sentence = run_bridge("status").failure()
    assert code == 2
    assert "--config" in sentence
    assert "--state" in sentence
    code, sentence = run_bridge("status", "--state", "nothing").failure()
    assert code == 1
    assert f"no bridge runs on the state in '{tmp_path}/nothing': " in sentence
    elsewhere = tmp_path / "c.yaml"
    elsewhere.write_text("state: {path: nothing}\nsinks: [{type: webhook, signingSecret: {file: none}}]\n")
    code, of_file = run_bridge("status", "-c", elsewhere).failure()
    assert (code, of_file) == (1, sentence), "nothing but the place of the state is read of the file"


def test_a_bridge_without_dead_letters_lists_none(service: Service, run_bridge: RunBridge) -> None:
    assert done(run_bridge("deadletters", "list", "-c", service.config)) == ""
    assert done(run_bridge("deadletters", "purge", "-c", service.config, "--all")) == "0 purged\n"
    said = done(run_bridge("redrive", "-c", service.config, "--sink", "out"))
    assert said == "0 redriven, 0 superseded\n"


def test_a_log_that_was_rotated_by_others_is_opened_anew_at_sighup(
    service: Service, cluster: Cluster, namespace: str
) -> None:
    rotated = service.folder / "out.jsonl.1"
    service.out.rename(rotated)
    service.program.signal(signal.SIGHUP)
    service.program.wait_err("SIGHUP")
    cluster.request("POST", CONFIGMAPS.format(namespace), configmap("second"))
    service.wait(lambda: [r.get("name") for r in service.records()] == ["second"], "the new file")
    assert [r["name"] for r in records(rotated) if r["type"] == "ADDED"] == ["first"]
    assert service.stop() == 0
