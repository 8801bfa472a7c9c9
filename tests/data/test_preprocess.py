from itertools import permutations, product

import numpy as np
import pytest
import torch
from monai import transforms
from monai.data.meta_tensor import MetaTensor

from medseg.data.preprocess import PreprocessSpec, entries, load_entry, preprocess
from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.nifti import write_nifti_image

SPEC = PreprocessSpec(1, (1.0, 1.0, 1.0), "zscore")
ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def ball(shape, affine, centre_ras_mm, radius_mm):
    """A volume that is 1 within a ball of known place in millimetres, and its mask."""
    geometry = Geometry(shape, affine)
    places = geometry.ijk_to_ras_mm(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1))
    inside = np.linalg.norm(places - np.array(centre_ras_mm), axis=-1) < radius_mm
    return Volume(inside[None].astype(np.int16) * 100, geometry, "ball"), inside.astype(np.uint8)


def centroid_ras_mm(mask, affine):
    ijk = np.argwhere(np.asarray(mask)).mean(0)
    return np.asarray(affine)[:3, :3] @ ijk + np.asarray(affine)[:3, 3]


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
@pytest.mark.parametrize("affine", [
    np.diag([1.0, 1.0, 1.0, 1.0]),
    np.diag([-0.8, -0.8, 2.5, 1.0]),
    np.array([[0, 0, 3.0, -20], [-1.2, 0, 0, 15], [0, -1.2, 0, 12], [0, 0, 0, 1.0]]),
])  # fmt: skip
def test_a_ball_stays_where_it_is_in_millimetres(affine, spacing_mm):
    shape = [int(36 / n) for n in np.linalg.norm(affine[:3, :3], axis=0)]
    middle = Geometry(tuple(shape), affine).ijk_to_ras_mm((np.array(shape) - 1) / 2)
    centre = middle + np.array([2.0, -1.0, 1.0])
    volume, mask = ball(tuple(shape), affine, centre, 9.0)
    image, target = preprocess(volume, PreprocessSpec(1, spacing_mm, "zscore"), mask)
    np.testing.assert_allclose(image.affine_ras[:3, :3], np.diag(spacing_mm), atol=1e-9)  # RAS, at the asked spacing
    assert np.array_equal(image.affine_ras, target.affine_ras)
    assert image.values.shape == target.values.shape
    bright = image.values[0] > 0.5 * image.values.max()
    np.testing.assert_allclose(centroid_ras_mm(target.values[0] > 0, target.affine_ras), centre, atol=0.4)
    np.testing.assert_allclose(centroid_ras_mm(bright, image.affine_ras), centre, atol=0.6)
    volume_mm3 = float((target.values > 0).sum()) * np.prod(spacing_mm)
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.1)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_all_48_orders_of_the_axes_give_the_network_the_same(order, signs):
    geometry = Geometry((4, 5, 6), np.array([[1.0, 0, 0, 3], [0, 1, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]]))
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    expected, expected_mask = preprocess(Volume(voxels[None], geometry, "a"), SPEC, voxels > 0)

    turned, affine = voxels.transpose(order), geometry.affine_ras[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    image, mask = preprocess(Volume(turned[None], Geometry(turned.shape, affine), "a"), SPEC, turned > 0)
    torch.testing.assert_close(image.values, expected.values, atol=1e-6, rtol=0)
    assert torch.equal(mask.values, expected_mask.values)
    np.testing.assert_allclose(image.affine_ras, expected.affine_ras)


def test_zscore_leaves_mean_0_and_deviation_1():
    voxels = (np.random.default_rng(0).normal(size=(1, 6, 6, 6)) * 1e5 + 1e6).astype(np.float32)
    (image,) = preprocess(Volume(voxels, Geometry((6, 6, 6), np.eye(4)), "a"), SPEC)
    assert image.values.dtype == torch.float32
    assert image.values.mean().item() == pytest.approx(0, abs=1e-4)
    assert image.values.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_percentiles_become_0_and_1_over_all_channels_together():
    voxels = np.arange(3 * 10 * 10, dtype=np.float64).reshape(3, 10, 10)  # 0..299: percentiles 2.99 and 296.01
    (image,) = preprocess(Volume(voxels, Geometry((10, 10), np.eye(4)), "a"), PreprocessSpec(3, None, "percentile"))
    expected = (voxels - 2.99) / (296.01 - 2.99)
    np.testing.assert_allclose(image.values, expected, atol=1e-4)


def test_without_a_spacing_the_grid_is_that_of_the_image():
    affine = np.diag([-0.3, -0.4, 1.0, 1.0])
    volume = Volume(np.random.default_rng(0).integers(0, 9, (1, 7, 5)), Geometry((7, 5), affine), "a")
    image, mask = preprocess(volume, PreprocessSpec(1, None, "percentile"), volume.voxels[0] > 4)
    assert image.values.shape == mask.values.shape == (1, 7, 5)
    assert np.array_equal(image.affine_ras, affine)
    assert np.array_equal(mask.values[0], volume.voxels[0] > 4)


def test_the_volume_is_left_alone():
    volume, mask = ball((6, 6, 6), np.eye(4), (3, 3, 3), 2.0)
    before = volume.voxels.copy(), mask.copy()
    preprocess(volume, SPEC, mask)
    assert np.array_equal(volume.voxels, before[0])
    assert np.array_equal(mask, before[1])


def test_colour_for_a_grey_network_is_refused_and_grey_for_colour_repeated():
    geometry = Geometry((4, 4), np.eye(4))
    noise = np.random.default_rng(0).normal(size=(3, 4, 4))
    with pytest.raises(InputError, match="3 colour channels"):
        preprocess(Volume(noise, geometry, "a"), PreprocessSpec(1, None, "zscore"))
    (image,) = preprocess(Volume(noise[:1], geometry, "a"), PreprocessSpec(3, None, "zscore"))
    assert image.values.shape == (3, 4, 4)
    assert torch.equal(image.values[0], image.values[2])


@pytest.mark.parametrize("shear", [0, 0.4])
def test_the_config_entries_run_by_monai_give_the_same_as_preprocess(tmp_path, shear):
    """What a bundle's config says and what this project runs are one thing, of a sheared volume too."""
    affine = np.array([[0, -1.5, 0, 30], [2.0, 0, shear, -4], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    geometry = Geometry((5, 6, 7), affine)
    write_nifti_image(voxels, geometry, tmp_path / "a.nii.gz")
    chain = []
    for entry in [load_entry(SPEC, ["image"]), *entries(SPEC, ["image"])]:
        options = {key: value for key, value in entry.items() if key != "_target_"}
        chain.append(getattr(transforms, entry["_target_"])(**options))
    by_monai = transforms.Compose(chain)({"image": tmp_path / "a.nii.gz"})["image"]
    (ours,) = preprocess(Volume(voxels[None], geometry, "a"), SPEC)
    torch.testing.assert_close(by_monai.as_tensor(), ours.values, atol=1e-6, rtol=0)
    np.testing.assert_allclose(by_monai.affine, ours.affine_ras)


@pytest.mark.parametrize("shape", [(1, 2), (7, 5), (9, 8, 7), (1001, 1001)], ids=str)
@pytest.mark.parametrize("spec", [
    PreprocessSpec(1, None, "zscore"),
    PreprocessSpec(1, None, "percentile"),
    PreprocessSpec(1, None, "range", (-160.0, 240.0)),
], ids=lambda spec: spec.normalise)  # fmt: skip
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_on_the_grid_of_the_image_the_numbers_are_bit_for_bit_monais(shape, spec, kind):
    """Above a million voxels MONAI takes percentiles by numpy; an image of two voxels has none between."""
    noise = np.random.default_rng(0).normal(100, 90, (1, *shape)).clip(0, 255).astype(kind)
    geometry = Geometry(shape, np.eye(4))
    (ours,) = preprocess(Volume(noise, geometry, "a"), spec)
    theirs = {"image": MetaTensor(torch.from_numpy(noise.astype(np.float32)))}
    for entry in entries(spec, ["image"]):
        options = {key: value for key, value in entry.items() if key != "_target_"}
        theirs = getattr(transforms, entry["_target_"])(**options)(theirs)
    assert torch.equal(ours.values, theirs["image"].as_tensor())
