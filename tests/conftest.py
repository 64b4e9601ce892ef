"""What every test of the suite shares."""

from hypothesis import settings

pytest_plugins = ["tests.components.fixtures"]

# A deadline would measure the neighbours on a shared machine.
settings.register_profile("bridge", deadline=None)
settings.load_profile("bridge")
