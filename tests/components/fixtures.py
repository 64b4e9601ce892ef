"""Fixtures with real clusters and brokers, by ``pytest_plugins = ["tests.components.fixtures"]``; lazy."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import pytest

from tests.components.build import OLD, ComponentUnavailable
from tests.components.cluster import Cluster
from tests.components.kafka import Broker, Kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_numbers = itertools.count(1)
Part = TypeVar("Part", Cluster, Kafka)


class StartCluster(Protocol):
    """Starts a private cluster that ends with the test; takes the arguments of ``Cluster``."""

    def __call__(self, **options: Any) -> Cluster: ...


class StartKafka(Protocol):
    """Starts a private broker that ends with the test; takes its properties, and the size of its disk."""

    def __call__(
        self, properties: Mapping[str, str] | None = None, *, disk_mebibytes: int | None = None
    ) -> Broker: ...


class StartBrokers(Protocol):
    """Starts a private cluster of brokers that ends with the test; the first is its controller."""

    def __call__(self, brokers: int, properties: Mapping[str, str] | None = None) -> list[Broker]: ...


@contextlib.contextmanager
def _part(request: pytest.FixtureRequest, kind: Callable[..., Part], **options: Any) -> Iterator[Part]:
    """A cluster or broker for a fixture; where it cannot be had, the test is skipped, but fails in CI."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    failed_before = request.session.testsfailed
    try:
        # A first build takes minutes: its progress must be seen.
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            part = kind(**options)
    except ComponentUnavailable as missing:
        unavailable(missing)
    with part:
        yield part
        if request.session.testsfailed > failed_before:
            part.keep_logs()


def _running(request: pytest.FixtureRequest, **options: Any) -> contextlib.AbstractContextManager[Cluster]:
    return _part(request, Cluster, **options)


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


@pytest.fixture(scope="module")
def hurt_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster that the tests of one module may restart, compact and restore; each leaves it running."""
    with _running(request) as running:
        yield running


@pytest.fixture
def start_cluster(request: pytest.FixtureRequest) -> Iterator[StartCluster]:
    """A factory of private clusters, for tests that stop, hurt or configure one; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Cluster:
            return stack.enter_context(_running(request, **options))

        yield start


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The shared broker: use topics of your own, do not restart or stop it."""
    with _part(request, Kafka) as running:
        yield running.broker


@pytest.fixture(scope="module")
def _kafka_of_the_module(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with _part(request, Kafka) as running:
        yield running.broker


@pytest.fixture
def hurt_kafka(_kafka_of_the_module: Broker) -> Broker:
    """A broker that the tests of one module may stop and freeze in turn; it runs when a test begins."""
    broker = _kafka_of_the_module
    if not broker.running:
        broker.start()
    return broker


@pytest.fixture
def start_kafka(request: pytest.FixtureRequest) -> Iterator[StartKafka]:
    """A factory of private brokers, for tests that stop, hurt or configure one; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(
            properties: Mapping[str, str] | None = None, *, disk_mebibytes: int | None = None
        ) -> Broker:
            part = _part(request, Kafka, properties=properties, disk_mebibytes=disk_mebibytes)
            return stack.enter_context(part).broker

        yield start


@pytest.fixture
def start_brokers(request: pytest.FixtureRequest) -> Iterator[StartBrokers]:
    """A factory of private clusters of brokers, for tests that move leaders; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(brokers: int, properties: Mapping[str, str] | None = None) -> list[Broker]:
            part = _part(request, Kafka, properties=properties, brokers=brokers)
            return stack.enter_context(part).brokers

        yield start
