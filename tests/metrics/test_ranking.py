import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.metrics.ranking import badness, failing_rows, leading_metric, worst_cases
from medseg.metrics.table import Row, ScoreTable

SCORES = st.lists(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1), st.just(math.nan)), max_size=12)


def table_of(values, metric="Dice"):
    return ScoreTable(tuple(Row(f"c{n}", "", "liver", {metric: value}) for n, value in enumerate(values)))


@settings(max_examples=40)
@given(SCORES)
def test_the_worst_five_are_the_worst_five(values):
    worst = worst_cases(table_of(values), "Dice")
    assert len(worst) == len(set(worst)) == min(5, len(values))
    lowest = [badness("Dice", values[int(case[1:])]) for case in worst]
    others = [badness("Dice", value) for n, value in enumerate(values) if f"c{n}" not in worst]
    assert lowest == sorted(lowest, reverse=True)
    assert not others or max(others) <= min(lowest)


def test_of_distances_the_largest_is_the_worst_and_an_undefined_one_before_it():
    assert worst_cases(table_of([1.0, math.inf, 9.0], "HD95"), "HD95") == ("c1", "c2", "c0")
    assert worst_cases(table_of([0.9, math.nan, 0.2]), "Dice", 2) == ("c1", "c2")
    assert worst_cases(table_of([0.5, 0.5]), "Dice") == ("c0", "c1")


def test_a_case_is_ranked_by_the_mean_of_its_labels():
    rows = [Row("a", "", "x", {"Dice": 0.0}), Row("a", "", "y", {"Dice": 1.0}), Row("b", "", "x", {"Dice": 0.4})]
    assert worst_cases(ScoreTable(tuple(rows)), "Dice") == ("b", "a")


def test_failures_are_the_labels_below_the_threshold_worst_first():
    table = table_of([0.6, 0.5, 0.1, math.nan, 0.49])
    assert [row.case for row in failing_rows(table, "Dice", 0.5)] == ["c3", "c2", "c4"]
    assert failing_rows(table_of([0.5, 0.9]), "Dice", 0.5) == ()


@pytest.mark.parametrize(
    ("metrics", "leading"), [(("Dice", "AP@0.5"), "AP@0.5"), (("IoU", "Dice"), "Dice"), (("x", "y"), "x")]
)
def test_the_leading_metric(metrics, leading):
    assert leading_metric(ScoreTable((Row("a", "", "x", dict.fromkeys(metrics, 1.0)),))) == leading
