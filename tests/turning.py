"""The same world with its array laid another way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from tests.phantoms import orientations

TURNS = {
    letters: (np.abs(affine[:3, :3]).argmax(0).tolist(), affine[:3, :3].sum(0).astype(int).tolist())
    for letters, affine in orientations((1.0, 1.0, 1.0)).items()
}  # what makes a RAS array one of these letters: the axes in their new order, and 1 or -1 for each


def turned_array(array: NDArray[Any], axes: Sequence[int], flips: Sequence[int]) -> NDArray[Any]:
    """Its axes in another order, then some of them reversed."""
    return np.ascontiguousarray(array.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)])


def turned_grid(geometry: Geometry, axes: Sequence[int], flips: Sequence[int]) -> Geometry:
    """The grid of an array turned so: every voxel stays where it is."""
    affine = geometry.affine_ras.copy()
    affine[:3, : geometry.spatial_dims] = geometry.affine_ras[:3, list(axes)] * flips
    first = np.zeros(geometry.spatial_dims)
    for axis, flip in zip(axes, flips, strict=True):
        first[axis] = geometry.shape_ijk[axis] - 1 if flip < 0 else 0
    affine[:3, 3] = geometry.ijk_to_ras_mm(first)
    return Geometry(tuple(geometry.shape_ijk[axis] for axis in axes), affine)


def turned_volume(volume: Volume, axes: Sequence[int], flips: Sequence[int]) -> Volume:
    """Voxels and grid turned together."""
    voxels = np.stack([turned_array(channel, axes, flips) for channel in volume.voxels])
    return replace(volume, voxels=voxels, geometry=turned_grid(volume.geometry, axes, flips))
