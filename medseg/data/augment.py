"""Random changes to a whole batch at once: first drawn, as a value; then applied, as a pure function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class AugmentSpec:
    """How strong; chances are per sample.

    flip_axes:        array axes that may be mirrored, each with a chance of one half.
    rotation_degrees: the largest angle about each axis (3-D) or in the plane (2-D).
    scale:            the largest factor of zoom, and its inverse.
    elastic_voxels:   standard deviation of a smooth random displacement.
    spatial_chance:   of rotation, zoom and displacement.
    intensity_chance: of each of noise, blur, brightness, contrast, gamma and low resolution.
    """

    flip_axes: tuple[int, ...] = (0,)
    rotation_degrees: float = 15.0
    scale: float = 1.2
    elastic_voxels: float = 1.0
    spatial_chance: float = 0.5
    intensity_chance: float = 0.15


@dataclass(frozen=True)
class Drawn:
    """One batch's random numbers; B samples of d axes.

    matrix: (B, d, d) output voxel offset from the centre -> input voxel offset; flips, rotation and zoom.
    displacement: (B, d, *coarse) voxels, or None.
    noise, blur: (B) standard deviations in image units and voxels; 0 leaves a sample alone.
    brightness:  (B) summand; contrast, gamma: (B) factor and exponent; 1 leaves a sample alone.
    coarseness:  (B) factor of lost resolution; 1 leaves a sample alone.
    noise_seed:  the seed of the noise field.
    before, after: how many samples of the batch come before and after these, where these are a share of it.
    """

    matrix: Tensor
    displacement: Tensor | None
    noise: Tensor
    blur: Tensor
    brightness: Tensor
    contrast: Tensor
    gamma: Tensor
    coarseness: Tensor
    noise_seed: int
    before: int = 0
    after: int = 0

    def share(self, first: int, count: int) -> Drawn:
        """The numbers of `count` samples of the whole batch, as if the others were not there."""
        tensors: dict[str, Any] = {
            field.name: value[first : first + count]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors, before=first, after=len(self.matrix) - first - count)


def draw(spec: AugmentSpec, batch: int, spatial_dims: int, generator: Generator) -> Drawn:
    """Random numbers for a batch, all of them from the generator."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*(shape or (batch,)), generator=generator) * (high - low) + low

    def sometimes(chance: float, value: Tensor, otherwise: float) -> Tensor:
        return torch.where(torch.rand(batch, generator=generator) < chance, value, torch.tensor(otherwise))

    turned = torch.rand(batch, generator=generator) < spec.spatial_chance
    angles = uniform(-1, 1, batch, 3) * math.radians(spec.rotation_degrees) * turned[:, None]
    zoom = torch.exp(uniform(-1, 1) * math.log(spec.scale) * turned)
    flips = torch.ones(batch, spatial_dims)
    for axis in spec.flip_axes:
        flips[:, axis] = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    matrix = rotation(angles, spatial_dims) * flips[:, None, :] / zoom[:, None, None]
    displacement = None
    if spec.elastic_voxels > 0:
        field = torch.randn(batch, spatial_dims, *[5] * spatial_dims, generator=generator) * spec.elastic_voxels
        displacement = field * turned.view(-1, 1, *[1] * spatial_dims)
    chance = spec.intensity_chance
    return Drawn(
        matrix,
        displacement,
        noise=sometimes(chance, uniform(0, 0.3), 0.0),
        blur=sometimes(chance, uniform(0.5, 1.0), 0.0),
        brightness=sometimes(chance, uniform(-0.3, 0.3), 0.0),
        contrast=sometimes(chance, uniform(0.7, 1.4), 1.0),
        gamma=sometimes(chance, torch.exp(uniform(-0.4, 0.4)), 1.0),
        coarseness=sometimes(chance, uniform(1.2, 2.0), 1.0),
        noise_seed=int(torch.randint(2**31, (1,), generator=generator)),
    )


def apply(drawn: Drawn, images: Tensor, masks: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images (B, C, *S) and masks (B, *S) -> images (B, C, *size) and masks (B, *size); a pure function.

    The middle of the input becomes the middle of the output; what lies outside the input is 0.
    """
    grid = _sampling_grid(drawn, images.shape[2:], size)
    images = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    masks = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0].to(masks.dtype)
    return _change_intensities(drawn, images), masks


def rotation(angles: Tensor, spatial_dims: int) -> Tensor:
    """Angles (B, 3) in radians -> rotation matrices (B, d, d); in 2-D by the first angle."""
    cos, sin = angles.cos(), angles.sin()
    planes = [(0, 1)] if spatial_dims == 2 else [(0, 1), (0, 2), (1, 2)]
    matrix = torch.eye(spatial_dims).repeat(len(angles), 1, 1)
    for n, (a, b) in enumerate(planes):
        turn = torch.eye(spatial_dims).repeat(len(angles), 1, 1)
        turn[:, a, a] = turn[:, b, b] = cos[:, n]
        turn[:, a, b], turn[:, b, a] = -sin[:, n], sin[:, n]
        matrix = matrix @ turn
    return matrix


def _sampling_grid(drawn: Drawn, source: Sequence[int], size: Sequence[int]) -> Tensor:
    """(B, *size, d) in torch's convention: the last axis first, -1 and 1 at the outer edges of the source."""
    dims = drawn.matrix.shape[1]
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size]
    offset = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    place = torch.einsum("bij,...j->b...i", drawn.matrix, offset)
    if drawn.displacement is not None:
        mode = "bilinear" if dims == 2 else "trilinear"
        place = place + F.interpolate(drawn.displacement, list(size), mode=mode, align_corners=True).movedim(1, -1)
    return (place * 2 / torch.tensor(source, dtype=torch.float32)).flip(-1)


def _change_intensities(drawn: Drawn, images: Tensor) -> Tensor:
    for b in range(len(images)):
        if drawn.coarseness[b] > 1:
            images[b] = _coarsen(images[b], float(drawn.coarseness[b]))
        if drawn.blur[b] > 0:
            images[b] = _blur(images[b], float(drawn.blur[b]))
    shape = (-1, *[1] * (images.ndim - 1))
    axes = tuple(range(1, images.ndim))
    mean = images.mean(axes, keepdim=True)
    images = (images - mean) * drawn.contrast.view(shape) + mean + drawn.brightness.view(shape)
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    extent = (high - low).clamp(min=1e-6)
    images = ((images - low) / extent).pow(drawn.gamma.view(shape)) * extent + low
    if not drawn.noise.any():
        return images
    whole = (drawn.before + len(images) + drawn.after, *images.shape[1:])
    noise = torch.randn(whole, generator=Generator().manual_seed(drawn.noise_seed))
    return images + noise.narrow(0, drawn.before, len(images)) * drawn.noise.view(shape)


def _coarsen(image: Tensor, factor: float) -> Tensor:
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    small = [max(int(n / factor), 1) for n in image.shape[1:]]
    return F.interpolate(F.interpolate(image[None], small, mode="nearest-exact"), list(image.shape[1:]), mode=mode)[0]


def _blur(image: Tensor, sigma: float) -> Tensor:
    x = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    for axis in range(1, image.ndim):
        moved = image.movedim(axis, -1)
        padded = F.pad(moved.reshape(-1, 1, moved.shape[-1]), (3, 3), mode="replicate")
        image = F.conv1d(padded, kernel.view(1, 1, -1)).view(moved.shape).movedim(-1, axis)
    return image
