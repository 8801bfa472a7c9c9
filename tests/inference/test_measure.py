from dataclasses import replace
from math import prod

import numpy as np
import pytest
import SimpleITK as sitk

from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.inference import measure as module
from medseg.inference.measure import measure
from tests.bundles import NUCLEI, ORGANS
from tests.phantoms import box_volume, oblique, orientations

ORIENTATIONS = orientations((1.0, 1.5, 2.0))
SHEARED = np.array([[1, 0.4, 0, -5], [0, 1.5, 0.3, 2], [0.2, 0, 2, 9], [0, 0, 0, 1.0]])


def measured(phantom, **changes):
    volume = phantom.volume
    mask = LabelMap(phantom.mask, volume.geometry, ORGANS)
    return measure(replace(mask, **changes), volume)


def test_the_box_by_hand():
    liver, tumour = measured(box_volume())
    assert (liver.label, liver.value, liver.voxels) == ("liver", 1, 400)
    assert liver.volume_ml == pytest.approx(1.2)  # 400 voxels of 1 x 1.5 x 2 mm
    assert liver.centroid_ras_mm == pytest.approx((8.5, 12, 13))
    assert liver.mean_intensity == 100
    assert not liver.touches_border
    assert (liver.area_mm2, liver.instances, liver.region) == (None, None, None)
    assert (tumour.label, tumour.value, tumour.voxels, tumour.volume_ml) == ("liver tumour", 5, 0, 0.0)
    assert (tumour.centroid_ras_mm, tumour.mean_intensity, tumour.touches_border) == (None, None, False)


@pytest.mark.parametrize(
    "affine",
    [*ORIENTATIONS.values(), oblique(ORIENTATIONS["LPS"], (10, 20, 30)), SHEARED],
    ids=[*ORIENTATIONS, "oblique", "sheared"],
)
def test_volume_and_centroid_follow_the_affine(affine):
    """By the determinant: the edges of a sheared voxel do not multiply to its volume."""
    phantom = box_volume(affine_ras=affine)
    liver, _ = measured(phantom)
    assert liver.volume_ml == pytest.approx(400 * abs(np.linalg.det(affine[:3, :3])) / 1000)
    assert liver.centroid_ras_mm == pytest.approx(phantom.centroid_ras_mm, abs=1e-3)


def test_a_sheared_voxel_is_smaller_than_the_product_of_its_edges():
    geometry = box_volume(affine_ras=SHEARED).volume.geometry
    liver, _ = measured(box_volume(affine_ras=SHEARED))
    assert liver.volume_ml < 0.99 * 400 * prod(geometry.spacing_mm) / 1000


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [0, -1])
def test_a_label_at_any_face_touches_the_border(axis, end):
    phantom = box_volume()
    phantom.mask[tuple(end if a == axis else 8 for a in range(3))] = 1
    liver, tumour = measured(phantom)
    assert liver.touches_border
    assert not tumour.touches_border


def test_the_mean_is_of_the_label_and_the_first_channel():
    phantom = box_volume()
    first = np.where(phantom.mask, 30, 999)
    first[5, 7, 4] = 430
    volume = replace(phantom.volume, voxels=np.stack([first, first * 0, first * 0]).astype(np.float32))
    liver, _ = measure(LabelMap(phantom.mask, volume.geometry, ORGANS), volume)
    assert liver.mean_intensity == pytest.approx(31)


def test_the_mean_of_large_numbers_is_finite():
    """float32 sums overflow, and JSON has no infinity."""
    phantom = box_volume()
    volume = replace(phantom.volume, voxels=np.full(phantom.volume.voxels.shape, 3e38, np.float32))
    liver, _ = measure(LabelMap(phantom.mask, volume.geometry, ORGANS), volume)
    assert liver.mean_intensity == pytest.approx(3e38)


def picture(mask, table=NUCLEI, calibrated=True):
    geometry = Geometry(mask.shape, np.diag([-0.5, -0.25, 1.0, 1.0]), calibrated)
    return LabelMap(mask, geometry, table), Volume(mask[None].astype(np.uint8), geometry, "p")


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_picture_has_an_area_where_its_pixels_have_a_size(calibrated):
    mask = np.zeros((12, 10), np.uint8)
    mask[2:6, 3:8] = 5
    liver, tumour = measure(*picture(mask, ORGANS, calibrated))
    assert (liver.voxels, tumour.voxels) == (0, 20)
    assert tumour.volume_ml is None
    assert tumour.area_mm2 == (pytest.approx(20 * 0.125) if calibrated else None)
    assert tumour.centroid_ras_mm == (pytest.approx((-1.75, -1.25, 0)) if calibrated else None)


def test_a_volume_of_unknown_size_has_no_volume():
    phantom = box_volume()
    volume = replace(phantom.volume, geometry=replace(phantom.volume.geometry, calibrated=False))
    liver, _ = measure(LabelMap(phantom.mask, volume.geometry, ORGANS), volume)
    assert (liver.voxels, liver.volume_ml, liver.area_mm2) == (400, None, None)


@pytest.mark.parametrize(
    ("mask", "instances", "voxels"),
    [
        ([[0, 0, 0], [0, 0, 0]], 0, 0),
        ([[0, 1, 0], [2, 0, 3]], 3, 3),
        ([[1, 1, 2], [700, 700, 2]], 3, 6),  # no background
        ([[0, 1, 1], [0, 0, 9]], 2, 3),
    ],
)
def test_instances_are_counted_and_measured_together(mask, instances, voxels):
    (nucleus,) = measure(*picture(np.array(mask, np.uint16)))
    assert (nucleus.label, nucleus.value) == ("nucleus", 1)
    assert (nucleus.instances, nucleus.voxels) == (instances, voxels)
    assert nucleus.area_mm2 == pytest.approx(voxels * 0.125)


def test_a_label_of_many_bits_is_found():
    mask = np.zeros((4, 5, 6), np.uint16)
    mask[1, 2, 3] = 5
    volume = Volume(mask[None], Geometry(mask.shape, np.diag([1.0, 2.0, 3.0, 1.0])), "x")
    _, tumour = measure(LabelMap(mask, volume.geometry, ORGANS), volume, region="1,2,3,4,5,6")
    assert tumour.centroid_ras_mm == (1.0, 4.0, 9.0)
    assert tumour.region == "1,2,3,4,5,6"


@pytest.mark.parametrize("block", [1, 500, 2**20])
@pytest.mark.parametrize("shape", [(13, 9, 11), (17, 12)])
def test_places_and_counts_are_those_of_simpleitk(monkeypatch, shape, block):
    """However many planes are summed up at a time, and whatever the order of the voxels in memory."""
    monkeypatch.setattr(module, "_BLOCK_VOXELS", block)
    rng = np.random.default_rng(3)
    mask = np.asfortranarray(rng.choice([0, 1, 5], shape).astype(np.uint8))
    values = rng.normal(100, 20, shape).astype(np.float32)
    affine = np.diag([*(0.7, 1.1, 2.3)[: len(shape)], *[1.0] * (4 - len(shape))])
    geometry = Geometry(shape, affine)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.GetImageFromArray(np.ascontiguousarray(mask.T)))
    for found in measure(LabelMap(mask, geometry, ORGANS), Volume(values[None], geometry, "case")):
        assert found.voxels == shapes.GetNumberOfPixels(found.value)
        centre = geometry.ijk_to_ras_mm(np.array(shapes.GetCentroid(found.value)))
        np.testing.assert_allclose(found.centroid_ras_mm, centre, atol=1e-3)
        assert found.mean_intensity == pytest.approx(values[mask == found.value].mean(dtype=np.float64), rel=1e-12)
