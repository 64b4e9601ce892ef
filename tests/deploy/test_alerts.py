"""deploy/alerts.yaml asks for series that a scrape has, with labels and values that they can have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bridge.changes.change import Cause
from bridge.operations.metrics import PHASES
from bridge.operations.sinkmetrics import SINK_STATES
from tests.operations.test_metrics import metrics, sink, stream

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "alerts.yaml").read_text("utf-8")
DOCUMENTS: dict[str, Any] = {each["kind"]: each for each in yaml.safe_load_all(TEXT)}
RULES: list[dict[str, Any]] = [
    rule for group in DOCUMENTS["PrometheusRule"]["spec"]["groups"] for rule in group["rules"]
]
WORDS = {
    ("kube_bridge_stream_watches", "phase"): PHASES,
    ("kube_bridge_stream_listings_total", "cause"): tuple(Cause),
    ("kube_bridge_sink_state", "state"): SINK_STATES,
}
ADDED_BY_PROMETHEUS = {"namespace", "pod"}


def scraped() -> dict[str, set[str]]:
    """The labels of each series of a bridge in which everything has happened."""
    found: dict[str, set[str]] = {}
    _, body = metrics(stream(), sink()).render()
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def named(text: str) -> set[str]:
    return set(re.findall(r"(?:kube_bridge|process)_\w+", text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_a_scrape_has(rule: dict[str, Any]) -> None:
    series = scraped()
    names = named(rule["expr"])
    assert names
    assert names <= set(series)
    labels = set().union(*(series[name] for name in names)) | ADDED_BY_PROMETHEUS
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= labels
    for name, label, values in re.findall(r'(kube_bridge_\w+){(\w+)(?:=~|!=|=)"([^"]+)"}', rule["expr"]):
        assert set(values.split("|")) <= set(WORDS[name, label])
    assert rule["expr"].count("{") == len(re.findall(r'{\w+(?:=~|!=|=)"[^"]+"}', rule["expr"]))
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_what_was_counted_before_the_first_scrape_is_alerted_for_too() -> None:
    """A restart begins at 0; if the first scrape finds the old count again, `increase` sees nothing."""
    counted = [" ".join(rule["expr"].split()) for rule in RULES if "_total" in rule["expr"]]
    assert counted
    for asked in counted:
        found = re.fullmatch(
            r"increase\((.+)\[15m\]\) > 0 or \((.+) > 0 and on \(job, instance\) (.+)\)", asked
        )
        assert found, asked
        assert found[1] == found[2]
        assert found[3] == f"(time() - process_start_time_seconds < {15 * 60})"


def test_a_sink_that_somebody_paused_does_not_lag_and_one_in_trouble_is_so_in_whichever_state() -> None:
    """A pause has an alert of its own; `for` would begin anew when `starting` becomes `retrying`."""
    asked = {rule["alert"]: rule["expr"] for rule in RULES}
    assert asked["KubeBridgeSinkLags"].endswith(
        ' unless ignoring (state) kube_bridge_sink_state{state="paused"} > 0'
    )
    assert asked["KubeBridgeSinkRetries"].startswith("sum without (state) (")


def test_the_pods_that_are_scraped_are_ours() -> None:
    documents = yaml.safe_load_all((ROOT / "deploy" / "statefulset.yaml").read_text("utf-8"))
    [pod] = [each["spec"]["template"] for each in documents if each["kind"] == "StatefulSet"]
    [container] = pod["spec"]["containers"]
    [port] = container["ports"]
    monitor = DOCUMENTS["PodMonitor"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    assert pod["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port["containerPort"]),
        "prometheus.io/path": "/metrics",
    }


def test_operations_md_names_only_series_that_a_scrape_has_and_all_words_for_what_is_done() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert named(page) <= set(scraped()) | {"kube_bridge_sink_latency_seconds"}
    [table] = re.findall(r"^\| phase of a watch \|.*?\n\n", page, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(PHASES)
    [table] = re.findall(r"^\| state of a sink \|.*?\n\n", page, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(SINK_STATES)
