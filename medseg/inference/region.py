"""The part of an image that lies in a box in patient space."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from medseg.domain.box import Box
from medseg.domain.errors import FieldOfViewError, UsageError
from medseg.domain.volume import Volume


def parse_box(text: str, option: str = "--roi") -> Box:
    """Text of the form "x,y,z,dx,dy,dz" in mm as a box.

    >>> parse_box("27,-21,-12,35,56,44").size_mm
    (35.0, 56.0, 44.0)

    Raises: UsageError if it is not six numbers, the last three positive.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not np.isfinite(numbers).all() or min(numbers[3:]) <= 0:
        raise UsageError(
            f"{option} {text!r}: give the centre and the size as x,y,z,dx,dy,dz in mm (right, anterior, up)"
        )
    x, y, z, dx, dy, dz = numbers
    return Box((x, y, z), (dx, dy, dz))


def crop_to_box(volume: Volume, box: Box, name: str) -> tuple[Volume, tuple[int, ...]]:
    """The voxels whose centres lie in the box, and the first of them; of an oblique image those in the box around it.

    Raises: FieldOfViewError if the box reaches out of the image by more than half a voxel, or lies between voxels.
    """
    geometry = volume.geometry
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    corners = geometry.ras_mm_to_ijk(np.array(box.centre_ras_mm) + signs * np.array(box.size_mm))
    low, high = corners.min(0)[: geometry.spatial_dims], corners.max(0)[: geometry.spatial_dims]
    last = np.array(geometry.shape_ijk) - 1
    if (low < -1.0).any() or (high > last + 1.0).any():
        edges = geometry.corners_ras_mm()
        raise FieldOfViewError(
            f"{name}: the box {box} reaches out of the image, which spans "
            f"{np.round(edges.min(0), 1).tolist()} to {np.round(edges.max(0), 1).tolist()} mm; move or shrink it"
        )
    start = np.ceil(low - 1e-6).astype(int).clip(0)
    stop = np.floor(high + 1e-6).astype(int).clip(max=last) + 1
    if (start >= stop).any():
        spacing = " x ".join(f"{s:g}" for s in geometry.spacing_mm)
        raise FieldOfViewError(f"{name}: the box {box} holds no voxel of {spacing} mm; make it larger")
    part = volume.voxels[(slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))]
    cropped = replace(volume, voxels=part, geometry=geometry.crop(start.tolist(), part.shape[1:]))
    return cropped, tuple(int(s) for s in start)
