"""Labels of tilted slices on an upright grid: nothing is lost, and nothing is further off than half a voxel."""

import numpy as np
import pytest
import SimpleITK as sitk

from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.io.nifti import write_nifti
from medseg.io.upright import upright
from tests.phantoms import oblique

TABLE = LabelTable((Label(1, "liver", (221, 130, 101)),))
SPACING_MM = (0.8, 1.1, 2.5)


def tilted(lean_mm, degrees=(0, 0, 0)) -> LabelMap:
    """A box of 6 x 5 x 7 voxels within 14 x 12 x 9, whose slices lean."""
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:2, 2] = lean_mm
    voxels = np.zeros((14, 12, 9), np.uint8)
    voxels[4:10, 3:8, 1:8] = 1
    return LabelMap(voxels, Geometry(voxels.shape, oblique(affine, degrees)), TABLE)


@pytest.mark.parametrize("lean", [(0.9, 0), (0, -1.3), (-0.37, 0.61), (0.001, 0)])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (15, -20, 40)])
def test_each_voxel_stays_within_half_a_voxel_in_its_plane(lean, degrees):
    source = tilted(lean, degrees)
    result = upright(source)
    axes = result.geometry.affine_ras[:3, :3] / result.geometry.spacing_mm
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert result.geometry.spacing_mm == pytest.approx(SPACING_MM)
    assert result.voxels.sum() == source.voxels.sum()
    there = result.geometry.ras_mm_to_ijk(source.geometry.ijk_to_ras_mm(np.argwhere(source.voxels).astype(float)))
    nearest = np.floor(there + 0.5 - 1e-9).astype(int)
    assert np.abs(there - nearest).max() <= 0.5 + 1e-6
    assert np.abs(there[:, 2] - nearest[:, 2]).max() <= 1e-9
    assert result.voxels[tuple(nearest.T)].mean() > 0.97  # but where a voxel lies halfway
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in source.geometry.shape_ijk])).reshape(3, -1).T.astype(float)
    inside = result.geometry.ras_mm_to_ijk(source.geometry.ijk_to_ras_mm(corners))
    assert (inside >= -0.5 - 1e-9).all()
    assert (inside <= np.array(result.geometry.shape_ijk) - 0.5 + 1e-9).all()


@pytest.mark.parametrize("lean", [(0, 0), (1e-4, 0)])
def test_an_upright_mask_is_left_as_it_is(lean):
    source = tilted(lean, (10, 20, 30))
    assert upright(source) is source


def test_itk_puts_the_written_mask_where_the_slices_lie(tmp_path):
    """SimpleITK 2.5 takes half the lean of a sheared NIfTI file, without a word."""
    source = tilted((0.9, -0.4), (15, 0, 0))
    write_nifti(source, tmp_path / "mask.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    inside = np.argwhere(sitk.GetArrayFromImage(image).T)
    itk = np.array([image.TransformIndexToPhysicalPoint(index.tolist()) for index in inside]) * (-1, -1, 1)
    ours = source.geometry.ijk_to_ras_mm(np.argwhere(source.voxels).astype(float))
    assert len(itk) == len(ours)
    assert np.abs(itk.mean(0) - ours.mean(0)).max() < 0.3  # less than half a voxel
    distances = np.linalg.norm(itk[:, None] - ours[None], axis=-1).min(1)
    assert distances.max() <= np.hypot(*SPACING_MM[:2]) / 2 + 1e-4
