"""Drawings: what they show stands where it must, and words stay words."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.reports.box_plot import BoxRow, box_of, draw_boxes
from medseg.reports.line_plot import Curve, draw_curves
from medseg.reports.svg import scale_of
from tests.html import Reader

NASTY = '"><script>alert(1)</script>&'
FINITE = st.floats(-1e6, 1e6)


def attribute(drawing, tag, name):
    return [float(held[name]) for held in Reader(drawing.svg).attributes(tag)]


@settings(max_examples=40)
@given(st.lists(st.one_of(FINITE, st.just(math.nan), st.just(math.inf)), max_size=8))
def test_a_scale_holds_all_finite_values_and_its_ticks_are_within(values):
    scale = scale_of(values, 100, 500)
    assert scale.low < scale.high
    for value in values:
        if math.isfinite(value):
            assert 99.9 <= scale(value) <= 500.1
    assert all(scale.low - 1e-6 <= tick <= scale.high + 1e-6 * abs(scale.high) for tick in scale.ticks)


def test_a_scale_of_shares_ends_at_one():
    scale = scale_of([0.82, 0.9], 0, 100, share=True)
    assert (scale.high, scale(1.0)) == (1.0, 100)
    assert 0.75 <= scale.low <= 0.82


@settings(max_examples=40)
@given(st.lists(FINITE, min_size=1, max_size=12))
def test_laws_of_the_box(values):
    box = box_of(values)
    assert min(values) <= box.low <= box.high <= max(values)
    assert box.first <= box.median <= box.third


def test_an_outlier_lies_outside_the_whiskers():
    box = box_of([1, 2, 3, 4, 5, 100])
    assert (box.low, box.high) == (1, 5)


def test_every_case_is_a_dot_and_undefined_ones_are_counted():
    drawing = draw_boxes("HD95", [BoxRow("liver", (1.0, 2.0, math.inf)), BoxRow("none", (math.nan,))], "mm", False)
    assert len(attribute(drawing, "circle", "cx")) == 2
    texts = Reader(drawing.svg).all("text")
    assert {"HD95 in mm", "2 cases, 1 undefined", "0 cases, 1 undefined"} <= set(texts)
    assert "none no value" in Reader(drawing.svg).attributes("svg")[0]["aria-label"]


def test_a_better_case_stands_further_to_the_right():
    x = attribute(draw_boxes("Dice", [BoxRow("a", (0.2, 0.5, 0.9))]), "circle", "cx")
    assert x == sorted(x)


@pytest.mark.parametrize(
    "drawing",
    [
        draw_boxes(NASTY, [BoxRow(NASTY, (1.0,))], NASTY),
        draw_curves(NASTY, [Curve(NASTY, ((1, 0.5),)), Curve(NASTY, ())], 1),
    ],
)
def test_no_word_becomes_markup(drawing):
    page = Reader(drawing.svg)
    assert "script" not in {name for name, _ in page.tags}
    assert any(NASTY[:12] in text for text in page.all("text"))
    assert not re.search(r"https?:|url\(", drawing.svg)


def test_a_curve_is_broken_where_it_is_undefined():
    drawing = draw_curves("x", [Curve("a", ((1, 0.1), (2, 0.2), (3, math.nan), (4, 0.4)))])
    (path,) = [held["d"] for held in Reader(drawing.svg).attributes("path")]
    assert (path.count("M"), path.count("L")) == (2, 1)


def test_names_of_several_curves_stand_below_them():
    assert "liver" in Reader(draw_curves("x", [Curve("liver", ()), Curve("tumour", ())]).svg).all("text")
    assert "liver" not in Reader(draw_curves("x", [Curve("liver", ())]).svg).all("text")


def test_more_curves_than_colours_have_other_strokes():
    drawing = draw_curves("x", [Curve(f"c{n}", ((0, n), (1, n))) for n in range(8)])
    paths = Reader(drawing.svg).attributes("path")
    assert len({(held["class"], held.get("stroke-dasharray")) for held in paths}) == 8
