import math

import numpy as np
import pytest
from PIL import Image

from medseg.domain.errors import UsageError
from medseg.reports.curve import draw_curve, write_curve

HISTORY = [
    {"step": step, "loss": 2.0 / step, "scores": [0.1 * n, 0.3 if n == 5 else 0.05 * n]}
    for n, step in enumerate(range(100, 700, 100))
]


def lines(figure):
    return [[line.get_xydata() for line in axes.get_lines() if len(line.get_xdata()) > 2] for axes in figure.axes]


def test_loss_and_scores_stand_against_the_step():
    (loss,), scores = lines(draw_curve(HISTORY, ("liver", "tumour")))
    assert loss.tolist() == [[row["step"], row["loss"]] for row in HISTORY]
    assert [curve.tolist() for curve in scores] == [[[r["step"], r["scores"][n]] for r in HISTORY] for n in (0, 1)]


def test_the_step_of_the_best_mean_is_marked():
    assert draw_curve(HISTORY, ("a", "b")).axes[1].get_title("right") == "best: 0.400 at step 600"


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_class_that_did_not_occur_leaves_a_gap_and_is_never_best(unknown):
    history = [*HISTORY, {"step": 700, "loss": 0.1, "scores": [1.0, unknown]}]
    figure = draw_curve(history, ("a", "b"))
    assert np.isnan(lines(figure)[1][1][-1, 1])
    assert figure.axes[1].get_title("right") == "best: 0.400 at step 600"


@pytest.mark.parametrize("history", [[], HISTORY[:1], [{"step": 1, "loss": math.nan, "scores": [None, None]}]])
def test_short_histories_are_drawn(history, tmp_path):
    write_curve(history, ("a", "b"), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_the_file_is_a_png_with_a_curve_of_each_class_and_repeats_exactly(tmp_path):
    for name in ("one.png", "two.png"):
        write_curve(HISTORY, ("liver", "tumour"), tmp_path / name)
    with Image.open(tmp_path / "one.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 900))
        pixels = np.array(picture.convert("RGB"))
    for colour in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x44, 0x44, 0x44)):
        assert np.count_nonzero((pixels == colour).all(-1)) > 500
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with pytest.raises(UsageError, match=r"\.png"):
        write_curve(HISTORY, ("a", "b"), tmp_path / "curve.svg")
