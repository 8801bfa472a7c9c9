"""A volume on a grid of another voxel size whose axes run to the right, the front and the top, as MONAI makes it.

MONAI's `Orientation` and `Spacing` sample at the eight corners around each voxel's computed position, in float64. Where
the axes are at right angles the same comes, to the last bit or the one beside it, from one axis after the other: in a
few planes at a time, without a position for every voxel, and without importing MONAI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.domain.geometry import Float64Array, Geometry

_KEPT_MM = 1e-3  # a voxel size so close to the wanted one is left as it is
_KEPT_RATIO = 1.01e-3  # as is a whole grid of as many voxels, if all sizes are so close
_BLOCK_VALUES = 1 << 22  # that are interpolated together: 32 MiB of float64


@dataclass(frozen=True, eq=False)
class Spaced:
    """How a grid is reached from a volume's.

    order:   the volume's axes that become the first, second and third.
    flipped: those of them that are turned round.
    places:  (m,) for each axis of the grid, of its voxels on the turned axis of the volume.
    """

    order: tuple[int, ...]
    flipped: tuple[int, ...]
    places: tuple[Float64Array, ...]
    affine_ras: Float64Array

    @classmethod
    def of(cls, geometry: Geometry, spacing_mm: Sequence[float]) -> Spaced | None:
        """The grid of voxels of that size; None for a picture and where the volume's axes are not at right angles."""
        if geometry.spatial_dims != 3 or len(spacing_mm) != 3:
            return None
        if not geometry.is_perpendicular():
            return None
        sizes, axes, nearest = np.array(geometry.spacing_mm), geometry.directions, geometry.nearest_axes
        order = nearest.order
        flipped = tuple(axis for axis, backwards in zip(order, nearest.flipped, strict=True) if backwards)
        ends = np.array(geometry.shape_ijk) - 1
        corner = np.where(np.isin(np.arange(3), flipped), ends, 0)
        directions = axes.copy()
        directions[:, list(flipped)] *= -1

        old, new = sizes[list(order)], np.array(spacing_mm, np.float64)
        new = np.where(np.abs(old - new) <= _KEPT_MM, old, new)
        last = ends[list(order)]
        counts = np.round(last * (old / new) + 1).astype(int)
        ratios = new / old
        if (counts == last + 1).all() and (np.abs(ratios - 1) <= _KEPT_RATIO).all():
            ratios = np.ones(3)
        places = [
            np.minimum(np.arange(n) * ratio, end) for n, ratio, end in zip(counts, ratios, last, strict=True)
        ]  # the last one may lie half a voxel outside
        affine = np.eye(4)
        affine[:3, :3] = directions[:, list(order)] * new
        affine[:3, 3] = geometry.ijk_to_ras_mm(corner)
        return cls(order, flipped, tuple(places), affine)

    def linear(self, voxels: NDArray[Any]) -> Tensor:
        """(C, *S) values of the volume to (C, *grid) float32, interpolated linearly."""
        turned = self._turned(voxels)
        made = torch.empty(len(turned), *map(len, self.places))
        axes = [_Axis.of(places) for places in self.places]
        slow = max(range(3), key=lambda a: abs(turned.strides[1 + a]))  # whose planes lie together in memory
        plane = len(turned) * math.prod(max(made.shape[1 + a], turned.shape[1 + a]) for a in range(3) if a != slow)
        rows = max(_BLOCK_VALUES // plane, 1)
        for start in range(0, made.shape[1 + slow], rows):
            block, first, end = axes[slow].stretch(start, start + rows)
            seen = turned[(slice(None),) * (1 + slow) + (slice(first, end),)]
            values = block.interpolated(torch.from_numpy(seen.astype(np.float32)).double(), 1 + slow)
            for a in set(range(3)) - {slow}:
                values = axes[a].interpolated(values, 1 + a)
            made.narrow(1 + slow, start, len(block.below)).copy_(values)
        return made

    def nearest(self, voxels: NDArray[Any]) -> Tensor:
        """The same of the nearest voxel, half way of the even one."""
        turned = self._turned(voxels)
        for dim, places in enumerate(self.places, start=1):
            turned = turned.take(np.rint(places).astype(np.intp), dim)
        return torch.from_numpy(np.ascontiguousarray(turned, np.float32))

    def _turned(self, voxels: NDArray[Any]) -> NDArray[Any]:
        return np.flip(voxels, tuple(1 + a for a in self.flipped)).transpose(0, *(1 + a for a in self.order))


@dataclass(frozen=True, eq=False)
class _Axis:
    """Where places lie between voxels.

    below: (m,) the voxel at or before each.
    share: (m,) of the way to the next; None where all lie on voxels.
    """

    below: NDArray[np.intp]
    share: Float64Array | None

    @classmethod
    def of(cls, places: Float64Array) -> _Axis:
        below = np.floor(places).astype(np.intp)
        share = places - below
        return cls(below, share if share.any() else None)

    def stretch(self, start: int, stop: int) -> tuple[_Axis, int, int]:
        """These places of the axis, counted from the first voxel that they look at; it and the end of them."""
        below = self.below[start:stop]
        first, last = int(below[0]), int(below[-1])
        share = None if self.share is None else self.share[start:stop]
        return replace(self, below=below - first, share=share), first, last + 1 + (share is not None)

    def interpolated(self, values: Tensor, dim: int) -> Tensor:
        low = values.index_select(dim, torch.from_numpy(self.below))
        if self.share is None:
            return low
        above = torch.from_numpy(np.minimum(self.below + 1, values.shape[dim] - 1))
        share = torch.from_numpy(self.share).view([-1 if a == dim else 1 for a in range(values.ndim)])
        return low.mul_(1 - share).add_(values.index_select(dim, above).mul_(share))
