"""The pages of an evaluation, a training and a comparison: what must be told is told, and words stay words."""

import math
import re
from dataclasses import replace

import pytest

from medseg.metrics.table import Refused, Row, ScoreTable
from medseg.reports.comparison import Contender, comparison_sections, write_comparison
from medseg.reports.evaluation import evaluation_sections, write_evaluation
from medseg.reports.pages import page_html
from medseg.reports.scores import Scores, failure_section, telling_metrics
from medseg.reports.training import Course, Planned, training_sections, write_training
from tests.html import Reader

NASTY = "<script>alert('a')</script> & \"quoted\""


def row(case, dice, kind="", label="liver", hd95=2.0):
    return Row(case, kind, label, {"Dice": dice, "HD95": hd95, "surface Dice@1": dice})


TABLE = ScoreTable(
    (row("a", 0.9), row("a", 0.4, label="tumour"), row("b", 0.8), row("b", 0.0, label="tumour", hd95=math.inf)),
    refused=(Refused("c", "", "c.nii.gz: has no slice 7"), Refused("d", "", "d.nii.gz: is constant")),
)
SCORES = Scores(TABLE, "mm", 0.5, {"b": "p/worst_1_b.png", "a": "p/worst_2_a.png"}, {"a": 1.0, "b": 3.0})
COURSE = Course(
    ({"step": 5, "loss": 0.7, "scores": [0.1, None]}, {"step": 10, "loss": 0.4, "scores": [0.8, 0.6]}),
    ("liver", "tumour"),
    "dice",
    10,
    0.7,
    "best",
    ((1, 0.1), (10, 0.01)),
    (0.2, 0.3, 0.4),
)
PLAN = Planned({"batch": {"size": [16, 16], "count": 4}, "seed": 0})


def evaluation(scores=SCORES, facts=None):
    return Reader(page_html("t", evaluation_sections(scores, facts or {"data": "balls"})))


def training(course=COURSE, plan=PLAN, scores=SCORES):
    return Reader(page_html("t", training_sections(course, plan, scores, {"data": "balls"})))


def comparison(*contenders):
    return Reader(page_html("t", comparison_sections(contenders)))


def everything(page):
    return "\n".join(text for _, text in page.texts)


@pytest.mark.parametrize("page", [evaluation(), training()], ids=["evaluation", "training"])
def test_a_page_names_every_refused_case_with_its_reason_and_every_failure(page):
    cells = page.all("td")
    for case, reason in (("c", "c.nii.gz: has no slice 7"), ("d", "d.nii.gz: is constant")):
        assert case in cells
        assert reason in cells
    assert "2 of 4 cases were refused and are in no mean: c, d." in page.all("p")
    assert cells.count("tumour") >= 2  # the table of scores, and both tumours that failed
    assert any("HD95 (mm) undefined" in cell for cell in cells)


def test_nothing_to_complain_of_is_said_too():
    good = Scores(ScoreTable((row("a", 0.9),)))
    assert any(text.startswith("None. Listed are refused cases") for text in evaluation(good).all("p"))
    assert 'class="notice"' not in page_html("t", evaluation_sections(good, {}))


def test_the_failures_are_those_below_the_threshold():
    (table,) = (failure_section(SCORES).table,)
    assert [line[0:4] for line in table.rows] == [
        ("c", "", "", "refused"),
        ("d", "", "", "refused"),
        ("b", "", "tumour", "0.000"),
        ("a", "", "tumour", "0.400"),
    ]
    assert len(failure_section(replace(SCORES, threshold=0.85)).table.rows) == 5


def test_the_worst_cases_are_shown_with_what_each_label_scored():
    page = evaluation()
    assert [held["src"] for held in page.attributes("img")] == ["p/worst_1_b.png", "p/worst_2_a.png"]
    captions = page.all("figcaption")
    assert captions[0].startswith("1. b\nliver: Dice 0.800")
    assert "tumour: Dice 0.000, HD95 (mm) undefined" in captions[0]
    assert all(held["alt"] for held in page.attributes("img"))


def test_tables_and_plots_are_by_label_and_kind():
    rows = tuple(row(f"c{n}", 0.5, kind) for n, kind in enumerate(("fluo", "stain", "stain")))
    page = evaluation(Scores(ScoreTable(rows)))
    assert [text for text in page.all("td") if text in ("all", "fluo", "stain")] == ["all", "fluo", "stain"]
    assert [held["aria-label"].split(":")[0] for held in page.attributes("svg")] == [
        "Box plot of Dice",
        "Box plot of HD95",
        "Box plot of surface Dice@1",
    ]
    assert page.all("text").count("stain") == 3


def test_the_telling_metrics_are_found_at_any_tolerance():
    metrics = ("Dice", "surface Dice@2.5", "IoU", "AP@0.5", "AP@0.75")
    table = ScoreTable((Row("a", "", "x", dict.fromkeys(metrics, 1.0)),))
    assert telling_metrics(table) == ["AP@0.5", "Dice", "surface Dice@2.5"]


def test_the_course_of_a_training_is_drawn_and_told():
    page = training()
    told = [held["aria-label"] for held in page.attributes("svg")][:3]
    assert told[0] == "Curves of loss: loss from 0.7 to 0.4 at step 10"
    assert (
        told[1]
        == "Curves of validation dice by class: liver from 0.1 to 0.8 at step 10; tumour from 0.6 to 0.6 at step 10"
    )
    assert told[2].startswith("Curves of learning rate")
    assert {"0.700", "10", "0.300 s"} <= set(page.all("strong"))


def test_validation_cases_that_picked_the_weights_are_called_so():
    assert any("so they flatter" in text for text in training().all("p"))
    assert any("picked nothing" in text for text in training(replace(COURSE, keep="last")).all("p"))


def test_without_a_clock_no_time_is_told():
    assert "time per step" not in everything(training(replace(COURSE, seconds=())))


def test_a_plan_is_listed_with_its_reasons_if_there_are_any():
    assert training().all("th").count("why") == 1  # that of the failures
    page = training(plan=replace(PLAN, reasons={"batch": "half of the memory", "batch.count": "the rest"}))
    cells = page.all("td")
    for setting, value, why in (
        ("batch.size", "16 x 16", "half of the memory"), ("batch.count", "4", "the rest"), ("seed", "0", ""),
    ):  # fmt: skip
        place = cells.index(setting)
        assert cells[place : place + 3] == [setting, value, why]


def test_a_comparison_with_itself_is_the_same_everywhere():
    page = comparison(Contender("one", TABLE), Contender("two", TABLE))
    assert "In no case." in page.all("p")
    small = page.all("small")
    assert small.count("same") >= 3
    assert "better" not in small
    assert "worse" not in small


def test_a_comparison_tells_differences_costs_and_who_left_out_what():
    other = ScoreTable((row("a", 0.95), row("a", 0.6, label="tumour"), row("e", 0.1), row("e", 0.1, label="tumour")))
    page = comparison(Contender("one", TABLE, 2_000_000, {"a": 1.0}, "bf16 on cpu"), Contender("two", other))
    cells = page.all("td")
    assert {"2.00", "1.000", "bf16 on cpu"} <= set(cells)
    place = cells.index("a")
    assert cells[place : place + 4] == ["a", "0.650", "0.775", "+0.125"]
    left_out = cells[-3 * 5 :]
    assert ["c", "one", "refused: c.nii.gz: has no slice 7"] in [left_out[n : n + 3] for n in range(0, 15, 3)]
    assert ["b", "two", "has no scores here"] in [left_out[n : n + 3] for n in range(0, 15, 3)]
    assert ["e", "one", "has no scores here"] in [left_out[n : n + 3] for n in range(0, 15, 3)]


def test_metrics_that_not_all_have_are_named():
    rows = tuple(Row(r.case, r.kind, r.label, {**r.scores, "IoU": 0.5}) for r in TABLE.rows)
    page = comparison(Contender("one", TABLE), Contender("two", ScoreTable(rows)))
    assert "Not compared, because not all have it: IoU." in page.all("p")


def nasty_table():
    rows = (Row(NASTY, NASTY, NASTY, {"Dice": 0.1, NASTY: 0.5}),)
    return ScoreTable(rows, refused=(Refused(NASTY + "2", NASTY, NASTY),))


def test_no_word_of_anybody_becomes_markup(tmp_path):
    scores = Scores(nasty_table(), NASTY, pictures={NASTY: "a.png"})
    course = replace(COURSE, class_names=(NASTY, NASTY + "2"), score=NASTY)
    plan = Planned({NASTY: NASTY}, {NASTY: NASTY})
    write_evaluation(tmp_path / "e.html", NASTY, scores, {NASTY: NASTY})
    write_training(tmp_path / "t.html", NASTY, course, plan, scores, {NASTY: NASTY})
    both = Contender(NASTY, nasty_table(), computed=NASTY), Contender(NASTY + "2", nasty_table())
    write_comparison(tmp_path / "c.html", NASTY, both, NASTY)
    for name in ("e.html", "t.html", "c.html"):
        text = (tmp_path / name).read_text()
        page = Reader(text)
        assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
        assert not [key for _, held in page.tags for key in held if key.startswith("on")]
        assert not re.search(r"https?:|@import|url\(", text)
        assert NASTY in page.all("h1")
        assert sum(NASTY in words for _, words in page.texts) > 5


def test_a_page_without_a_single_scored_case_still_tells_why():
    empty = Scores(ScoreTable((), refused=(Refused("c", "", "broken"),)))
    assert "broken" in training(scores=empty).all("td")
