"""The demo's workload: lively, believable, reproducible, and over when it says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from bridge.simulator import Cluster
from bridge.simulator.churn import churn
from bridge.simulator.encode import object_bytes

if TYPE_CHECKING:
    from trio.testing import MockClock


def virtual_time() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())


async def live(seed: int, seconds: float) -> Cluster:
    cluster = Cluster(seed=seed, clock=virtual_time)
    await churn(cluster, seconds=seconds, seed=seed)
    return cluster


def story(cluster: Cluster) -> list[tuple[int, str, str, bytes]]:
    found = []
    for kind in cluster.kinds:
        for change in cluster.stored(kind.resource).changes:
            what = "DELETED" if change.current is None else "MODIFIED" if change.previous else "ADDED"
            obj = change.current or change.previous or {}
            found.append((change.revision, what, kind.resource, object_bytes(obj, kind)))
    return sorted(found)


async def test_it_ends_after_its_time_and_shows_every_kind_of_change(
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    start = trio.current_time()
    cluster = await live(seed=1, seconds=30)
    assert trio.current_time() - start == pytest.approx(30)
    count = Counter((what, resource) for _, what, resource, _ in story(cluster))
    for resource in ("pods", "deployments.apps", "replicasets.apps", "jobs.batch", "namespaces"):
        for what in ("ADDED", "MODIFIED", "DELETED"):
            assert count[what, resource] or (what, resource) == ("DELETED", "deployments.apps"), (
                what,
                resource,
            )
    assert count["MODIFIED", "configmaps"]
    assert count["ADDED", "events"]


@pytest.mark.parametrize("seconds", [0.0, 10.0])
async def test_the_first_seconds_are_lively(
    seconds: float,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    changes = [entry for entry in story(await live(seed=3, seconds=seconds)) if entry[2] == "pods"]
    assert len(changes) > 5 * seconds or not seconds


@pytest.mark.parametrize("seed", range(20))
async def test_a_pod_is_deleted_within_four_seconds_whatever_the_seed(
    seed: int,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    """Who tries the demo for a moment sees what the bridge is for."""
    kinds = {what for _, what, resource, _ in story(await live(seed, seconds=4.0)) if resource == "pods"}
    assert kinds == {"ADDED", "MODIFIED", "DELETED"}


async def test_the_same_seed_and_clock_write_the_same_history(
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    begin = trio.current_time()
    told = []
    for _ in range(2):
        cluster = Cluster(seed=5, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        await churn(cluster, seconds=40, seed=5)
        told.append(story(cluster))
    assert told[0] == told[1]
    assert trio.current_time() - begin == pytest.approx(80)


@pytest.mark.parametrize("seed", range(4))
async def test_it_lives_long_with_any_seed_and_does_not_grow_without_bound(
    seed: int,
    autojump_clock: MockClock,  # noqa: ARG001 - makes time virtual
) -> None:
    cluster = await live(seed, 100)
    assert len(cluster.objects("pods")) < 40
    assert len(cluster.objects("jobs.batch")) <= 4
    for pod in cluster.objects("pods"):
        assert 2_000 < len(object_bytes(pod, cluster.kinds.named("pods"))) < 8_000
