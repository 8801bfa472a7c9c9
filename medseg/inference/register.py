"""An affine map from a template of an organ to an image that shows it, found without a starting guess."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.volume import Volume

Float32Array = NDArray[np.float32]

_COARSE_MM, _FINE_MM = 10.0, 4.0
_PITCHES, _ROLLS_YAWS = (-40, -20, 0, 20, 40), ((0, 0), (-20, 0), (20, 0), (0, -20), (0, 20))  # degrees
_SCALES = (0.8, 0.95, 1.1)
_STARTS = 4
_TEXTURE_MM = 16.0


@dataclass(frozen=True)
class Fit:
    """How a template lies in an image.

    matrix:      (4, 4), positions of the template in mm to positions of the image, both RAS.
    correlation: of the template's texture with the image's, 1 for the same picture, about 0 for another thing.
    coverage:    the share of the organ that lies inside the image.
    """

    matrix: Float64Array
    correlation: float
    coverage: float


@dataclass(frozen=True)
class _Grid:
    """Values (*S) on cubes of `mm` along R, A, S, from the first centre on; `inside`: where the image is."""

    values: Float32Array
    inside: Float32Array
    first_mm: Float64Array
    mm: float


def register(image: Volume, template: Volume) -> Fit:
    """Where the template's organ is in the image, by all orientations up to 40 degrees and sizes from 0.75 to 1.15.

    template: 0 where the organ is not; a few mm around the organ count as dark.
    An exhaustive search by masked cross-correlation (Padfield 2012, doi:10.1109/TIP.2011.2181402) finds the best
    starts; from each a Gauss-Newton descent fits the twelve numbers of the map together with a quadratic of the
    image's values and a linear shading. Nothing is random: the same voxels give the same map.
    """
    fine = _isotropic(image, _FINE_MM)
    starts = _search(_reduced(fine), template)
    target, sites = _sites(template)
    smooth = replace(fine, values=ndimage.gaussian_filter(fine.values, 1.0, mode="nearest"))
    rough = [_descend(smooth, target[::4], sites[::4], start, 12) for start in starts]
    best = max(rough, key=lambda found: found[1])[0]
    matrix, _ = _descend(fine, target, sites, best, 15)
    return Fit(matrix, *_agreement(fine, template, matrix))


def _isotropic(image: Volume, mm: float) -> _Grid:
    """The first channel in cubes; finer voxels are averaged first. Laid out alike for all orders of the axes."""
    nearest = image.geometry.nearest_axes
    turned = image.geometry.reordered(nearest.order, nearest.flipped)
    values = image.voxels[0].transpose(nearest.order)
    values = np.flip(values, tuple(axis for axis, backwards in enumerate(nearest.flipped) if backwards))
    affine, spacing = turned.affine_ras.copy(), np.array(turned.spacing_mm)
    block = np.clip(np.floor(mm / spacing + 1e-6).astype(int), 1, values.shape)
    cut = values[tuple(slice(0, n // b * b) for n, b in zip(values.shape, block, strict=True))].astype(np.float32)
    shape = [n for side, b in zip(cut.shape, block, strict=True) for n in (side // b, b)]
    cut = cut.reshape(shape).mean((1, 3, 5))
    affine[:3, 3] += affine[:3, :3] @ ((block - 1) / 2)
    affine[:3, :3] *= block
    geometry = Geometry(cut.shape, affine)
    corners = geometry.corners_ras_mm(outer=True)
    low, high = corners.min(0), corners.max(0)
    shape_out = np.maximum(np.ceil((high - low) / mm - 1e-6).astype(int), 2)  # a slope needs two
    first = (low + high) / 2 - (shape_out - 1) * mm / 2
    points = _points(shape_out, first, mm)
    ijk = geometry.ras_mm_to_ijk(points)
    inside = ((ijk > -0.51) & (ijk < np.array(cut.shape) - 0.49)).all(-1).reshape(shape_out)
    dark, bright = np.percentile(cut, [1, 99.5])
    scaled = ((cut - dark) / max(bright - dark, 1e-12)).clip(0, 1)
    sampled = ndimage.map_coordinates(scaled, ijk.T, order=1, mode="nearest").reshape(shape_out)
    return _Grid(np.where(inside, sampled, 0).astype(np.float32), inside.astype(np.float32), first, mm)


def _points(shape: NDArray[np.intp], first: Float64Array, mm: float) -> Float64Array:
    """Centres (n, 3) of a grid of cubes."""
    axes = [f + mm * np.arange(n) for f, n in zip(first, shape, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def _reduced(fine: _Grid) -> _Grid:
    """The same in cubes of 10 mm, where outside counts nothing."""
    ratio = _COARSE_MM / fine.mm
    shape = np.ceil(np.array(fine.values.shape) / ratio).astype(int)
    first = fine.first_mm + (np.array(fine.values.shape) - 1) * fine.mm / 2 - (shape - 1) * _COARSE_MM / 2
    at = ((_points(shape, first, _COARSE_MM) - fine.first_mm) / fine.mm).T
    blurred = [ndimage.gaussian_filter(v, 0.42 * ratio, mode="constant") for v in (fine.values, fine.inside)]
    values, inside = (ndimage.map_coordinates(v, at, order=1, mode="constant").reshape(shape) for v in blurred)
    known = inside > 0.5
    return _Grid(np.where(known, values / np.maximum(inside, 0.5), 0), known.astype(np.float32), first, _COARSE_MM)


def _search(grid: _Grid, template: Volume) -> list[Float64Array]:
    """The best starts of the descent, best first: one of each orientation and size at most."""
    voxels = ndimage.gaussian_filter(template.voxels[0].astype(np.float32), 1.0, mode="constant") / 255
    mask = ndimage.binary_dilation(template.voxels[0] > 0, iterations=2).astype(np.float32)
    centre = template.geometry.ijk_to_ras_mm((np.array(template.geometry.shape_ijk) - 1) / 2)
    organ_mm = template.geometry.ijk_to_ras_mm(np.argwhere(mask > 0).astype(np.float64))
    radius_mm = np.linalg.norm(organ_mm - centre, axis=1).max()
    reach = int(np.ceil(radius_mm * max(_SCALES) / grid.mm))
    kernel = np.full(3, 2 * reach + 1)
    size = [scipy.fft.next_fast_len(n + 2 * reach, real=True) for n in grid.values.shape]
    spectra = [scipy.fft.rfftn(v, size) for v in (grid.inside, grid.values, grid.values**2)]
    found: list[tuple[float, Float64Array]] = []
    offsets = _points(kernel, np.full(3, -reach * grid.mm), grid.mm)
    for pitch, (roll, yaw), scale in itertools.product(_PITCHES, _ROLLS_YAWS, _SCALES):
        linear = rotation(pitch, roll, yaw) * scale
        at = template.geometry.ras_mm_to_ijk(offsets @ np.linalg.inv(linear).T + centre).T
        t, m = (ndimage.map_coordinates(v, at, order=1, mode="constant").reshape(kernel) for v in (voxels, mask))
        m = (m > 0.5).astype(np.float32)
        t *= m
        kernels = [np.conj(scipy.fft.rfftn(v, size)) for v in (m, t, t * t)]
        pairs = ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1))  # template power, image power
        sums = [scipy.fft.irfftn(kernels[a] * spectra[b], size) for a, b in pairs]
        n, st, stt, si, sii, sit = (
            np.roll(s, (reach,) * 3, (0, 1, 2))[tuple(map(slice, grid.values.shape))] for s in sums
        )
        seen = n / m.sum()
        n = np.maximum(n, 1)
        spread = np.maximum(stt - st * st / n, 1e-3) * np.maximum(sii - si * si / n, 1e-3)
        score = np.where(seen > 0.3, (sit - st * si / n) / np.sqrt(spread) * np.sqrt(seen.clip(0, 1)), -1)
        place = np.unravel_index(score.argmax(), score.shape)
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = grid.first_mm + np.array(place) * grid.mm - linear @ centre
        found.append((float(score[place]), matrix))
    found.sort(key=lambda entry: -entry[0])
    return [matrix for _, matrix in found[:_STARTS]]


def rotation(pitch: float, roll: float, yaw: float) -> Float64Array:
    """Degrees about R, about A and about S, in this order."""
    turned = np.eye(3)
    for axis, degrees in enumerate((pitch, roll, yaw)):
        a, b = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(np.radians(degrees))
        one[b, a] = np.sin(np.radians(degrees))
        one[a, b] = -one[b, a]
        turned = one @ turned
    return turned


def _sites(template: Volume) -> tuple[Float64Array, Float64Array]:
    """Values (n) from 0 to 1 and positions (n, 3) in mm, of the organ and of the dark rim around it."""
    voxels = template.voxels[0]
    near = ndimage.binary_dilation(voxels > 0)
    return voxels[near] / 255.0, template.geometry.ijk_to_ras_mm(np.argwhere(near).astype(np.float64))


def _sampled(
    grid: _Grid, fields: Sequence[NDArray[Any]], sites: Float64Array, matrix: Float64Array
) -> list[Float64Array]:
    """1 or 0 for whether each site (n, 3) falls into the image, and the values of the fields there."""
    at = ((sites @ matrix[:3, :3].T + matrix[:3, 3] - grid.first_mm) / grid.mm).T
    inside = ndimage.map_coordinates(grid.inside, at, order=1, mode="constant") > 0.99
    return [inside.astype(np.float64), *(ndimage.map_coordinates(f, at, order=1, mode="nearest") for f in fields)]


def _descend(
    grid: _Grid, target: Float64Array, sites: Float64Array, matrix: Float64Array, steps: int
) -> tuple[Float64Array, float]:
    """The best map of some Gauss-Newton steps, and its score.

    The target (n) is explained by the image at the mapped sites (n, 3), so its variance is what counts, and no
    shrinking of the map can lower it. Score: the explained share, times the root of the share that is in the image.
    """
    fields = [grid.values, *np.gradient(grid.values, grid.mm)]
    centre = sites.mean(0)
    local = (sites - centre) / 100
    ones = np.ones((len(sites), 1))
    best, best_score = matrix, -1.0
    for _ in range(steps + 1):
        inside, values, *slopes = _sampled(grid, fields, sites, matrix)
        if not inside.any():
            break
        shades = np.column_stack([ones, values, values**2, values[:, None] * local])
        shade = _solve(shades, target, inside, 1e-6)
        left = (inside * (target - shades @ shade) ** 2).sum()
        total = (inside * (target - np.average(target, weights=inside)) ** 2).sum()
        score = float((1 - left / max(total, 1e-12)) * np.sqrt(inside.mean()))
        if score > best_score:
            best, best_score = matrix, score
        steepness = shade[1] + 2 * shade[2] * values + local @ shade[3:]
        pull = steepness[:, None] * np.stack(slopes, 1)
        moves = pull[:, :, None] * np.column_stack([ones, local])[:, None, :]  # (n, 3, 4)
        solved = _solve(np.column_stack([shades, moves.reshape(len(sites), 12)]), target, inside, 1e-4)
        change = solved[shades.shape[1] :].reshape(3, 4)
        matrix = matrix.copy()
        matrix[:3, :3] += change[:, 1:] / 100
        matrix[:3, 3] += change[:, 0] - change[:, 1:] @ centre / 100
    return best, best_score


def _solve(columns: Float64Array, wanted: Float64Array, weights: Float64Array, ridge: float) -> Float64Array:
    """Weighted least squares, drawn a little towards 0 so that a flat image has an answer too."""
    weighted = columns * weights[:, None]
    normal = weighted.T @ columns
    diagonal = np.diag_indices_from(normal)
    normal[diagonal] += ridge * normal[diagonal] + 1e-9 * max(float(normal.trace()), 1e-3)
    return np.asarray(np.linalg.solve(normal, weighted.T @ wanted), np.float64)


def _agreement(grid: _Grid, template: Volume, matrix: Float64Array) -> tuple[float, float]:
    """Correlation, inside the organ, of what is left without the means over 16 mm; the organ's share in the image."""
    organ = template.voxels[0] > 0
    everywhere = template.geometry.ijk_to_ras_mm(np.argwhere(np.ones_like(organ)).astype(np.float64))
    inside, values = (v.reshape(organ.shape) for v in _sampled(grid, [grid.values], everywhere, matrix))
    seen = organ & (inside > 0)
    if not seen.any():
        return 0.0, 0.0
    sigma = _TEXTURE_MM / np.array(template.geometry.spacing_mm)
    share = np.maximum(ndimage.gaussian_filter(seen.astype(np.float64), sigma, mode="constant"), 1e-6)
    ours, theirs = (
        (v - ndimage.gaussian_filter(v * seen, sigma, mode="constant") / share)[seen]
        for v in (template.voxels[0].astype(np.float64), values)
    )
    correlation = (ours * theirs).sum() / np.sqrt(max((ours**2).sum() * (theirs**2).sum(), 1e-12))
    return float(correlation), float(seen.sum() / organ.sum())
