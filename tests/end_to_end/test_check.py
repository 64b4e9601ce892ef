"""`kube-bridge check`: asks the sinks too, says what done means, and changes nothing."""

from pathlib import Path

from tests.components.cluster import Cluster
from tests.end_to_end.program import RunBridge, StartService

pytest_plugins = ["tests.components.fixtures"]


def test_check_asks_each_sink_what_would_keep_it_from_working(
    cluster: Cluster, start_service: StartService, run_bridge: RunBridge
) -> None:
    service = start_service(cluster, [{"name": "cm", "apiVersion": "v1", "kind": "ConfigMap"}])
    missing = service.folder / "missing" / "out.jsonl"
    service.document["sinks"].append({"name": "bad", "type": "jsonlines", "path": str(missing)})
    service.write()
    program = run_bridge("check", "-c", service.config)
    assert program.end() == 2
    lines = program.out.decode().splitlines()
    assert "sink out: jsonlines; done means: written and synced, once each" in lines
    assert any("sink bad: " in line and str(missing.parent) in line for line in program.err.splitlines())
    assert not Path(service.out).exists()
    assert not missing.parent.exists()
    offline = run_bridge("check", "--offline", "-c", service.config)
    assert offline.end() == 2
    assert f"sinks[1].path: Cannot write to {missing}: its directory does not exist" in offline.err
    service.document["sinks"].pop()
    service.write()
    program = run_bridge("check", "-c", service.config)
    assert program.end() == 0, program.err
    assert program.out.decode().splitlines()[-1] == "ok"


def test_two_names_of_one_resource_in_one_topic_are_found_once_the_cluster_is(
    cluster: Cluster, start_service: StartService, run_bridge: RunBridge
) -> None:
    """Texts cannot tell: `check` says so, and `run` ends as with any mistake of the configuration."""
    service = start_service(
        cluster,
        [
            {"name": "short", "resource": "po", "labelSelector": "none=such"},
            {"name": "kind", "apiVersion": "v1", "kind": "Pod", "labelSelector": "none=such"},
            {"name": "jobs", "resource": "jobs", "labelSelector": "none=such"},
        ],
    )
    service.document["sinks"] = [
        {"name": "out", "type": "kafka", "bootstrapServers": "127.0.0.1:1", "topic": "k8s"}
    ]
    service.write()
    told = (
        "sink out: streams `short` and `kind` can see the same objects, and would overwrite each other in "
        "one topic; write {stream} into the topic, or give each a sink with a topic of its own"
    )
    assert run_bridge("check", "--offline", "-c", service.config).end() == 0
    checked = run_bridge("check", "-c", service.config)
    assert checked.end() == 2
    assert f"  - {told}" in checked.err.splitlines()
    ran = run_bridge("run", "-c", service.config)
    assert ran.end() == 2
    assert ran.err.splitlines()[-1] == f"kube-bridge: {told}"
