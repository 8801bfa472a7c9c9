"""One answer to each question about space, for everybody who asks it."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.data.spacing import Spaced
from medseg.domain.geometry import Geometry, nearest_rotation, unit_volume
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.inference.register import _isotropic
from medseg.inference.slices import slicing_of
from medseg.reports.planes import orient
from tests.bundles import grey_bundle

SHAPE = (5, 6, 7)


def rotations(seed, count):
    """Uniform random rotations and reflections."""
    matrices = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return np.linalg.qr(matrices)[0]


def grid(rotation, spacing_mm=(0.9, 1.1, 2.0), shape=SHAPE):
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing_mm
    affine[:3, 3] = (3.0, -20.0, 11.0)
    return Geometry(shape, affine)


def volume(geometry):
    return Volume(
        np.arange(np.prod(geometry.shape_ijk), dtype=np.float32).reshape(1, *geometry.shape_ijk), geometry, "x"
    )


def test_segmentation_preview_slices_and_registration_agree_on_axes():
    """A preview could name another axis than the segmentation walked: 946 of 20,000 rotations."""
    bundle = grey_bundle()
    table = LabelTable((Label(1, "one", (255, 0, 0)),))
    for rotation in rotations(0, 20_000):
        geometry = grid(rotation)
        order, flipped = geometry.nearest_axes.order, geometry.nearest_axes.flipped
        spaced = Spaced.of(geometry, (0.9, 1.1, 2.0))
        slicing = slicing_of(volume(geometry), bundle)
        assert spaced.order == order
        assert [axis in spaced.flipped for axis in order] == list(flipped)
        assert order[slicing.patient_axis] == slicing.axis
    for rotation in rotations(1, 200):
        geometry = grid(rotation)
        order, flipped = geometry.nearest_axes.order, geometry.nearest_axes.flipped
        image = volume(geometry)
        seen = orient(image, LabelMap(np.zeros(SHAPE, np.uint8), geometry, table))
        turned = np.flip(image.voxels[0].transpose(order), [n for n in range(3) if flipped[n]])
        np.testing.assert_array_equal(seen.image[0], turned)
        assert _isotropic(image, 2.0).values.ndim == 3


def test_axes_are_those_of_nibabel():
    """Stock bundles turn images by `io_orientation`, also where no axis is near to one of the patient."""
    for rotation in rotations(2, 5_000):
        geometry = grid(rotation)
        axes = geometry.nearest_axes
        wanted = nibabel.io_orientation(geometry.affine_ras)  # of each array axis the patient axis, and its direction
        assert [int(wanted[axis, 0]) for axis in axes.order] == [0, 1, 2]
        assert [wanted[axis, 1] < 0 for axis in axes.order] == list(axes.flipped)


@given(st.integers(0, 2**32 - 1), st.permutations(range(3)), st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(max_examples=50)
def test_a_reordered_grid_keeps_every_voxel_in_its_place(seed, order, flipped):
    geometry = grid(rotations(seed, 1)[0])
    turned = geometry.reordered(order, flipped)
    places = np.indices(SHAPE).reshape(3, -1).T.reshape(*SHAPE, 3)
    moved = np.flip(places.transpose(*order, 3), [n for n in range(3) if flipped[n]])
    assert moved.shape[:3] == turned.shape_ijk
    ijk = np.stack(np.indices(turned.shape_ijk), -1)
    np.testing.assert_allclose(turned.ijk_to_ras_mm(ijk), geometry.ijk_to_ras_mm(moved), atol=1e-9)


def test_corners_are_voxel_centres_or_edges():
    geometry = Geometry((2, 3, 4), np.diag([1.0, 2.0, 5.0, 1.0]))
    assert geometry.corners_ras_mm().max(0).tolist() == [1, 4, 15]
    assert geometry.corners_ras_mm(outer=True).min(0).tolist() == [-0.5, -1, -2.5]
    assert len(geometry.corners_ras_mm()) == 8
    assert len(Geometry((2, 3), np.eye(4)).corners_ras_mm()) == 4


def test_the_distance_of_corners():
    one = Geometry((2, 3, 4), np.eye(4))
    moved = np.eye(4)
    moved[:3, 3] = (3, 4, 0)
    assert one.corner_distance_mm(Geometry((2, 3, 4), moved)) == pytest.approx(5)
    assert one.is_same_grid(Geometry((2, 3, 4), moved), 5.001)


def test_right_angles_and_volumes():
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    assert grid(rotations(3, 1)[0]).is_perpendicular()
    assert not Geometry(SHAPE, sheared).is_perpendicular()
    assert unit_volume(np.diag([2.0, 3.0, 4.0, 1.0])) == pytest.approx(1)
    assert unit_volume(np.diag([2.0, 3.0, 0.0, 1.0])) != pytest.approx(1)
    assert not unit_volume(np.full((4, 4), np.nan)) >= 0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_nearest_rotation_is_one_and_of_a_rotation_itself(seed):
    rotation = rotations(seed, 1)[0]
    np.testing.assert_allclose(nearest_rotation(rotation), rotation, atol=1e-12)
    near = nearest_rotation(rotation + 0.05 * np.random.default_rng(seed).standard_normal((3, 3)))
    np.testing.assert_allclose(near.T @ near, np.eye(3), atol=1e-12)
