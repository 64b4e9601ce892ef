"""The replay server speaks enough of the API for every client that is compared."""

import json
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bench.__main__ import measure
from tests.bench.documents import AGGREGATED
from tests.bench.pods import LAST_LISTED
from tests.bench.stage import Server, Stage

_PODS, _EVENTS = 5, 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(Stage(tmp_path_factory.mktemp("bench")), pods=_PODS, events=_EVENTS) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(server.stage.authority))
    with httpx.Client(base_url=server.url, verify=context, trust_env=False) as connected:
        yield connected


def _lines(client: httpx.Client, count: int, **parameters: str) -> list[dict[str, Any]]:
    """The first lines of a watch; each arrives as one chunk."""
    found: list[dict[str, Any]] = []
    with client.stream("GET", "/api/v1/pods", params={"watch": "true", **parameters}) as answer:
        for chunk in answer.iter_raw():
            found += [json.loads(line) for line in chunk.splitlines()]
            if len(found) >= count:
                break
    return found


def test_a_paged_list_holds_every_pod_once(client: httpx.Client) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = client.get("/api/v1/pods", params={"limit": "2", "continue": token}).json()
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert len(set(names)) == len(names) == _PODS


def test_a_streamed_list_ends_with_its_mark_and_goes_on_with_the_live_events(client: httpx.Client) -> None:
    parameters = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    lines = _lines(client, _PODS + 1 + _EVENTS, allowWatchBookmarks="true", **parameters)
    kinds = [line["type"] for line in lines[: _PODS + 1 + _EVENTS]]
    assert kinds == ["ADDED"] * _PODS + ["BOOKMARK"] + ["MODIFIED"] * _EVENTS
    marks = lines[_PODS]["object"]["metadata"]["annotations"]
    assert marks == {"k8s.io/initial-events-end": "true"}


def test_a_watch_resumes_behind_the_revision_that_it_names(client: httpx.Client) -> None:
    (first, *_) = _lines(client, 1, resourceVersion=str(LAST_LISTED + 7))
    assert first["object"]["metadata"]["resourceVersion"] == str(LAST_LISTED + 8)


def test_discovery_is_served_in_one_document_to_who_asks_for_it(client: httpx.Client) -> None:
    answer = client.get("/api", headers={"Accept": f"{AGGREGATED},application/json"})
    assert answer.headers["content-type"] == AGGREGATED
    resources = answer.json()["items"][0]["versions"][0]["resources"]
    assert [each["resource"] for each in resources] == ["namespaces", "pods"]
    assert client.get("/api").json()["kind"] == "APIVersions"


def test_what_is_not_there_is_a_status(client: httpx.Client) -> None:
    answer = client.get("/apis/apps/v1/deployments")
    assert (answer.status_code, answer.json()["kind"]) == (404, "Status")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, the baseline of the benchmark")
def test_a_quick_run_gives_figures_of_curl_and_of_the_bridge(tmp_path: Path) -> None:
    """Nothing is said about how fast: only that the whole way works."""
    rows = {row.name: row for row in measure(tmp_path, quick=True, only="speed")}
    for name in ("curl | cat", "kube-bridge watch", "kube-bridge run"):
        assert not isinstance(rows[f"{name}: live events"].spread, str), rows[f"{name}: live events"].spread
    for name in ("kube-bridge watch / curl | cat", "kube-bridge run: written beside the file, full speed"):
        assert not isinstance(rows[name].spread, str)
