"""Slabs of logits become labels on the source grid: linear interpolation, then the largest wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medseg.domain.geometry import Float64Array, Geometry
from medseg.windows import Slab, collect


@dataclass(frozen=True)
class Parallel:
    """How two parallel grids correspond: network axis n runs along source axis source_axis[n], and the place of
    source voxel o on it is factor[n] * o + offset[n].
    """

    source_axis: tuple[int, ...]
    factor: tuple[float, ...]
    offset: tuple[float, ...]


def largest(values: Tensor) -> Tensor:
    """The class of the largest value: (K, *S) -> (*S)."""
    return values.argmax(0)


def labels_on_source(
    slabs: Iterable[Slab],
    grid: Geometry,
    source: Geometry,
    decide: Callable[[Tensor], Tensor] = largest,
    dtype: type[np.uint8] | type[np.uint16] = np.uint8,
) -> NDArray[Any]:
    """Labels (*source.shape_ijk), by default class indices, from the values (K, *grid.shape_ijk) that come as slabs.

    decide: (K, *S) interpolated values -> (*S) labels, voxel by voxel; dtype holds them.
    Parallel grids are walked slab by slab; for grids at an angle all slabs are collected first. Source voxels outside
    the network's grid take its nearest edge.
    """
    parallel = find_parallel(grid, source)
    if parallel is None:
        return _oblique(collect(iter(slabs)), grid, source, decide, dtype)
    return _stream(slabs, parallel, grid, source, decide, dtype)


def find_parallel(grid: Geometry, source: Geometry) -> Parallel | None:
    """The correspondence of the axes, or None where the grids lie at an angle."""
    matrix = _source_to_grid(grid, source)
    dims = source.spatial_dims
    linear, shift = matrix[:dims, :dims], matrix[:dims, 3]
    extent = np.abs(linear) * np.array(source.shape_ijk)  # voxels of drift over the whole image
    main = np.abs(linear).argmax(1)
    drift = extent.copy()
    drift[np.arange(dims), main] = 0
    if drift.max() > 1e-3 or len(set(main.tolist())) < dims:
        return None
    return Parallel(
        tuple(int(axis) for axis in main),
        tuple(float(linear[n, axis]) for n, axis in enumerate(main)),
        tuple(float(s) for s in shift),
    )


def _source_to_grid(grid: Geometry, source: Geometry) -> Float64Array:
    return np.linalg.inv(grid.affine_ras) @ source.affine_ras


def _stream(
    slabs: Iterable[Slab],
    parallel: Parallel,
    grid: Geometry,
    source: Geometry,
    decide: Callable[[Tensor], Tensor],
    dtype: type[np.uint8] | type[np.uint16],
) -> NDArray[Any]:
    places = [_places(parallel, n, grid, source) for n in range(grid.spatial_dims)]
    labels: NDArray[Any] = np.zeros(
        [source.shape_ijk[a] for a in parallel.source_axis], dtype
    )  # axes in the grid's order
    tail: Tensor | None = None
    for slab in slabs:
        along = places[slab.axis]
        last = slab.stop == grid.shape_ijk[slab.axis]
        first = slab.start - (tail is not None)
        logits = slab.logits if tail is None else torch.cat([tail, slab.logits], 1 + slab.axis)
        ready = (along >= first) if slab.start else np.ones(len(along), bool)
        ready &= np.ones(len(along), bool) if last else along < slab.stop - 1
        if ready.any():
            where = np.flatnonzero(ready)
            for axis in sorted(range(len(places)), key=lambda a: a != slab.axis):
                at = along[where] - first if axis == slab.axis else places[axis]
                logits = _interpolate(logits, 1 + axis, at)
            box: list[slice | NDArray[np.intp]] = [slice(None)] * labels.ndim
            box[slab.axis] = where
            labels[tuple(box)] = decide(logits).cpu().numpy()
        tail = slab.logits.narrow(1 + slab.axis, slab.logits.shape[1 + slab.axis] - 1, 1)
    return np.ascontiguousarray(labels.transpose(np.argsort(parallel.source_axis)))


def _places(parallel: Parallel, axis: int, grid: Geometry, source: Geometry) -> Float64Array:
    """Where each source voxel lies on a network axis, held inside; a millionth of a voxel is rounding."""
    steps = np.arange(source.shape_ijk[parallel.source_axis[axis]])
    places = np.round(parallel.factor[axis] * steps + parallel.offset[axis], 6)
    return places.clip(0, grid.shape_ijk[axis] - 1)


def _interpolate(x: Tensor, axis: int, places: Float64Array) -> Tensor:
    """Linear interpolation of one axis at fractional places; whole places are copied."""
    below = np.floor(places).astype(np.int64).clip(0, x.shape[axis] - 1)
    above = (below + 1).clip(0, x.shape[axis] - 1)
    share = torch.from_numpy(places - below).to(x.device, x.dtype)
    low = x.index_select(axis, torch.from_numpy(below).to(x.device))
    if not share.any():
        return low
    high = x.index_select(axis, torch.from_numpy(above).to(x.device))
    return torch.lerp(low, high, share.view([-1 if a == axis else 1 for a in range(x.ndim)]))


def _oblique(
    logits: Tensor,
    grid: Geometry,
    source: Geometry,
    decide: Callable[[Tensor], Tensor],
    dtype: type[np.uint8] | type[np.uint16],
) -> NDArray[Any]:
    """Plane by plane of the source's last axis, by the general way."""
    matrix = torch.from_numpy(_source_to_grid(grid, source))
    extent = torch.tensor([max(n - 1, 1) for n in grid.shape_ijk], dtype=torch.float64)
    labels: NDArray[Any] = np.zeros(source.shape_ijk, dtype)
    i, j = (torch.arange(n, dtype=torch.float64) for n in source.shape_ijk[:2])
    for k in range(source.shape_ijk[2]):
        ijk = torch.stack(torch.meshgrid(i, j, torch.tensor([float(k)], dtype=torch.float64), indexing="ij"), -1)
        places = (ijk @ matrix[:3, :3].T + matrix[:3, 3]) * 2 / extent - 1
        sampled = F.grid_sample(
            logits[None], places.flip(-1)[None].to(logits), mode="bilinear", padding_mode="border", align_corners=True
        )
        labels[:, :, k] = decide(sampled[0, ..., 0]).cpu().numpy()
    return labels
