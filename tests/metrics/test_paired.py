import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.metrics.paired import differing_most, paired, unpaired
from medseg.metrics.table import Refused, Row, ScoreTable

VALUE = st.one_of(st.floats(0, 1), st.just(math.nan), st.just(math.inf))


def table_of(values, metric="Dice", kinds=("a", "b")):
    rows = (Row(f"c{n}", kinds[n % 2], "liver", {metric: value}) for n, value in enumerate(values))
    return ScoreTable(tuple(rows))


def overall(first, second):
    return paired(first, second)[0]


@settings(max_examples=40)
@given(st.lists(VALUE, min_size=1, max_size=12))
def test_identical_scores_differ_by_exactly_nothing(values):
    for one in paired(table_of(values), table_of(values)):
        finite = sum(math.isfinite(values[int(case[1:])]) for case in one.cases)
        assert (one.interval.counted, one.interval.undefined) == (finite, len(one.cases) - finite)
        if finite:
            assert one.interval.mean == 0.0
            assert (one.interval.low, one.interval.high) == (0.0, 0.0) or finite < 3
            assert one.verdict == "same"
        assert set(differing_most(one, len(values))) == {case for case, value in one.cases.items() if math.isnan(value)}


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_the_other_way_round_the_sign_turns(pairs):
    first, second = (table_of(values) for values in zip(*pairs, strict=True))
    there, back = overall(first, second), overall(second, first)
    assert there.interval.mean == pytest.approx(-back.interval.mean)
    assert there.interval.low == pytest.approx(-back.interval.high, nan_ok=True)
    opposite = {"better": "worse", "worse": "better"}
    assert back.verdict == opposite.get(there.verdict, there.verdict)


def test_pairs_see_what_two_intervals_do_not():
    """The cases differ far more than the bundles: only case by case the small gain is told apart from chance."""
    hard = np.random.default_rng(0).uniform(0.3, 0.9, 40)
    first, second = table_of(hard), table_of(hard + 0.02)
    found = overall(first, second)
    assert found.interval.mean == pytest.approx(0.02)
    assert found.verdict == "better"
    apart = [table.groups[0].summaries["Dice"] for table in (first, second)]
    assert apart[1].low < apart[0].high


def test_less_is_better_where_it_is_an_error():
    first, second = table_of([4.0, 5.0, 6.0], "HD95"), table_of([3.0, 4.0, 5.0], "HD95")
    assert overall(first, second).verdict == "better"
    assert overall(second, first).verdict == "worse"


def test_only_cases_of_both_are_paired_and_the_others_are_named():
    first = table_of([0.5, 0.6])
    second = ScoreTable((Row("c1", "b", "liver", {"Dice": 0.9}), Row("c7", "a", "liver", {"Dice": 0.1})))
    assert overall(first, second).cases == {"c1": pytest.approx(0.3)}
    assert unpaired(first, second) == ("c0", "c7")
    assert unpaired(first, first) == ()


def test_parts_are_all_and_kinds():
    found = paired(table_of([0.1, 0.2] * 3), table_of([0.2, 0.2] * 3))
    assert [(one.part, one.verdict) for one in found] == [("all", "better"), ("a", "better"), ("b", "same")]
    few = paired(table_of([0.1, 0.2]), table_of([0.2, 0.2]))  # one case of each kind
    assert [one.verdict for one in few] == ["not told apart", "not told apart", "same"]


def test_what_differs_most_comes_first_whichever_way():
    found = overall(table_of([0.5, 0.5, 0.5, 0.5, math.nan]), table_of([0.6, 0.1, 0.5, 0.8, 0.5]))
    assert differing_most(found) == ("c4", "c1", "c3", "c0")
    assert differing_most(found, 2) == ("c4", "c1")


def test_a_table_survives_json_but_for_infinity():
    table = ScoreTable(table_of([0.5, math.inf]).rows, refused=(Refused("c9", "a", "too flat"),))
    back = ScoreTable.from_dict(table.to_dict())
    assert back.refused == table.refused
    assert back.rows[0] == table.rows[0]
    assert math.isnan(back.rows[1].scores["Dice"])
    assert [str(a.summaries["Dice"]) for a in back.groups] == [str(a.summaries["Dice"]) for a in table.groups]


@pytest.mark.parametrize(
    "plain",
    [{}, {"rows": [{"case": "a"}]}, {"rows": [{"case": "a", "kind": "", "label": "x", "Dice": "y"}]}, {"rows": [
        {"case": "a", "kind": "", "label": "x", "Dice": 1}, {"case": "a", "kind": "", "label": "x", "Dice": 1}]}],
)  # fmt: skip
def test_other_data_are_no_table(plain):
    with pytest.raises((KeyError, TypeError, ValueError)):
        ScoreTable.from_dict(plain)
