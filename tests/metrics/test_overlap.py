import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.metrics import compute_dice, compute_iou

from medseg.domain.errors import GridError
from medseg.metrics.overlap import dice, iou, pixel_accuracy, precision, recall, volume_error, volume_error_ml

pairs_of_masks = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)
NOTHING = np.zeros((4, 4), bool)
SQUARE = NOTHING.copy()
SQUARE[1:3, 1:3] = True  # 4 voxels
STRIP = NOTHING.copy()
STRIP[1, :] = True  # 4 voxels, 2 of them of the square


def test_a_case_worked_by_hand():
    assert dice(SQUARE, STRIP) == 4 / 8
    assert iou(SQUARE, STRIP) == 2 / 6
    assert precision(SQUARE, STRIP) == recall(SQUARE, STRIP) == 1 / 2
    assert volume_error(SQUARE, STRIP) == 0
    assert volume_error(STRIP | SQUARE, SQUARE) == 0.5
    assert volume_error_ml(STRIP | SQUARE, SQUARE, 500.0) == 1.0
    assert pixel_accuracy(SQUARE.astype(int), STRIP.astype(int)) == 12 / 16


def test_two_empty_masks_agree():
    for score in (dice, iou, precision, recall):
        assert score(NOTHING, NOTHING) == 1
    assert volume_error(NOTHING, NOTHING) == volume_error_ml(NOTHING, NOTHING, 1.0) == 0


def test_one_empty_mask_is_a_miss_or_undefined():
    assert dice(NOTHING, SQUARE) == iou(SQUARE, NOTHING) == recall(NOTHING, SQUARE) == precision(SQUARE, NOTHING) == 0
    assert math.isnan(precision(NOTHING, SQUARE))
    assert math.isnan(recall(SQUARE, NOTHING))
    assert volume_error(SQUARE, NOTHING) == math.inf
    assert volume_error(NOTHING, SQUARE) == -1


@pytest.mark.parametrize("score", [dice, iou, precision, recall, pixel_accuracy, volume_error])
def test_shapes_are_not_broadcast(score):
    with pytest.raises(GridError, match=r"\(4, 4\).*\(1, 4\)"):
        score(SQUARE, SQUARE[:1])


@given(pairs_of_masks)
def test_laws_of_overlap(masks):
    a, b = masks
    assert dice(a, b) == dice(b, a) == dice(a[::-1], b[::-1])
    assert iou(a, b) == iou(b, a) <= dice(a, b) <= 1
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))
    assert dice(a, a) == iou(a, a) == 1
    assert (iou(a, b) == 1) == bool((a == b).all())
    if a.any() and b.any() and (a & b).any():
        assert dice(a, b) == pytest.approx(2 / (1 / precision(a, b) + 1 / recall(a, b)))


@settings(max_examples=30)
@given(pairs_of_masks)
def test_agrees_with_monai_where_the_reference_is_not_empty(masks):
    """MONAI calls an empty reference NaN, whatever the prediction; with `ignore_empty=False` two empty masks are 1."""
    a, b = masks
    given = [torch.as_tensor(x)[None, None].float() for x in (a, b)]
    assert dice(a, b) == pytest.approx(compute_dice(*given, ignore_empty=False).item())
    assert iou(a, b) == pytest.approx(compute_iou(*given, ignore_empty=False).item())
