"""Labels of tilted slices on an upright grid: viewers built on ITK refuse a NIfTI file with a shear, or halve it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.labels import LabelMap

_LEANING = 1e-4  # cosine between slice axis and slice plane up to which ITK 5.4 keeps it
_ROUNDING = 2e-3  # of direction cosines, which DICOM may state with three decimals


def upright(label_map: LabelMap) -> LabelMap:
    """The labels on the grid of `upright_grid`, where only the third axis of theirs leans; else as they are.

    A slice is only shifted within its plane, by the nearest voxel: at most half a voxel off along each of its two axes.
    What no slice covers is background.
    """
    found = upright_grid(label_map.geometry)
    if found is None:
        return label_map
    geometry, corners = found
    voxels = np.zeros(geometry.shape_ijk, label_map.voxels.dtype)
    for k, (i, j) in enumerate(corners):
        voxels[i : i + label_map.voxels.shape[0], j : j + label_map.voxels.shape[1], k] = label_map.voxels[..., k]
    return LabelMap(voxels, geometry, label_map.table)


def upright_grid(geometry: Geometry) -> tuple[Geometry, NDArray[np.intp]] | None:
    """A grid with perpendicular axes and (K, 2) where the first voxel of each slice lies on it; None for upright grids.

    It keeps the planes of the slices and the size of their voxels, and is widened within the planes until it holds all
    of them.
    """
    lean = _lean(geometry)
    if lean is None:
        return None
    shape, affine = geometry.shape_ijk, geometry.affine_ras.copy()
    shifts = np.arange(shape[2])[:, None] * lean  # of each slice against the first, in voxels
    start, stop = np.floor(shifts.min(0)).astype(int), np.ceil(shifts.max(0)).astype(int)
    affine[:3, 2] -= affine[:3, :2] @ lean
    affine[:3, 3] += affine[:3, :2] @ start
    width, height = (int(n) for n in np.array(shape[:2]) + stop - start)
    corners = np.floor(shifts - start + 0.5).astype(np.intp)
    return Geometry((width, height, shape[2]), affine, geometry.calibrated), corners


def _lean(geometry: Geometry) -> Float64Array | None:
    """By how many voxels along its first two axes each slice lies beside the one before; None for an upright grid."""
    if geometry.spatial_dims != 3:
        return None
    axes = geometry.affine_ras[:3, :3] / np.array(geometry.spacing_mm)
    if abs(axes[:, 0] @ axes[:, 1]) > _ROUNDING or np.abs(axes[:, :2].T @ axes[:, 2]).max() <= _LEANING:
        return None
    in_plane = np.linalg.lstsq(geometry.affine_ras[:3, :2], geometry.affine_ras[:3, 2], rcond=None)[0]
    return np.asarray(in_plane, dtype=np.float64)
