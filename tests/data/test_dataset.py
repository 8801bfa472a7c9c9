from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medseg.data.augment import AugmentSpec
from medseg.data.dataset import Batches, BatchSpec, Sample, crop, load_case, load_samples
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import GridError, InputError, ValueRangeError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.engines.plan import to_target
from medseg.io.manifest_build import sha256_of
from medseg.io.nifti import write_nifti_image

PLAIN = AugmentSpec((), spatial_chance=0.0, elastic_voxels=0.0, intensity_chance=0.0)
LIVELY = AugmentSpec((0, 1), 90.0, 1.5, 1.0, 1.0, 1.0)


def a_case(name="a", kind=""):
    return Case(name, f"{name}.nii", f"{name}_mask.nii", name, "train", ("0" * 64,) * 2, kind)


def a_sample(shape, seed=0, kind=""):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, *shape, generator=generator) + 0.5  # nowhere 0, so that padding shows
    return Sample(a_case(kind=kind), image, (image[0] > 1.3).to(torch.uint8))


def batches(samples, size, augment=PLAIN, count=4, seed=0, foreground=0.33):
    return Batches(samples, BatchSpec(size, count, foreground), augment, seed)


# Batches


@pytest.mark.parametrize("shape", [(20, 14), (9, 12, 10)])
def test_a_batch_depends_on_the_seed_and_the_step_only(shape):
    samples = [a_sample(shape, n) for n in range(5)]
    size = tuple(n // 2 for n in shape)
    one, other = (batches(samples, size, LIVELY, seed=7) for _ in range(2))
    torch.manual_seed(1)
    forwards = {step: one(step) for step in (1, 2, 3)}
    torch.manual_seed(2)
    backwards = {step: other(step) for step in (3, 2, 1)}
    for step in (1, 2, 3):
        assert all(torch.equal(a, b) for a, b in zip(forwards[step], backwards[step], strict=True))
    assert not torch.equal(forwards[1][0], forwards[2][0])
    assert not torch.equal(forwards[1][0], batches(samples, size, LIVELY, seed=8)(1)[0])
    assert forwards[1][0].shape == (4, 1, *size)
    assert forwards[1][1].shape == (4, *size)


@pytest.mark.parametrize("shape", [(20, 14), (9, 12, 10)])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_the_shares_of_a_batch_are_its_parts(shape, shares):
    samples = [a_sample(shape, n) for n in range(5)]
    draws = batches(samples, tuple(n // 2 for n in shape), LIVELY, count=5)
    for step in (1, 2):
        parts = [draws(step, (k, shares)) for k in range(shares)]
        assert {len(part[0]) for part in parts} <= {5 // shares, 5 // shares + 1}
        images, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        assert torch.allclose(draws(step)[0], images, atol=1e-6)  # vectors end elsewhere, and round there
        assert torch.equal(draws(step)[1], targets)


@settings(max_examples=40)
@given(st.tuples(st.integers(3, 12), st.integers(3, 12)), st.tuples(st.integers(0, 9), st.integers(0, 9)), st.data())
def test_a_patch_lies_inside_an_image_that_is_large_enough(size, more, data):
    """Patches of an odd size reached one voxel beyond the image's end."""
    sample = a_sample([n + m for n, m in zip(size, more, strict=True)])
    foreground = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    images, _ = batches([sample], size, foreground=foreground, count=8)(data.draw(st.integers(1, 1000)))
    assert images.min() > 0.4


def test_a_patch_larger_than_the_image_holds_all_of_it_in_zeros():
    sample = a_sample((5, 30))
    images, targets = batches([sample], (9, 12), count=16)(1)
    inner = images[:, :, 2:7]
    assert (inner > 0.4).all()
    assert not images[:, :, :2].any()
    assert not images[:, :, 7:].any()
    assert torch.equal(targets[:, 2:7], (inner[:, 0] > 1.3).to(torch.uint8))


def test_every_voxel_of_an_image_can_be_reached():
    sample = Sample(a_case(), torch.arange(1.0, 50.0).view(1, 7, 7), torch.zeros(7, 7, dtype=torch.uint8))
    draws = batches([sample], (3, 4), count=64)
    seen = torch.cat([draws(step)[0].round().flatten() for step in range(1, 4)])
    assert set(seen.tolist()) == set(range(1, 50))


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.0, 0.2), (0.5, 0.4, 0.65), (1.0, 1.0, 1.0)])
def test_so_many_patches_are_centred_on_a_labelled_voxel(share, least, most):
    target = torch.zeros(40, 40, dtype=torch.uint8)
    target[20, 13] = 1
    sample = Sample(a_case(), torch.ones(1, 40, 40), target)
    _, targets = batches([sample], (8, 8), count=256, foreground=share)(3)
    centred = (targets[:, 4, 4] == 1).float().mean()
    assert least <= centred <= most


def test_rare_kinds_are_drawn_by_the_square_root_of_their_number():
    """Nine of one kind and one of another are drawn 3 to 1."""
    samples = [Sample(a_case(kind="many"), torch.ones(1, 4, 4), torch.zeros(4, 4, dtype=torch.uint8))] * 9
    samples += [Sample(a_case(kind="one"), torch.full((1, 4, 4), 5.0), torch.zeros(4, 4, dtype=torch.uint8))]
    images, _ = batches(samples, (4, 4), count=4000)(1)
    assert (images[:, 0, 0, 0] > 3).float().mean() == pytest.approx(0.25, abs=0.03)


# Crops


@settings(max_examples=100)
@given(st.data())
def test_a_crop_is_the_box_and_zeros_outside(data):
    """A box with no voxel inside was an IndexError."""
    shape = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=3))
    start = [data.draw(st.integers(-8, 8)) for _ in shape]
    size = [data.draw(st.integers(1, 9)) for _ in shape]
    x = torch.rand(2, *shape) + 1
    padded = np.pad(x.numpy(), [(0, 0)] + [(9, 20)] * len(shape))
    box = (slice(None), *(slice(9 + s, 9 + s + n) for s, n in zip(start, size, strict=True)))
    assert np.array_equal(crop(x, start, size).numpy(), padded[box])


# Cases from disk


def a_manifest(names, **changes):
    table = LabelTable((Label(2, "a", (255, 0, 0)), Label(7, "b", (0, 255, 0))))
    cases = tuple(a_case(name) for name in names)
    return replace(Manifest("set", "some", "us", "CC0-1.0", ".", "MR", 3, 1, table, cases), **changes)


def write_case(folder, name, value=1.0, mask_shape=(6, 5, 4), mask_affine=None, mask_value=7):
    affine = np.diag([-1.0, 2.0, 1.0, 1.0])
    image = np.full((6, 5, 4), value, np.float32)
    image[0, 0, 0] = 0
    mask = np.zeros(mask_shape, np.uint8)
    mask[1, 2, 3], mask[2, 2, 2] = mask_value, 2
    write_nifti_image(image, Geometry((6, 5, 4), affine), folder / f"{name}.nii")
    write_nifti_image(
        mask, Geometry(mask_shape, affine if mask_affine is None else mask_affine), folder / f"{name}_mask.nii"
    )


def with_digests(case, folder):
    return replace(case, sha256=(sha256_of(folder / case.image), sha256_of(folder / case.mask)))


def test_samples_come_in_order_with_targets_of_class_indices(tmp_path):
    names = [f"case{n}" for n in range(9)]
    for n, name in enumerate(names):
        write_case(tmp_path, name, value=n + 1)
    manifest, told = a_manifest(names), []
    manifest = replace(manifest, cases=tuple(with_digests(case, tmp_path) for case in manifest.cases))
    spec = PreprocessSpec(1, (1.0, 2.0, 1.0), "zscore")
    samples = load_samples(manifest, manifest.cases, tmp_path, spec, to_target(manifest), lambda: told.append(1))
    assert [sample.case.id for sample in samples] == names
    assert len(told) == len(names)
    for sample in samples:
        assert sample.image.dtype == torch.float32
        assert sample.target.dtype == torch.uint8
        assert type(sample.image) is type(sample.target) is torch.Tensor  # caches hold tensors
        assert sample.image.shape == (1, *sample.target.shape)
        assert sample.target[4, 2, 3] == 2  # label 7 is the table's second; axis 0 ran to the left, so 1 becomes 4
        assert sample.target[3, 2, 2] == 1
        assert sample.target.sum() == 3


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"mask_shape": (6, 5, 5)}, GridError, r"shape \(6, 5, 5\), its image has \(6, 5, 4\)"),
        ({"mask_affine": np.diag([1.0, 2.0, 1.0, 1.0])}, GridError, "lies elsewhere"),
        ({"mask_value": 8}, ValueRangeError, "a_mask.nii: the mask holds 8 in 1 voxel"),
    ],
)
def test_a_mask_that_does_not_fit_its_image_is_refused(tmp_path, change, error, reason):
    write_case(tmp_path, "a")
    volume, values = load_case(a_manifest(["a"]), with_digests(a_case(), tmp_path), tmp_path)
    assert volume.geometry.shape_ijk == values.shape
    assert np.unique(values).tolist() == [0, 2, 7]
    write_case(tmp_path, "a", **change)
    with pytest.raises(error, match=reason):
        load_case(a_manifest(["a"]), with_digests(a_case(), tmp_path), tmp_path)


def test_constant_and_colour_images_are_named_with_all_others_that_cannot_be_used(tmp_path):
    """A constant image trained without a word; one in colour hid the others."""
    rng = np.random.default_rng(0)
    cases = []
    for name in ("good", "flat", "strange", "colour"):
        shape = (8, 9, 3) if name == "colour" else (8, 9)
        values = np.full(shape, 7) if name == "flat" else rng.integers(0, 255, shape)
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
        mask = np.full((8, 9), 8 if name == "strange" else 7, np.uint8)
        Image.fromarray(mask).save(tmp_path / f"{name}_mask.png")
        cases.append(with_digests(replace(a_case(name), image=f"{name}.png", mask=f"{name}_mask.png"), tmp_path))
    manifest = a_manifest([], cases=tuple(cases), spatial_dims=2)
    with pytest.raises(InputError) as refusal:
        load_samples(manifest, manifest.cases, tmp_path, PreprocessSpec(1, None, "percentile"), to_target(manifest))
    told = str(refusal.value)
    assert "3 of 4 cases cannot be used" in told
    for reason in ("flat.png: every voxel is 7", "strange_mask.png: the mask holds 8", "has 3 colour channels"):
        assert reason in told


@pytest.mark.parametrize("name", ["a.nii", "a_mask.nii"])
def test_a_file_that_is_another_than_the_manifest_means_is_refused(tmp_path, name):
    """A training took it without a word, and a test image replaced by one that trained was scored."""
    for case, value in (("a", 1.0), ("b", 2.0)):
        write_case(tmp_path, case, value, mask_value=7 if case == "a" else 2)
    case = with_digests(a_case(), tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name.replace("a", "b", 1)).read_bytes())
    with pytest.raises(InputError, match=f"{name}: sha256 is .* the manifest says"):
        load_case(a_manifest(["a"]), case, tmp_path)
