import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from medseg.data.augment import AugmentSpec, Drawn, apply, draw, rotation


def identity(batch, spatial_dims):
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    matrix = torch.eye(spatial_dims).repeat(batch, 1, 1)
    return Drawn(matrix, None, zeros, zeros, zeros, ones, ones, ones, noise_seed=0)


def seeded(seed=0):
    return Generator().manual_seed(seed)


def a_batch(*shape, channels=2):
    images = torch.randn(shape[0], channels, *shape[1:], generator=seeded(1))
    return images, (images[:, 0] > 0).to(torch.uint8)


def same(a, b):
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in ((getattr(a, f.name), getattr(b, f.name)) for f in fields(Drawn))
    )


ALWAYS = AugmentSpec((0, 1), 180.0, 1.5, 2.0, spatial_chance=1.0, intensity_chance=1.0)


# Drawing


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_generator_decides_what_is_drawn(spatial_dims):
    first, again, other = (draw(ALWAYS, 4, spatial_dims, seeded(seed)) for seed in (5, 5, 6))
    assert same(first, again)
    assert not same(first, other)


def test_the_global_generator_has_no_part_in_it():
    images, masks = a_batch(2, 9, 9)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(apply(draw(ALWAYS, 2, 2, seeded()), images, masks, (9, 9)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_spec_of_no_chance_draws_the_identity(spatial_dims):
    never = AugmentSpec((), 180.0, 2.0, 3.0, spatial_chance=0.0, intensity_chance=0.0)
    drawn = draw(never, 8, spatial_dims, seeded())
    assert not drawn.displacement.any()
    expected = identity(8, spatial_dims)
    assert same(replace(drawn, displacement=None, noise_seed=0), expected)


@settings(max_examples=30)
@given(st.integers(0, 999), st.sampled_from([2, 3]), st.floats(1.0, 2.0))
def test_a_drawn_matrix_is_a_turn_a_mirror_and_a_zoom_within_the_bounds(seed, spatial_dims, scale):
    spec = AugmentSpec((1,), 10.0, scale, 0.0, spatial_chance=1.0)
    matrix = draw(spec, 16, spatial_dims, seeded(seed)).matrix.double()
    zoom = matrix.det().abs() ** (-1 / spatial_dims)
    assert (zoom <= scale * 1.0001).all()
    assert (zoom >= 1 / scale / 1.0001).all()
    axes = matrix * zoom[:, None, None]
    torch.testing.assert_close(
        axes @ axes.mT, torch.eye(spatial_dims, dtype=torch.float64).expand_as(axes), atol=1e-5, rtol=0
    )
    assert (axes[:, 0, 0] > 0.9).all()  # axis 0 is never mirrored, axis 1 sometimes
    assert set(axes[:, 1, 1].sign().tolist()) == {-1.0, 1.0}


# Space


@pytest.mark.parametrize(("source", "size"), [((12, 10), (8, 6)), ((9, 7), (9, 7)), ((8, 7, 6), (4, 5, 4))])
def test_the_identity_is_a_crop_around_the_middle(source, size):
    images, masks = a_batch(3, *source)
    box = (..., *(slice((s - n) // 2, (s - n) // 2 + n) for s, n in zip(source, size, strict=True)))
    out, out_masks = apply(identity(3, len(size)), images, masks, size)
    torch.testing.assert_close(out, images[box], atol=1e-4, rtol=0)
    assert torch.equal(out_masks, masks[box])
    assert out_masks.dtype == masks.dtype


@pytest.mark.parametrize("shape", [(6, 9), (5, 6, 7)])
def test_a_flip_is_exact(shape):
    images, masks = a_batch(2, *shape)
    for axis in range(len(shape)):
        drawn = identity(2, len(shape))
        drawn.matrix[:, axis, axis] = -1
        out, out_masks = apply(drawn, images, masks, shape)
        torch.testing.assert_close(out, images.flip(2 + axis), atol=1e-4, rtol=0)
        assert torch.equal(out_masks, masks.flip(1 + axis))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_of_a_picture_is_rot90(turns):
    images, masks = a_batch(2, 8, 8)
    angles = torch.tensor([[turns * math.pi / 2, 0.0, 0.0]]).repeat(2, 1)
    out, out_masks = apply(replace(identity(2, 2), matrix=rotation(angles, 2)), images, masks, (8, 8))
    torch.testing.assert_close(out, torch.rot90(images, -turns, (2, 3)), atol=1e-4, rtol=0)
    assert torch.equal(out_masks, torch.rot90(masks, -turns, (1, 2)))


@pytest.mark.parametrize(("angle", "plane"), [(0, (0, 1)), (1, (0, 2)), (2, (1, 2))])
def test_a_quarter_turn_of_a_volume_is_rot90_in_its_plane(angle, plane):
    images, masks = a_batch(2, 7, 7, 7)
    angles = torch.zeros(2, 3)
    angles[:, angle] = math.pi / 2
    out, out_masks = apply(replace(identity(2, 3), matrix=rotation(angles, 3)), images, masks, (7, 7, 7))
    torch.testing.assert_close(out, torch.rot90(images, -1, [a + 2 for a in plane]), atol=1e-4, rtol=0)
    assert torch.equal(out_masks, torch.rot90(masks, -1, [a + 1 for a in plane]))


def test_a_zoom_by_two_shows_the_middle_half():
    """Output offset 2 reads input offset 1: the outer edge of a block of 4 in 8 reaches the edge of 8."""
    images = torch.zeros(1, 1, 8, 8)
    images[..., 2:6, 2:6] = 1
    drawn = replace(identity(1, 2), matrix=torch.eye(2)[None] / 2)
    _, masks = apply(drawn, images, images[:, 0].to(torch.uint8), (8, 8))
    assert masks.all()


def test_a_displacement_is_in_voxels_along_the_array_axes():
    images, masks = a_batch(1, 9, 9)
    displacement = torch.zeros(1, 2, 5, 5)
    displacement[:, 0], displacement[:, 1] = 2, -1  # every output voxel reads two rows further, one column before
    out, out_masks = apply(replace(identity(1, 2), displacement=displacement), images, masks, (9, 9))
    torch.testing.assert_close(out[..., :-2, 1:], images[..., 2:, :-1], atol=1e-4, rtol=0)
    assert torch.equal(out_masks[..., :-2, 1:], masks[..., 2:, :-1])
    assert not out_masks[..., -1:, :].any()  # from outside: background


@settings(max_examples=25)
@given(st.integers(0, 9999), st.sampled_from([2, 3]))
def test_image_and_mask_stay_aligned(seed, spatial_dims):
    """Where all voxels around a place are inside, so is the mask; where none is, neither is the mask."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(20.0)] * spatial_dims, indexing="ij"))
    blob = ((grid - torch.tensor([9.0, 6.0, 11.0][:spatial_dims]).view(-1, *[1] * spatial_dims)) ** 2).sum(0) < 25
    images = blob.float().expand(3, 1, *blob.shape).clone()
    drawn = draw(replace(ALWAYS, intensity_chance=0.0), 3, spatial_dims, seeded(seed))
    out, masks = apply(drawn, images, blob.expand(3, *blob.shape).to(torch.uint8), [16] * spatial_dims)
    inside, outside = out[:, 0] > 1 - 1e-4, out[:, 0] < 1e-4
    assert masks[inside].all()
    assert not masks[outside].any()
    assert (inside | outside).float().mean() > 0.5


# Intensities


def intensities(**changes):
    images, masks = a_batch(2, 12, 10)
    out, out_masks = apply(replace(identity(2, 2), **changes), images, masks, (12, 10))
    assert torch.equal(out_masks, masks)
    return images, out


def test_brightness_adds_to_the_samples_it_was_drawn_for():
    images, out = intensities(brightness=torch.tensor([0.0, 0.25]))
    torch.testing.assert_close(out, images + torch.tensor([0.0, 0.25]).view(2, 1, 1, 1), atol=1e-4, rtol=0)


def test_contrast_stretches_around_the_mean():
    images, out = intensities(contrast=torch.tensor([1.3, 0.7]))
    mean = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(
        out - mean, (images - mean) * torch.tensor([1.3, 0.7]).view(2, 1, 1, 1), atol=1e-4, rtol=0
    )


def test_gamma_keeps_the_order_the_least_and_the_most():
    images, out = intensities(gamma=torch.tensor([1.5, 0.7]))
    for before, after in zip(images, out, strict=True):
        torch.testing.assert_close(before.aminmax(), after.aminmax(), atol=1e-4, rtol=0)
        assert (after.flatten()[before.flatten().argsort()].diff() >= -1e-5).all()


def test_noise_has_the_drawn_deviation_and_comes_from_its_seed():
    images, out = intensities(noise=torch.tensor([0.0, 0.2]))
    again = intensities(noise=torch.tensor([0.0, 0.2]))[1]
    torch.testing.assert_close(out[0], images[0], atol=1e-4, rtol=0)
    assert 0.15 < (out - images)[1].std() < 0.25
    assert torch.equal(out, again)


@pytest.mark.parametrize("change", ["blur", "coarseness"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_blur_and_low_resolution_smooth_and_leave_a_constant_alone(change, spatial_dims):
    shape = (2, 1, *[8] * spatial_dims)
    drawn = replace(identity(2, spatial_dims), **{change: torch.tensor([2.0 if change == "coarseness" else 1.0] * 2)})
    masks = torch.zeros(2, *shape[2:], dtype=torch.uint8)
    rough = torch.randn(shape, generator=seeded())
    assert apply(drawn, rough, masks, shape[2:])[0].std() < 0.9 * rough.std()
    flat = torch.full(shape, 3.5)
    torch.testing.assert_close(apply(drawn, flat, masks, shape[2:])[0], flat)


def test_apply_is_pure():
    images, masks = a_batch(2, 10, 10)
    before = images.clone(), masks.clone()
    drawn = draw(ALWAYS, 2, 2, seeded())
    first, again = (apply(drawn, images, masks, (8, 8)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])
