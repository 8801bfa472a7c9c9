import numpy as np
import pytest
import torch
from hypothesis import given, settings
from monai.data.utils import compute_importance_map
from scipy.ndimage import gaussian_filter

from medseg.windows import WindowSpec, window_weight
from medseg.windows.placement import place
from medseg.windows.weights import WeightSums
from tests.windows.cases import cases


def test_weights_of_a_gaussian_window_by_hand():
    """Four voxels lie 1.5 and 0.5 from the middle; the deviation is half a voxel: exp(-4.5) and exp(-0.5)."""
    outer, inner = torch.tensor(-4.5).exp().item(), torch.tensor(-0.5).exp().item()
    assert window_weight(WindowSpec((4,))).tolist() == pytest.approx([outer, inner, inner, outer])
    assert window_weight(WindowSpec((40, 40, 40))).min().item() == pytest.approx(1e-3)
    assert window_weight(WindowSpec((4, 3), weighting="constant")).tolist() == [[1.0] * 3] * 4


@pytest.mark.parametrize("size", [(5,), (8, 7), (12, 16, 9), (40, 40, 40)])
def test_the_weights_are_monais_and_nnunets(size):
    torch.testing.assert_close(window_weight(WindowSpec(size)), compute_importance_map(size, mode="gaussian"))
    peak = np.zeros(size)
    peak[tuple(n // 2 for n in size)] = 1
    theirs = gaussian_filter(peak, [n / 8 for n in size], mode="constant")  # as nnU-Net makes its own
    theirs = torch.from_numpy(theirs / theirs.max()).float()
    ours = window_weight(WindowSpec(size, placement="nnunet"))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-10)
    assert ours.min() > 0


@settings(max_examples=100)
@given(cases(("monai", "nnunet")))
def test_the_sums_are_what_adding_up_every_window_gives(case):
    image, spec, _ = case
    placement, weight = place(image.shape[1:], spec), window_weight(spec)
    added = torch.zeros(placement.padded)
    for row in placement.rows:
        for corner in row.corners:
            added[tuple(slice(c, c + n) for c, n in zip(corner, spec.size, strict=True))] += weight
    sums = WeightSums(placement, spec, weight)
    for row in placement.rows:
        planes = added.narrow(placement.axis, row.first, row.stop - row.first)
        torch.testing.assert_close(sums.of(row.first, row.stop).expand_as(planes), planes, rtol=1e-5, atol=0)


def test_slabs_in_the_midst_are_weighed_by_one_map():
    spec = WindowSpec((8, 8, 8))
    placement = place((12, 12, 80), spec)
    sums = WeightSums(placement, spec, window_weight(spec))
    maps = [sums.of(row.first, row.stop) for row in placement.rows]
    assert all(found is maps[1] for found in maps[1:-1])
