"""Writes to the API server at a steady rate: creates, patches, deletes, recreations; reproducible by seed."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.components.cluster import Cluster

__all__ = ["CRD", "RESOURCES", "Loader", "Target"]

GROUP = "truth.example.com"
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


@dataclass(frozen=True)
class Target:
    """One resource to write to: where it is, what a body looks like."""

    path: str
    api_version: str
    kind: str
    field: str

    def body(self, name: str, value: str) -> dict[str, Any]:
        """A whole object."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": name, "annotations": {"decoy": '"resourceVersion":"1"},"uid":"x"'}},
            **self.patch(value),
        }

    def patch(self, value: str) -> dict[str, Any]:
        """A merge patch that changes it."""
        return {self.field: {"value": value}}


RESOURCES = (
    Target("/api/v1/namespaces/{}/configmaps", "v1", "ConfigMap", "data"),
    Target("/api/v1/namespaces/{}/secrets", "v1", "Secret", "stringData"),
    Target(f"/apis/{GROUP}/v1/namespaces/{{}}/widgets", f"{GROUP}/v1", "Widget", "spec"),
)


class Loader:
    """Threads that write until stopped; each owns its names, so every outcome is known.

    Args:
        cluster: what is written to.
        namespaces: where.
        seed: of the choice of operations.
        rate: writes a second, all threads together.
        threads: how many connections.
        prefix: of all names, so that a second loader does not meet what the first one left.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespaces: Sequence[str],
        *,
        seed: int,
        rate: float = 300,
        threads: int = 4,
        prefix: str = "t",
    ) -> None:
        self.writes = 0
        self.errors: list[str] = []
        self._cluster = cluster
        self._prefix = prefix
        self._namespaces = namespaces
        self._stop = threading.Event()
        self._pause = threads / rate
        self._threads = [
            threading.Thread(target=self._run, args=(index, random.Random(f"{seed}/{index}")), daemon=True)
            for index in range(threads)
        ]

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; every write that was begun has its answer when this returns."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, index: int, rng: random.Random) -> None:
        exists: set[str] = set()
        due = time.monotonic()
        with self._cluster.client() as client:
            while not self._stop.is_set():
                target = rng.choice(RESOURCES)
                namespace = rng.choice(self._namespaces)
                name = f"{self._prefix}{index}-{rng.randrange(25)}"
                self._write(client, rng, target, target.path.format(namespace), name, exists)
                due += self._pause
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _write(
        self,
        client: httpx.Client,
        rng: random.Random,
        target: Target,
        path: str,
        name: str,
        exists: set[str],
    ) -> None:
        key = f"{path}/{name}"
        value = rng.randbytes(rng.choice((8, 100, 4000))).hex()  # does not compress, so the log must fold
        if key not in exists:
            response = client.post(path, json=target.body(name, value))
            exists.add(key)
        elif rng.random() < 0.25:
            response = client.delete(key)
            exists.discard(key)
        else:
            headers = {"Content-Type": "application/merge-patch+json"}
            response = client.patch(key, json=target.patch(value), headers=headers)
        self.writes += 1
        if response.is_error:
            self.errors.append(
                f"{response.request.method} {key}: {response.status_code} {response.text[:200]}"
            )
