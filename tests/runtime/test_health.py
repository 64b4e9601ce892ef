"""Probes: ready is in step with the server once, or in a declared wait; sinks do not count."""

import pytest

from bridge.changes.change import StreamInfo
from bridge.kubernetes.observer import Phase
from bridge.runtime.health import Health
from bridge.store.memory import MemoryLog

POD = StreamInfo("pods", "", "v1", "pods", "Pod")


def health() -> Health:
    return Health(MemoryLog(), ["pods"])


def wrong(checks: dict[str, str]) -> dict[str, str]:
    return {name: why for name, why in checks.items() if why}


async def test_a_bridge_that_has_not_started_its_streams_is_alive_and_not_ready() -> None:
    """[P5]"""
    assert wrong(health().livez()) == {}
    assert wrong(health().readyz()) == {"stream/pods": "not started"}


@pytest.mark.parametrize(
    ("phase", "ready"),
    [
        (Phase.CONNECTING, False),
        (Phase.LISTING, False),
        (Phase.BACKOFF, False),
        (Phase.REFUSED, False),
        (Phase.LIVE, True),
        (Phase.FORBIDDEN, True),
        (Phase.ABSENT, True),
    ],
)
async def test_a_stream_is_ready_when_it_was_live_or_waits_for_what_was_declared(
    phase: Phase, *, ready: bool
) -> None:
    """[P5] Absent and forbidden are waits that a person can see; a backoff at the start is not."""
    probes = health()
    probes.notice(POD, "", phase, "why")
    assert (wrong(probes.readyz()) == {}) == ready


async def test_a_stream_that_was_live_once_stays_ready_while_the_server_is_away() -> None:
    """[P5] A restart of the bridge would not bring the server back."""
    probes = health()
    probes.notice(POD, "", Phase.LIVE, "")
    probes.notice(POD, "", Phase.BACKOFF, "connection refused")
    assert wrong(probes.readyz()) == {}


async def test_every_namespace_of_a_stream_must_be_ready() -> None:
    probes = health()
    probes.notice(POD, "shop", Phase.LIVE, "")
    probes.notice(POD, "pay", Phase.LISTING, "")
    assert wrong(probes.readyz()) == {"stream/pods": "listing in namespace pay"}


async def test_a_server_that_was_never_reached_is_named_and_forgotten_when_it_answers() -> None:
    probes = health()
    probes.unreached("connection refused")
    assert probes.readyz()["cluster"] == "connection refused"
    probes.notice(POD, "", Phase.LIVE, "")
    assert probes.readyz()["cluster"] == ""
