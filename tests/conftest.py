"""What every test of the suite shares."""

import pytest
from hypothesis import settings

pytest_plugins = ["tests.components.fixtures"]

# A deadline would measure the neighbours on a shared machine.
settings.register_profile("bridge", deadline=None)
settings.load_profile("bridge")

_LONG = ("tests/truth/test_", "tests/sinks/test_kafka_", "tests/end_to_end/", "tests/test_components.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the longest modules begin first where several processes share them: none is left for the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
