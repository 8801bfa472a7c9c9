import numpy as np
import pytest

from medseg.domain.geometry import Geometry
from medseg.inference.evaluate import score_case
from tests.bundles import NUCLEI, ORGANS

GRID = Geometry((8, 4, 3), np.diag([2.0, 1.0, 1.0, 1.0]))


def test_every_label_is_scored_by_itself_in_mm():
    reference, prediction = np.zeros((2, *GRID.shape_ijk), np.uint8)
    reference[0:2, 0, 0] = prediction[1:3, 0, 0] = 1  # one of two voxels
    reference[1, 3, 2] = prediction[4, 3, 2] = 5  # three voxels of 2 mm apart
    liver, tumour = score_case(prediction, reference, GRID, ORGANS, "c7", "adult")
    assert (liver.case, liver.kind, liver.label) == ("c7", "adult", "liver")
    assert (tumour.case, tumour.kind, tumour.label) == ("c7", "adult", "liver tumour")
    assert liver.scores == {
        "Dice": pytest.approx(0.5),
        "IoU": pytest.approx(1 / 3),
        "precision": 0.5,
        "recall": 0.5,
        "HD95": pytest.approx(1.9),  # distances 2 and 0 mm on either side, and their 95th percentile
        "surface Dice@1": 0.5,  # one of two voxels on either side
        "volume error": 0.0,
        "pixel accuracy": pytest.approx(92 / 96),
    }
    assert tumour.scores == {
        "Dice": 0.0,
        "IoU": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "HD95": pytest.approx(6.0),
        "surface Dice@1": 0.0,
        "volume error": 0.0,
        "pixel accuracy": pytest.approx(92 / 96),
    }


def test_errors_of_volume_are_absolute():
    reference, larger, smaller = np.zeros((3, *GRID.shape_ijk), np.uint8)
    reference[0:4, 0, 0] = larger[0:5, 0, 0] = smaller[0:3, 0, 0] = 1
    for prediction in (larger, smaller):
        assert score_case(prediction, reference, GRID, ORGANS, "c", "")[0].scores["volume error"] == pytest.approx(0.25)


def test_a_perfect_mask_scores_one():
    reference = np.zeros(GRID.shape_ijk, np.uint8)
    reference[1:3, 1:3, 1] = 1
    reference[5, 2, 2] = 5
    for row in score_case(reference, reference.copy(), GRID, ORGANS, "c", ""):
        ones = dict.fromkeys(("Dice", "IoU", "precision", "recall", "surface Dice@1", "pixel accuracy"), 1.0)
        assert row.scores == ones | {"HD95": 0.0, "volume error": 0.0}


def test_instances_are_scored_as_things_and_their_foreground_as_one_label():
    grid = Geometry((10, 6), np.diag([-1.0, -1.0, 1.0, 1.0]), False)
    reference, prediction = np.zeros((2, 10, 6), np.uint16)
    reference[0:2, 0:2], reference[5:7, 0:2] = 7, 300
    prediction[0:2, 0:2] = 4  # one found, under another number, one missed
    (row,) = score_case(prediction, reference, grid, NUCLEI, "c", "fluo")
    assert row.label == "nucleus"
    assert row.scores == {
        "Dice": pytest.approx(2 / 3),
        "IoU": pytest.approx(0.5),
        "precision": 1.0,
        "recall": 0.5,
        "HD95": row.scores["HD95"],
        "surface Dice@1": pytest.approx(2 / 3),  # 4 voxels of 4 and 4 of 8
        "volume error": pytest.approx(0.5),
        "pixel accuracy": pytest.approx(56 / 60),
        "AP@0.5": pytest.approx(0.5),
        "AP@0.75": pytest.approx(0.5),
        "PQ": pytest.approx(2 / 3),
        "AJI": pytest.approx(0.5),
        "count error": 1.0,
    }
    assert row.scores["HD95"] > 3
