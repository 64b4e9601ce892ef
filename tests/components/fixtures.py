"""Fixtures with real clusters, by ``pytest_plugins = ["tests.components.fixtures"]``; lazy."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from tests.components.build import OLD, ComponentUnavailable
from tests.components.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


class StartCluster(Protocol):
    """Starts a private cluster that ends with the test; takes the arguments of ``Cluster``."""

    def __call__(self, **options: Any) -> Cluster: ...


@contextlib.contextmanager
def _running(request: pytest.FixtureRequest, **options: Any) -> Iterator[Cluster]:
    """A cluster for a fixture; where it cannot be had, the test is skipped, but fails in CI."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    failed_before = request.session.testsfailed
    try:
        # A first build takes minutes: its progress must be seen.
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            cluster = Cluster(**options)
    except ComponentUnavailable as missing:
        unavailable(missing)
    with cluster:
        yield cluster
        if request.session.testsfailed > failed_before:
            cluster.keep_logs()


def unavailable(missing: ComponentUnavailable) -> NoReturn:
    """Skips the test with what is missing as the reason; in CI, where nothing may be skipped, it fails."""
    if os.environ.get("CI", "").lower() in {"", "0", "false"}:
        pytest.skip(str(missing))
    pytest.fail(f"real components must be there in CI: {missing}", pytrace=False)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The shared cluster of the current version: use a namespace of your own, do not restart or stop it."""
    with _running(request) as running:
        yield running


@pytest.fixture(scope="session")
def old_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The shared cluster of the oldest version that the tests know; the rules of ``cluster`` hold."""
    with _running(request, version=OLD) as running:
        yield running


@pytest.fixture
def namespace(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """A new namespace on the shared cluster, named after the test; never removed, the cluster ends anyway."""
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    name = f"t{next(_numbers)}-{slug}".rstrip("-")
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
def start_cluster(request: pytest.FixtureRequest) -> Iterator[StartCluster]:
    """A factory of private clusters, for tests that stop, hurt or configure one; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Cluster:
            return stack.enter_context(_running(request, **options))

        yield start
