import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from medseg.domain.errors import GridError
from medseg.metrics.surface import hausdorff95, surface_dice

spacings_mm = st.sampled_from([0.5, 1.0, 2.5])
scenes = array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=7).flatmap(
    lambda shape: st.tuples(
        arrays(bool, shape).filter(np.any),
        arrays(bool, shape).filter(np.any),
        st.tuples(*[spacings_mm] * len(shape)),
    )
)


def test_distance_is_in_millimetres_and_symmetric():
    a, b = np.zeros((2, 9, 9, 9), bool)
    a[4, 4, 2] = b[4, 4, 5] = True  # three voxels apart on the 2.5 mm axis
    assert hausdorff95(a, b, (1, 1, 2.5)) == hausdorff95(b, a, (1, 1, 2.5)) == pytest.approx(7.5)


def test_a_square_within_a_square():
    """Two steps between parallel sides; the corners, of the larger one only, are further away."""
    outer, inner = np.zeros((2, 30, 30), bool)
    outer[2:28, 2:28] = inner[4:26, 4:26] = True
    assert hausdorff95(outer, inner, (1, 1)) == pytest.approx(5**0.5)  # 12 of the outer 100 are further than 2 away
    assert surface_dice(outer, inner, (1, 1), 1.9) == 0
    corners = 4 * 3  # (2, 2) steps away at the very corner, (2, 1) on both sides of it
    n_outer, n_inner = 4 * 25, 4 * 21
    assert surface_dice(outer, inner, (1, 1), 2.0) == pytest.approx((n_outer - corners + n_inner) / (n_outer + n_inner))


def test_empty_masks():
    nothing, dot = np.zeros((2, 5, 5), bool)
    dot[2, 2] = True
    assert hausdorff95(nothing, nothing, (1, 1)) == 0
    assert hausdorff95(nothing, dot, (1, 1)) == hausdorff95(dot, nothing, (1, 1)) == math.inf
    assert surface_dice(nothing, nothing, (1, 1), 1) == 1
    assert surface_dice(nothing, dot, (1, 1), 1) == surface_dice(dot, nothing, (1, 1), 1) == 0


@pytest.mark.parametrize("spacing_mm", [(1,), (1, 1, 1), (1, 0), (1, -1)])
def test_every_axis_needs_a_spacing(spacing_mm):
    with pytest.raises(GridError, match="spacings above 0 mm"):
        hausdorff95(np.ones((3, 3), bool), np.ones((3, 3), bool), spacing_mm)


def test_other_shapes_are_refused():
    with pytest.raises(GridError):
        hausdorff95(np.ones((3, 3), bool), np.ones((1, 3), bool), (1, 1))


@settings(max_examples=60)
@given(scenes)
def test_laws_of_distance(scene):
    a, b, spacing_mm = scene
    distance = hausdorff95(a, b, spacing_mm)
    assert distance == hausdorff95(b, a, spacing_mm)
    assert hausdorff95(a, a, spacing_mm) == 0
    assert hausdorff95(a, b, [2 * s for s in spacing_mm]) == pytest.approx(2 * distance)
    padded = [np.pad(x, 3) for x in (a, b)]  # the edge of the image is outside of every mask
    assert hausdorff95(*padded, spacing_mm) == distance
    assert surface_dice(a, b, spacing_mm, math.inf) == 1
    assert surface_dice(a, b, spacing_mm, 1.0) <= surface_dice(a, b, spacing_mm, 2.0)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI warns of itself
@settings(max_examples=25)
@given(scenes)
def test_agrees_with_monai_where_both_masks_hold_something(scene):
    """MONAI's surfaces and percentiles are ours, in float32; it gives NaN where either mask is empty."""
    a, b, spacing_mm = scene
    given = [torch.as_tensor(x)[None, None].float() for x in (a, b)]
    theirs = compute_hausdorff_distance(*given, include_background=True, percentile=95, spacing=list(spacing_mm))
    assert hausdorff95(a, b, spacing_mm) == pytest.approx(theirs.item(), rel=1e-5, abs=1e-6)
    theirs = compute_surface_dice(*given, class_thresholds=[1.1], include_background=True, spacing=list(spacing_mm))
    assert surface_dice(a, b, spacing_mm, 1.1) == pytest.approx(theirs.item(), rel=1e-5)
