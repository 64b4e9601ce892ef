"""How seldom Python looks for garbage in cycles."""

import gc
from collections.abc import Iterator

import pytest

from bridge.collector import loading


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_modules_are_not_looked_at_again() -> None:
    with loading():
        assert not gc.isenabled()
        module: list[object] = [[]]
    assert gc.isenabled()
    assert not any(each is module for each in gc.get_objects())


def test_a_delivery_of_records_on_its_way_makes_nobody_look_for_garbage() -> None:
    with loading():
        pass
    gc.collect()
    looked = gc.get_stats()[0]["collections"]
    on_their_way = [[("id", str(number))] for number in range(4000)]
    assert gc.get_stats()[0]["collections"] == looked
    assert len(on_their_way) == 4000


def test_an_error_while_loading_leaves_the_collector_at_work() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError("no such module")
    assert gc.isenabled()
