"""Every group is held out exactly once, and no group is torn."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.domain.errors import UsageError
from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Case, Fold, Manifest, held_out, parse_fold

TABLE = LabelTable((Label(1, "liver", (9, 9, 9)),))


def a_manifest(groups):
    cases = tuple(Case(f"c{n}", "i", "m", group, "train", ("", "")) for n, group in enumerate(groups))
    return Manifest("m", "", "", "", "", "CT", 3, 1, TABLE, cases)


@given(st.integers(2, 6), st.integers(60, 90))
def test_each_group_is_held_out_once_and_trains_else(folds, how_many):
    groups = [f"patient {n}" for n in range(how_many)]
    manifest = a_manifest(groups * 2)
    times = dict.fromkeys(set(groups), 0)
    for number in range(1, folds + 1):
        part = held_out(manifest, Fold(number, folds))
        out = {case.group for case in part.part("validation")}
        assert not out & {case.group for case in part.part("train")}
        assert out | {case.group for case in part.part("train")} == set(groups)
        assert len(part.cases) == len(manifest.cases)
        for group in out:
            times[group] += 1
    assert set(times.values()) == {1}


def test_given_folds_are_kept_in_their_order():
    manifest = a_manifest(["3", "1", "2", "1"])
    assert [case.group for case in held_out(manifest, Fold(2, 3)).part("validation")] == ["2"]


def test_adding_a_case_moves_no_other():
    groups = [f"patient {n}" for n in range(30)]
    before = held_out(a_manifest(groups), Fold(1, 4)).part("validation")
    after = held_out(a_manifest([*groups, "someone new"]), Fold(1, 4)).part("validation")
    assert {case.group for case in before} == {case.group for case in after} - {"someone new"}


def test_the_split_a_case_stood_in_does_not_count():
    manifest = a_manifest(["1", "2", "3"])
    tested = replace(manifest, cases=tuple(replace(case, split="test") for case in manifest.cases))
    assert held_out(tested, Fold(1, 3)) == held_out(manifest, Fold(1, 3))


@pytest.mark.parametrize("text", ["1", "0/5", "6/5", "1/1", "a/b", "1/5/5", ""])
def test_folds_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match="fold"):
        parse_fold(text)
