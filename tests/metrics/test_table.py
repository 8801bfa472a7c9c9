import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.metrics.table import Refused, Row, ScoreTable, mean_with_interval

TABLE = ScoreTable(
    (
        Row("a", "fluo", "head", {"dice": 1.0, "hd95_mm": 0.0}),
        Row("a", "fluo", "tail", {"dice": 0.5, "hd95_mm": 4.0}),
        Row("b", "stain", "head", {"dice": 0.5, "hd95_mm": 2.0}),
        Row("b", "stain", "tail", {"dice": 0.0, "hd95_mm": math.inf}),
    )
)


def test_groups_are_all_then_labels_then_kinds():
    assert [(g.name, g.cases) for g in TABLE.groups] == [
        ("all", 2),
        ("head", 2),
        ("tail", 2),
        ("fluo", 1),
        ("stain", 1),
    ]
    assert [g.summaries["dice"].mean for g in TABLE.groups] == [0.5, 0.75, 0.25, 0.75, 0.25]


def test_a_case_with_one_undefined_label_is_undefined_over_all_and_not_averaged_away():
    overall, head, tail, *_ = (g.summaries["hd95_mm"] for g in TABLE.groups)
    assert (overall.mean, overall.counted, overall.undefined) == (2.0, 1, 1)
    assert (head.mean, head.counted, head.undefined) == (1.0, 2, 0)
    assert (tail.mean, tail.counted, tail.undefined) == (4.0, 1, 1)


def test_one_label_and_no_kind_make_one_group():
    table = ScoreTable((Row("a", "", "nucleus", {"iou": 0.5}), Row("b", "", "nucleus", {"iou": 0.7})))
    assert [g.name for g in table.groups] == ["all"]


def test_an_empty_table_has_no_metrics_and_no_mean():
    assert ScoreTable(()).metrics == ()
    assert ScoreTable(()).to_csv() == "case,kind,label,refused\n"
    empty = mean_with_interval([], seed=0)
    assert math.isnan(empty.mean)
    assert (empty.counted, str(empty)) == (0, "–")


def test_a_case_and_label_stands_once():
    with pytest.raises(AssertionError):
        ScoreTable((TABLE.rows[0], TABLE.rows[0]))


def test_csv_reads_back_to_the_same_numbers():
    lines = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert [(r["case"], r["kind"], r["label"]) for r in lines] == [(r.case, r.kind, r.label) for r in TABLE.rows]
    assert [float(r["hd95_mm"]) for r in lines] == [0, 4, 2, math.inf]


def test_json_is_strict():
    plain = json.loads(json.dumps(TABLE.to_dict(), allow_nan=False))
    assert plain["rows"][3] == {"case": "b", "kind": "stain", "label": "tail", "dice": 0.0, "hd95_mm": None}
    assert plain["groups"][2]["hd95_mm"] == {"mean": 4.0, "low": None, "high": None, "counted": 1, "undefined": 1}


def test_markdown_has_a_line_for_each_group():
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "|  | cases | dice | hd95_mm |"
    assert lines[4] == "| tail | 2 | 0.250 (–) | 4.000 (–), 1 undefined |"
    assert len({line.count("|") for line in lines}) == 1


def test_every_way_to_write_a_table_names_what_was_refused_and_no_mean_counts_it():
    refused = (Refused("c", "stain", "no slice 7"),)
    table = ScoreTable(TABLE.rows, refused=refused)
    assert [str(g.summaries["dice"]) for g in table.groups] == [str(g.summaries["dice"]) for g in TABLE.groups]
    assert table.to_csv().splitlines()[-1] == "c,stain,,,,no slice 7"
    assert table.to_dict()["refused"] == [{"case": "c", "kind": "stain", "reason": "no slice 7"}]
    assert table.to_markdown() == TABLE.to_markdown() + (
        "\n1 of 3 cases were refused and are in no mean:\n\n- c: no slice 7\n"
    )
    with pytest.raises(AssertionError):
        ScoreTable(TABLE.rows, refused=(Refused("a", "", "scored above"),))


def test_interval_agrees_with_the_normal_one_for_many_cases():
    values = np.random.default_rng(1).normal(0.8, 0.1, 400)
    interval = mean_with_interval(values, seed=0)
    margin = 1.96 * values.std() / math.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - margin, abs=0.002)
    assert interval.high == pytest.approx(values.mean() + margin, abs=0.002)


@settings(max_examples=30)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan), st.just(math.inf)), max_size=12))
def test_laws_of_intervals(values):
    interval = mean_with_interval(values, seed=5)
    assert interval.counted + interval.undefined == len(values)
    assert str(interval) == str(mean_with_interval(values, seed=5))
    if interval.counted:
        finite = [v for v in values if math.isfinite(v)]
        if len(finite) < 3:  # an interval of one case was its score twice, and looked certain
            assert math.isnan(interval.low)
            assert math.isnan(interval.high)
        else:
            assert min(finite) - 1e-12 <= interval.low <= interval.high <= max(finite) + 1e-12
        assert interval.mean == pytest.approx(np.mean(finite))
