"""How series of streams and sinks are written. Labels are bounded: what is no closed set is cut."""

from collections.abc import Mapping
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["add", "counter", "gauge", "labelled"]

_MOST_VALUES: Final = 32
"""Values of one label that is not a closed set; the rest are added up as "other"."""

Family = CounterMetricFamily | GaugeMetricFamily
_F = TypeVar("_F", CounterMetricFamily, GaugeMetricFamily)


def counter(name: str, text: str, values: Mapping[str, int], label: str = "stream") -> Metric:
    """A counter with a value for each owner."""
    family = CounterMetricFamily(f"kube_bridge_{name}", text, labels=[label])
    for owner, value in values.items():
        family.add_metric([owner], value)
    return family


def gauge(name: str, text: str, values: Mapping[str, float], label: str = "stream") -> Metric:
    """A gauge with a value for each owner."""
    family = GaugeMetricFamily(f"kube_bridge_{name}", text, labels=[label])
    for owner, value in values.items():
        family.add_metric([owner], value)
    return family


def labelled(kind: type[_F], name: str, text: str, label: str, owner: str = "stream") -> _F:
    """A family with a label beside the owner's."""
    return kind(f"kube_bridge_{name}", text, labels=[owner, label])


def add(family: Family, owner: str, values: Mapping[str, float]) -> None:
    """Add a value each, at most `_MOST_VALUES`; the first ones stay, so that no counter goes back."""
    items = list(values.items())
    for word, value in items[:_MOST_VALUES]:
        family.add_metric([owner, word], value)
    if len(items) > _MOST_VALUES:
        family.add_metric([owner, "other"], sum(value for _, value in items[_MOST_VALUES:]))
