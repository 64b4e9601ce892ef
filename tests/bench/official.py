"""The official Python client as a baseline: ``watch.Watch`` with raw dicts, which it only counts.

``python -m tests.bench.official URL CA EVENTS``: prints when the first and when the last event had come.
"""

import json
import sys
import time
from typing import Any

from kubernetes import client, watch

from tests.bench.pods import LAST_LISTED

__all__: list[str] = []


def _tell(what: str, lines: int) -> None:
    sys.stdout.write(json.dumps({"what": what, "at": time.monotonic(), "lines": lines}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Counts, then waits to be killed."""
    url, authority, wanted = sys.argv[1:]
    configuration = client.Configuration(host=url)
    configuration.ssl_ca_cert = authority
    configuration.no_proxy = "127.0.0.1"
    core = client.CoreV1Api(client.ApiClient(configuration))

    def pods(**arguments: Any) -> Any:  # without a return type, Watch hands out dicts
        return core.list_pod_for_all_namespaces(**arguments)

    target = int(wanted)
    stream: Any = watch.Watch  # the package has no types
    begin = str(LAST_LISTED) if target > 1 else None
    for count, _ in enumerate(stream().stream(pods, resource_version=begin), 1):
        if count == 1:
            _tell("first ADDED", count)
        if count == target:
            _tell("drained", count)


if __name__ == "__main__":
    main()
