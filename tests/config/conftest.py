"""The sinks that the configuration's tests know; none of the real ones."""

import pytest

from tests.config import fakes


@pytest.fixture(autouse=True)
def fake_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.config.sinks.entry_points", fakes.entry_points)
