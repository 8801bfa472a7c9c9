import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.domain.errors import GridError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.reports.versus import PREDICTION, REFERENCE, dashes, draw_versus

TABLE = LabelTable((Label(1, "one", (255, 0, 0)), Label(2, "two", (0, 0, 255))))
CELLS = LabelTable((Label(1, "cell", (255, 0, 0)),), "instances")
PICTURE = Geometry((40, 30), np.diag([-1.0, -1.0, 1.0, 1.0]), False)
GRID = Geometry((24, 20, 14), np.diag([1.0, 1.0, 2.0, 1.0]))


def drawn(predicted, true, geometry, table=TABLE):
    voxels = np.random.default_rng(0).integers(80, 120, (1, *geometry.shape_ijk)).astype(np.int16)
    masks = (LabelMap(mask, geometry, table) for mask in (predicted, true))
    return np.asarray(draw_versus(Volume(voxels, geometry, "case"), *masks)).astype(int)[:-30]  # without the legend


def count(picture, colour):
    return int((np.abs(picture - colour).max(-1) < 40).sum())


def masks(geometry):
    predicted, true = np.zeros((2, *geometry.shape_ijk), np.uint8)
    return predicted, true


@pytest.mark.parametrize("geometry", [PICTURE, GRID])
def test_both_outlines_are_drawn_and_told_apart(geometry):
    predicted, true = masks(geometry)
    predicted[5:12, 5:12], true[14:20, 5:12] = 1, 1
    both = drawn(predicted, true, geometry)
    assert count(both, PREDICTION) > 100
    assert count(both, REFERENCE) > 100
    alone = drawn(predicted, np.zeros_like(true), geometry)
    assert count(alone, PREDICTION) > 100
    assert count(alone, REFERENCE) == 0


def test_the_dashed_line_shows_the_solid_one_below():
    predicted, _ = masks(PICTURE)
    predicted[5:30, 5:25] = 1
    both = drawn(predicted, predicted.copy(), PICTURE)
    assert min(count(both, PREDICTION), count(both, REFERENCE)) > 100


def test_what_was_missed_is_tinted_otherwise_than_what_is_wrong():
    predicted, true = masks(PICTURE)
    predicted[4:14, 4:14], true[24:34, 4:14] = 1, 1
    picture = drawn(predicted, true, PICTURE)[12:-12, 12:-12]
    scale = picture.shape[1] / 40
    wrong, missed, outside = (picture[round(9 * scale), round(x * scale)] for x in (9, 29, 19))
    assert wrong[0] > wrong[2]
    assert missed[2] > missed[0]
    assert outside[0] == outside[2]


def test_every_instance_has_an_outline_but_numbers_do_not_matter():
    """Two cells side by side: a line between them, and no tint where both maps have a cell."""
    predicted, true = np.zeros((2, 40, 30), np.uint16)
    predicted[5:20, 5:25], predicted[20:35, 5:25] = 1, 2
    true[5:20, 5:25], true[20:35, 5:25] = 300, 7
    picture = drawn(predicted, true, PICTURE, CELLS)[12:372, 12:492]  # twelve pixels each, within the margin
    between, inside = picture[120:240, 235:245], picture[120:240, 90:200]
    assert np.abs(between - between[..., :1]).max() > 50
    assert np.abs(inside - inside[..., :1]).max() == 0


def test_empty_masks_and_masks_at_the_edge_are_drawn():
    predicted, true = masks(GRID)
    assert drawn(predicted, true, GRID).shape[2] == 3
    true[:] = 2
    assert count(drawn(predicted, true, GRID), REFERENCE) > 100


def test_masks_of_another_grid_are_refused():
    predicted, true = masks(GRID)
    other = Geometry(GRID.shape_ijk, np.diag([1.0, 1.0, 3.0, 1.0]))
    volume = Volume(np.zeros((1, *GRID.shape_ijk), np.int16), GRID, "case")
    with pytest.raises(GridError, match="different grids"):
        draw_versus(volume, LabelMap(predicted, other, TABLE), LabelMap(true, GRID, TABLE))


@settings(max_examples=40)
@given(st.floats(1, 20), st.floats(1, 20))
def test_dashes_are_as_long_as_said(long, gap):
    line = np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 40.0]])  # 70 pixels
    found = dashes(line, long, gap)
    lengths = [float(np.hypot(*np.diff(piece, axis=0).T).sum()) for piece in found]
    assert lengths[:-1] == pytest.approx([long] * (len(found) - 1))
    assert lengths[-1] <= long + 1e-9
    assert len(found) == int(np.ceil(70 / (long + gap) - 1e-12))
