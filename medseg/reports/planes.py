"""The three planes of a volume as a radiologist hangs them, whatever way its array runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Float64Array
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume

Box = tuple[tuple[int, int], ...]  # first voxel and the one after the last, along right, anterior, superior


@dataclass(frozen=True)
class View:
    """A plane: the axis it cuts, the axes along its rows and columns (0 right, 1 anterior, 2 superior), its edges.

    edges: letters for left, right, top and bottom.
    """

    name: str
    through: int
    across: int
    down: int
    edges: str


# The patient's right is on the left of the page; of the side view, the face looks left.
VIEWS = (View("axial", 2, 0, 1, "RLAP"), View("coronal", 1, 0, 2, "RLSI"), View("sagittal", 0, 1, 2, "APSI"))


@dataclass(frozen=True, eq=False)
class Oriented:
    """Image and mask as seen along the array axes nearest to right, anterior and superior, all rising that way.

    image (C, R, A, S), labels (R, A, S): views of the originals, nothing is copied or resampled; an oblique volume
    stays on its own grid. affine_ras belongs to the turned axes.
    """

    image: NDArray[Any]
    labels: NDArray[Any]
    spacing_mm: tuple[float, ...]
    affine_ras: Float64Array

    @property
    def extent_mm(self) -> tuple[float, ...]:
        """Edge lengths along right, anterior, superior."""
        return tuple(n * s for n, s in zip(self.labels.shape, self.spacing_mm, strict=True))

    @property
    def whole(self) -> Box:
        """The box that leaves nothing out."""
        return tuple((0, n) for n in self.labels.shape)


def orient(volume: Volume, label_map: LabelMap) -> Oriented:
    """A volume and its mask, turned; the same world gives the same value however its array is permuted or flipped."""
    nearest = volume.geometry.nearest_axes
    axes = nearest.order
    flips = tuple(slice(None, None, -1 if backwards else 1) for backwards in nearest.flipped)
    geometry = volume.geometry.reordered(axes, nearest.flipped)
    return Oriented(
        volume.voxels.transpose(0, *(axis + 1 for axis in axes))[(slice(None), *flips)],
        label_map.voxels.transpose(axes)[flips],
        geometry.spacing_mm,
        geometry.affine_ras,
    )


def busiest_voxel(labels: NDArray[Any]) -> tuple[int, ...]:
    """Along each axis the slice that cuts most of the mask, the middle one if several do; of no mask the middle.

    Between two hippocampi lies neither: a centre of gravity would show a side view without any.
    """
    found = []
    for axis, n in enumerate(labels.shape):
        areas = np.count_nonzero(labels, axis=tuple(other for other in range(labels.ndim) if other != axis))
        most = np.flatnonzero(areas == areas.max()) if areas.max() else np.arange(n)
        found.append(int(most[len(most) // 2]))
    return tuple(found)


def box_around(oriented: Oriented, margin: float = 0.4, smallest_mm: float = 20.0) -> Box | None:
    """A cube around the mask, wider than it by a share, cut to the image by being moved; None if the mask is empty."""
    held = [
        np.flatnonzero(oriented.labels.any(axis=tuple(other for other in range(3) if other != axis)))
        for axis in range(3)
    ]
    if not held[0].size:
        return None
    edges_mm = [(voxels[-1] - voxels[0] + 1) * s for voxels, s in zip(held, oriented.spacing_mm, strict=True)]
    edge_mm = max(max(edges_mm) * (1 + margin), smallest_mm)
    box = []
    for voxels, n, spacing_mm in zip(held, oriented.labels.shape, oriented.spacing_mm, strict=True):
        wide = min(n, int(np.ceil(edge_mm / spacing_mm - 1e-6)))
        start = min(max(int(voxels[0] + voxels[-1] + 1 - wide) // 2, 0), n - wide)
        box.append((start, start + wide))
    return tuple(box)


def cut(voxels: NDArray[Any], view: View, at: tuple[int, ...], box: Box) -> NDArray[Any]:
    """Voxels (..., R, A, S) to the plane (..., rows, columns) through a voxel, as it stands on the page."""
    steps = [slice(*edge) for edge in box]
    plane = voxels[(..., *(at[axis] if axis == view.through else steps[axis] for axis in range(3)))]
    return plane[..., ::-1, ::-1].swapaxes(-1, -2)


def position_mm(oriented: Oriented, at: tuple[int, ...]) -> Float64Array:
    """Where the centre of a voxel of the turned grid lies, RAS (3,)."""
    position: Float64Array = oriented.affine_ras[:3, :3] @ np.array(at, np.float64) + oriented.affine_ras[:3, 3]
    return position
