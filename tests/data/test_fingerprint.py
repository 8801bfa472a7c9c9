"""A fingerprint tells what was put into the images, whatever way they lie in their files."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.ndimage import label

from medseg.data.fingerprint import fingerprint, sample_cases
from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.domain.manifest import Case
from medseg.domain.volume import Volume

SPACING_MM = (1.0, 2.0, 4.0)  # along right, anterior, superior


def a_volume(axes=(0, 1, 2), scale=1.0):
    """A box of 4 x 4 x 4 mm... in a volume of 20 x 12 x 10 voxels whose array axes are a permutation of RAS."""
    voxels, mask = np.full((20, 12, 10), 5.0), np.zeros((20, 12, 10), np.uint8)
    mask[4:12, 4:8, 2:4] = 7  # 8 mm along each axis
    voxels[mask > 0] = 100 * scale
    affine = np.eye(4)
    affine[:3, :3] = np.diag(SPACING_MM)[:, axes]
    voxels, mask = voxels.transpose(axes), mask.transpose(axes)
    return Volume(voxels[None], Geometry(mask.shape, affine), "v"), mask


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_volumes_are_described_along_the_patients_axes(axes):
    seen = fingerprint([a_volume(axes)], 1, (7,), instances=False)
    assert seen.shape == (20, 12, 10)
    assert seen.spacing_mm == SPACING_MM
    assert seen.labelled_share == pytest.approx(8 * 4 * 2 / (20 * 12 * 10), abs=1e-6)
    assert seen.intensity[:3] == (100.0, 100.0, 100.0)
    ball_mm = (8**3 * 6 / np.pi) ** (1 / 3)
    assert seen.piece_voxels == pytest.approx((ball_mm / 2, ball_mm / 2), abs=0.01)  # a median voxel is 2 mm wide


def test_uncalibrated_scanners_are_seen():
    pairs = [a_volume(scale=1.0), a_volume(scale=50.0)]
    assert fingerprint(pairs, 2, (7,), instances=False).intensity_spread == 50.0


def test_instances_are_measured_each_by_itself():
    mask = np.zeros((40, 40), np.uint16)
    mask[2:12, 2:12], mask[2:12, 12:22] = 1, 2  # they touch
    volume = Volume(np.where(mask > 0, 9, 1)[None], Geometry(mask.shape, np.eye(4)), "p")
    diameter = 2 * np.sqrt(100 / np.pi)
    assert fingerprint([(volume, mask)], 1, (1,), instances=True).piece_voxels == pytest.approx(
        (diameter,) * 2, abs=0.01
    )
    both = fingerprint([(volume, (mask > 0).astype(np.uint8))], 1, (1,), instances=False)
    assert both.piece_voxels == pytest.approx((diameter * np.sqrt(2),) * 2, abs=0.01)


@pytest.mark.parametrize("instances", [True, False])
def test_the_least_piece_is_that_of_99_in_100_however_small(instances):
    mask = np.zeros((100, 100), np.uint16)
    mask[::4, ::4] = 1  # 625 single voxels
    mask[::4, 1::4] = np.arange(25)[:, None] < 24  # 600 of them become pairs
    if instances:
        mask = label(mask)[0].astype(np.uint16) * 3  # numbers with gaps between them
    volume = Volume(np.where(mask > 0, 9, 1)[None], Geometry(mask.shape, np.eye(4)), "p")
    assert fingerprint([(volume, mask)], 1, (1,), instances).least_piece == 1
    mask[-4:] = 0
    assert fingerprint([(volume, mask)], 1, (1,), instances).least_piece == 2


def test_a_data_set_without_labels_is_refused():
    volume, mask = a_volume()
    with pytest.raises(InputError, match="no labelled voxel"):
        fingerprint([(volume, mask * 0)], 1, (7,), instances=False)
    with pytest.raises(InputError, match="no labelled voxel"):
        fingerprint([], 0, (7,), instances=False)


def test_the_sample_is_spread_over_the_cases():
    case = Case("a", "a", "b", "g", "train", ("", ""))
    cases = [replace(case, id=str(n)) for n in range(1000)]
    ids = [int(c.id) for c in sample_cases(cases, most=10)]
    assert ids == list(range(0, 1000, 100))
    assert sample_cases(cases[:5], most=10) == tuple(cases[:5])
