import numpy as np
import pytest

from medseg.domain.geometry import Geometry
from tests.phantoms import oblique, orientations

SHAPE = (100, 90, 80)
EXACT = oblique(orientations((0.9, 1.1, 2.0))["LPS"], (10, -20, 5))


def cosines(geometry):
    axes = geometry.affine_ras[:3, :3] / geometry.spacing_mm
    return np.abs(axes.T @ axes)[np.triu_indices(3, 1)]


@pytest.mark.parametrize("affine", orientations().values())
def test_axes_along_the_patients_stay_bit_for_bit(affine):
    geometry = Geometry(SHAPE, affine)
    assert geometry.perpendicular() is geometry


def test_the_rounding_of_a_file_is_taken_away_and_moves_nothing():
    """MONAI's Spacing put the grid of an oblique NIfTI file half a voxel beside that of the same scan from DICOM."""
    rounded = Geometry(SHAPE, EXACT.astype(np.float32).astype(np.float64), calibrated=False)
    square = rounded.perpendicular()
    assert cosines(rounded).max() > 1e-9
    assert cosines(square).max() < 1e-14
    assert square.is_same_grid(rounded, tolerance_mm=1e-4)
    assert square.spacing_mm == pytest.approx(rounded.spacing_mm, abs=1e-7)
    assert not square.calibrated


def test_a_true_shear_stays():
    sheared = Geometry(SHAPE, EXACT @ np.array([[1, 1e-3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    assert sheared.perpendicular() is sheared


def test_handedness_stays():
    for letters in ("RAS", "LAS", "PIR", "AIR"):
        turned = Geometry(SHAPE, oblique(orientations()[letters], (3, 2, 1)).astype(np.float32).astype(np.float64))
        before, after = (np.linalg.det(g.affine_ras[:3, :3]) for g in (turned, turned.perpendicular()))
        assert after == pytest.approx(before, rel=1e-6)
