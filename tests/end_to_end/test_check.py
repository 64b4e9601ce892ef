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
    assert offline.end() == 0
    service.document["sinks"].pop()
    service.write()
    program = run_bridge("check", "-c", service.config)
    assert program.end() == 0, program.err
    assert program.out.decode().splitlines()[-1] == "ok"
