"""Volumes on a grid of another voxel size, beside what MONAI's transforms make of them."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai import transforms
from monai.data.meta_tensor import MetaTensor
from scipy.spatial.transform import Rotation

from medseg.data.spacing import Spaced
from medseg.domain.geometry import Geometry

SIZES = st.floats(0.3, 6.0).map(lambda size: round(size, 3))


def by_monai(voxels, geometry, spacing_mm, mode):
    image = MetaTensor(torch.from_numpy(voxels.astype(np.float32)), affine=torch.tensor(geometry.affine_ras))
    turned = transforms.Orientation("RAS", labels=None)(image)
    made = transforms.Spacing(spacing_mm, mode=mode)(turned)
    return made.as_tensor(), made.affine.numpy()


@st.composite
def grids(draw):
    shape = tuple(draw(st.lists(st.integers(2, 14), min_size=3, max_size=3)))
    sizes = np.array(draw(st.lists(SIZES, min_size=3, max_size=3)))
    order = draw(st.permutations(range(3)))
    signs = np.array(draw(st.lists(st.sampled_from((-1, 1)), min_size=3, max_size=3)))
    angles = draw(st.sampled_from([(0, 0, 0), (10, 0, 0), (3, -20, 30), (0, 40, 0)]))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, order] * signs * sizes
    affine[:3, 3] = draw(st.lists(st.integers(-200, 200), min_size=3, max_size=3))
    return Geometry(shape, affine).perpendicular()


def ends_clear(geometry, spacing_mm):
    """Whether no axis ends half way between two of the new voxels, where a last bit decides of one more or less."""
    axes = np.abs(geometry.affine_ras[:3, :3]).argmax(0)
    sizes = np.linalg.norm(geometry.affine_ras[:3, :3], axis=0)
    steps = (np.array(geometry.shape_ijk) - 1) * sizes / np.array(spacing_mm)[axes]
    return bool((np.abs(steps % 1 - 0.5) > 1e-6).all())


@settings(max_examples=150)
@given(grids(), st.lists(SIZES, min_size=3, max_size=3), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_the_grid_and_its_values_are_monais(geometry, spacing_mm, channels, seed):
    assume(ends_clear(geometry, spacing_mm))
    voxels = np.random.default_rng(seed).normal(100, 300, (channels, *geometry.shape_ijk)).astype(np.int16)
    expected, affine = by_monai(voxels, geometry, spacing_mm, "bilinear")
    spaced = Spaced.of(geometry, spacing_mm)
    values = spaced.linear(voxels)
    assert values.shape == expected.shape
    np.testing.assert_allclose(spaced.affine_ras, affine, atol=1e-9)
    torch.testing.assert_close(values, expected, rtol=1.2e-7, atol=1e-7)  # the last bit of float32


@settings(max_examples=80)
@given(grids(), st.lists(SIZES, min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_the_nearest_voxels_are_monais_but_half_way(geometry, spacing_mm, seed):
    assume(ends_clear(geometry, spacing_mm))
    voxels = np.random.default_rng(seed).integers(0, 9, (1, *geometry.shape_ijk)).astype(np.uint8)
    expected, _ = by_monai(voxels, geometry, spacing_mm, "nearest")
    spaced = Spaced.of(geometry, spacing_mm)
    clear = [np.abs(places % 1 - 0.5) > 1e-6 for places in spaced.places]
    inside = np.ix_(*clear)
    assert torch.equal(spaced.nearest(voxels)[0][inside], expected[0][inside])


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.0008, 0.9993, 1.0), (1.0012, 1.0, 1.0)])
def test_voxels_of_about_the_wanted_size_stay_as_they_are(spacing_mm):
    voxels = np.random.default_rng(0).normal(size=(1, 5, 6, 7)).astype(np.float32)
    geometry = Geometry((5, 6, 7), np.eye(4))
    spaced = Spaced.of(geometry, spacing_mm)
    expected, affine = by_monai(voxels, geometry, spacing_mm, "bilinear")
    assert torch.equal(spaced.linear(voxels), expected)
    np.testing.assert_allclose(spaced.affine_ras, affine, atol=1e-12)


def test_blocks_of_planes_are_one_grid(monkeypatch):
    voxels = np.random.default_rng(0).normal(size=(2, 20, 9, 8)).astype(np.float32)
    spaced = Spaced.of(Geometry((20, 9, 8), np.diag([-1.3, 0.7, 2.0, 1.0])), (0.8, 1.0, 1.1))
    whole = spaced.linear(voxels)
    for values in (1, 500, 5000):
        monkeypatch.setattr("medseg.data.spacing._BLOCK_VALUES", values)
        assert torch.equal(spaced.linear(voxels), whole)


def test_a_sheared_volume_is_left_to_others():
    affine = np.eye(4)
    affine[0, 1] = 0.2
    assert Spaced.of(Geometry((5, 6, 7), affine), (1.0, 1.0, 1.0)) is None
    assert Spaced.of(Geometry((5, 6), np.eye(4)), (1.0, 1.0)) is None
