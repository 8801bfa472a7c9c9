"""Weights of voxels by their distance to the nearest boundary between labels, for a whole batch of tensors at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medseg.domain.errors import UsageError


@dataclass(frozen=True)
class BoundarySpec:
    """A voxel at distance d from a boundary weighs 1 + weight * exp(-d**2 / (2 * sigma_voxels**2)).

    Source: Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28, with the distance to one boundary in place of
    the distances to two cells, so that it says the same for labels as for cells; weight and sigma as there.
    """

    weight: float = 10.0
    sigma_voxels: float = 5.0

    def __post_init__(self) -> None:
        if not (0 <= self.weight < math.inf and 0 < self.sigma_voxels <= 20):
            raise UsageError(
                f"loss.boundary: a weight of 0 or more and 0 < sigma_voxels <= 20 are needed, not {self.weight} "
                f"and {self.sigma_voxels}"
            )


def boundary_weights(labels: Tensor, spec: BoundarySpec) -> Tensor:
    """Labels (B, *S) -> weights (B, *S), float32.

    The distance, in voxels, is to the middle of the nearest voxel that has a neighbour along an axis with another
    label; such voxels have distance 0, and beyond 3 sigma along an axis the weight is 1. The edge of the image is no
    boundary.
    """
    square = _squared_distance(_touches_another(labels), math.ceil(3 * spec.sigma_voxels))
    return 1 + spec.weight * torch.exp(-square / (2 * spec.sigma_voxels**2))


def _touches_another(labels: Tensor) -> Tensor:
    touches = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(1, labels.ndim):
        n = labels.shape[axis] - 1
        differs = labels.narrow(axis, 0, n) != labels.narrow(axis, 1, n)
        touches.narrow(axis, 0, n).logical_or_(differs)
        touches.narrow(axis, 1, n).logical_or_(differs)
    return touches


def _squared_distance(sites: Tensor, reach: int) -> Tensor:
    """To the nearest site that is at most `reach` voxels away along every axis; infinity where there is none.

    Exact, one axis after the other: Felzenszwalb and Huttenlocher 2012, doi:10.4086/toc.2012.v008a019.
    """
    square = torch.where(sites, 0.0, math.inf)
    for axis in range(1, sites.ndim):
        n = sites.shape[axis]
        near = min(reach, n - 1)
        moved = F.pad(square.movedim(axis, -1), (near, near), value=math.inf)
        square = square.movedim(axis, -1)
        for k in range(-near, near + 1):
            square = torch.minimum(square, moved.narrow(-1, near + k, n) + k * k)
        square = square.movedim(-1, axis)
    return square
