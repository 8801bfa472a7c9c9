"""A picture with its mask burnt in: what lies outside the labels stays, what lies inside shows."""

import numpy as np
import pytest

from medseg.domain.errors import GridError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.reports.capture import capture
from tests.masks import ORGANS

GRID = Geometry((60, 40), np.diag([-1.0, -1, 1, 1]), calibrated=False)
FRAME = 12  # pixels of the page around the picture


def shown(voxels, mask):
    page = capture(Volume(voxels[None], GRID, "x"), LabelMap(mask, GRID, ORGANS))
    return page[FRAME : FRAME + 40, FRAME : FRAME + 60].swapaxes(0, 1)


def test_labels_are_outlined_within_and_the_rest_is_as_without_them():
    voxels = np.add.outer(np.arange(60), 10 * np.arange(40)).astype(np.int16)
    mask = np.zeros((60, 40), np.uint8)
    mask[10:30, 8:20], mask[30:40, 8:20], mask[50, 30] = 1, 7, 3
    bare, drawn = shown(voxels, mask * 0), shown(voxels, mask)
    assert (drawn == bare)[mask == 0].all()
    colours = {label.value: label.colour for label in ORGANS}
    for i, j, value in ((10, 8, 1), (29, 19, 1), (30, 12, 7), (39, 8, 7), (50, 30, 3)):
        assert tuple(drawn[i, j]) == colours[value]
    inside = drawn[20, 14]
    assert tuple(inside) != colours[1]
    assert (np.abs(inside - (0.88 * bare[20, 14] + 0.12 * np.array(colours[1]))) <= 0.5).all()


def test_the_mask_of_another_picture_is_refused():
    other = Geometry((60, 41), np.diag([-1.0, -1, 1, 1]))
    with pytest.raises(GridError, match="different grids"):
        capture(
            Volume(np.zeros((1, 60, 40), np.int16), GRID, "x"), LabelMap(np.zeros((60, 41), np.uint8), other, ORGANS)
        )
