"""What a run of the benchmark prints is what its rounds gave."""

import pytest

from tests.bench.speed import Sample, speed_rows
from tests.bench.spread import Spread, ratio
from tests.bench.table import Goal, Row, render


def test_a_ratio_is_taken_round_by_round() -> None:
    """Both slow in one round and both fast in another: the quotient does not spread."""
    assert ratio([10, 100], [20, 200]) == Spread((0.5, 0.5))


def test_a_ratio_of_unequal_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        ratio([1], [1, 2])


def test_a_spread_is_lowest_median_highest() -> None:
    spread = Spread((5, 1, 9, 2))
    assert (spread.low, spread.median, spread.high) == (1, 3.5, 9)


def test_a_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        Spread(())


@pytest.mark.parametrize(
    ("goal", "median", "reached"),
    [
        (Goal(0.25), 0.25, True),
        (Goal(0.25), 0.24, False),
        (Goal(300, at_most=True), 300, True),
        (Goal(300, at_most=True), 301, False),
    ],
)
def test_a_goal_is_judged_by_the_median(goal: Goal, median: float, *, reached: bool) -> None:
    assert goal.reached(Spread((0, median, 10**6))) is reached


def test_a_table_names_what_is_below_its_floor_and_what_has_none() -> None:
    rows = [
        Row("slow", Spread((0.1, 0.2, 0.3)), "x", Goal(0.25)),
        Row("quick", Spread((1234.5,)), "events/s"),
        Row("small", Spread((7,)), "MB", Goal(120, at_most=True)),
    ]
    lines = [line.split() for line in render(rows, markdown=False).splitlines()]
    assert lines[1] == ["slow", "0.1", "0.2", "0.3", "x", ">=", "0.25", "BELOW"]
    assert lines[2] == ["quick", "1,234", "1,234", "1,234", "events/s"]
    assert lines[3] == ["small", "7", "7", "7", "MB", "<=", "120", "reached"]


def test_a_figure_that_could_not_be_had_says_why_and_is_not_judged() -> None:
    (line,) = render([Row("x", "it ended with 2", "ms", Goal(1))], markdown=False).splitlines()[1:]
    assert line.endswith("not measured: it ended with 2")
    assert "BELOW" not in line


def test_markdown_has_one_column_per_head_also_when_a_name_has_a_pipe() -> None:
    head, rule, row = render([Row("curl | cat", Spread((1,)))], markdown=True).splitlines()
    assert row.startswith("| curl \\| cat | 1 | 1 | 1 |")
    assert head.count("|") == rule.count("|") == row.replace("\\|", "").count("|")


def test_a_client_that_failed_takes_its_ratios_with_it_and_no_other() -> None:
    samples: dict[str, list[Sample] | str] = {
        "curl | cat": [Sample(1000, 10, 20, None, 10**6)],
        "official Python client": [Sample(100, 100, 100, None, 10**7)],
        "kube-bridge watch": [Sample(500, 30, 40, None, 10**7)],
        "kube-bridge run": "it ended with 1",
    }
    rows = {row.name: row for row in speed_rows(samples)}
    assert rows["kube-bridge watch / curl | cat"].spread == Spread((0.5,))
    assert rows["kube-bridge watch / curl | cat, by processor time"].spread == Spread((0.5,))
    assert rows["kube-bridge watch / official Python client"].spread == Spread((5.0,))
    for name in ("kube-bridge run / curl | cat", "kube-bridge run: live events"):
        assert isinstance(rows[name].spread, str)
