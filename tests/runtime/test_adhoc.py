"""What an ad hoc watch takes for granted, so that it starts fast."""

from importlib.metadata import entry_points

from bridge.runtime.adhoc import STDOUT


def test_standard_output_is_the_sink_that_the_entry_point_names() -> None:
    (entry,) = entry_points(group="kube_bridge.sinks", name="jsonlines")
    assert entry.value == STDOUT
