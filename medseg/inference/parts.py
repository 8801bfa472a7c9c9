"""The pieces of an image that a network looks at, and where their labels go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.domain.box import Box
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure
from medseg.domain.volume import Volume
from medseg.inference.measure import measure
from medseg.inference.region import crop_to_box

if TYPE_CHECKING:
    from medseg.inference.localise import Located


@dataclass(frozen=True, eq=False)
class Part:
    """One piece.

    seen:   what the network is given.
    source: the voxels of the image that get labels, from voxel `start` on.
    inside: (*source shape), which of them do; None where all do and `seen` is `source`.
    region: what the report calls it.
    """

    seen: Volume
    source: Volume
    start: tuple[int, ...]
    inside: NDArray[np.bool_] | None = None
    region: str | None = None

    def kept(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Label values (*source shape), 0 where the piece does not reach."""
        return labels if self.inside is None else np.where(self.inside, labels, 0)

    def measured(self, label_map: LabelMap) -> tuple[Measure, ...]:
        """The measures of labels on the source's grid; what reaches the edge of the piece may be cut off."""
        measures = measure(label_map, self.source, self.region)
        if self.inside is None:
            return measures
        rim = self.inside & ~ndimage.binary_erosion(self.inside)
        cut = {label.value: bool((label_map.voxels[rim] == label.value).any()) for label in label_map.table}
        return tuple(replace(one, touches_border=cut[one.value]) for one in measures)


def whole(volume: Volume) -> Part:
    """The image as it is."""
    return Part(volume, volume, (0,) * volume.geometry.spatial_dims)


def cropped(volume: Volume, box: Box, name: str) -> Part:
    """The voxels in a box. Raises: FieldOfViewError if the box reaches out of the image."""
    crop, start = crop_to_box(volume, box, name)
    return Part(crop, crop, start, None, str(box))


def upright(volume: Volume, located: Located, region: str, spacing_mm: Sequence[float]) -> Part:
    """A region as the template lies, resampled by cubic splines, so that a tilted head looks like an upright one."""
    box, turn, geometry = located.boxes[region], located.turn, volume.geometry
    size, steps = np.array(box.size_mm), np.array(spacing_mm)
    shape = np.maximum(np.round(size / steps).astype(int), 1)
    affine = np.eye(4)
    affine[:3, :3] = turn * steps
    affine[:3, 3] = np.array(box.centre_ras_mm) - affine[:3, :3] @ ((shape - 1) / 2)
    grid = Geometry(tuple(int(n) for n in shape), affine)

    corners = geometry.ras_mm_to_ijk(located.corners(region))
    start = np.floor(corners.min(0)).astype(int).clip(0)
    stop = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, geometry.shape_ijk)
    source = _crop(volume, start, stop)
    margin = np.maximum(start - 6, 0)  # what a spline at the edge looks at
    wide = _crop(volume, margin, np.minimum(stop + 6, geometry.shape_ijk))
    at = wide.geometry.ras_mm_to_ijk(_centres(grid)).T
    seen = ndimage.map_coordinates(wide.voxels[0].astype(np.float32), at, order=3, mode="nearest")
    local = np.abs((_centres(source.geometry) - np.array(box.centre_ras_mm)) @ turn)
    return Part(
        replace(volume, voxels=seen.reshape(1, *grid.shape_ijk), geometry=grid),
        source,
        tuple(int(n) for n in start),
        (local <= size / 2 + 1e-6).all(-1).reshape(source.geometry.shape_ijk),
        region,
    )


def _crop(volume: Volume, start: NDArray[np.intp], stop: NDArray[np.intp]) -> Volume:
    voxels = volume.voxels[(slice(None), *map(slice, start, stop))]
    return replace(volume, voxels=voxels, geometry=volume.geometry.crop(start.tolist(), voxels.shape[1:]))


def _centres(geometry: Geometry) -> Float64Array:
    """Positions (n, 3) of all voxels."""
    return geometry.ijk_to_ras_mm(np.indices(geometry.shape_ijk, np.float64).reshape(3, -1).T)
