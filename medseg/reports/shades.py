"""Voxel values to grey or colour that a screen can show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float]  # the value shown black and the one shown white

_CT_WINDOW = (40 - 200.0, 40 + 200.0)  # soft tissue: level 40, width 400 Hounsfield units
_AS_STORED = (0.0, 255.0)
_MOST_SAMPLED = 1 << 21


def window_of(voxels: NDArray[Any], modality: str | None) -> Window:
    """Black and white for (C, *S): soft tissue for CT, else the 1st and 99.5th percentile over all channels.

    8-bit colour is shown as it is. Of a large image every nth voxel along each axis is asked.
    """
    if modality == "CT":
        return _CT_WINDOW
    if has_colour(voxels) and voxels.dtype == np.uint8:
        return _AS_STORED
    step = int(np.ceil((voxels.size / _MOST_SAMPLED) ** (1 / (voxels.ndim - 1))))
    low, high = np.percentile(voxels[(slice(None), *[slice(None, None, step)] * (voxels.ndim - 1))], (1, 99.5))
    return float(low), float(high)


def has_colour(voxels: NDArray[Any]) -> bool:
    """Three channels (3, *S) that differ: grey pictures are often stored as red, green and blue alike."""
    return voxels.shape[0] == 3 and not bool((voxels[:1] == voxels[1:]).all())


def to_rgb(plane: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """A plane (C, rows, columns) to (rows, columns, 3); of other than three channels the first is shown."""
    low, high = window
    shown = plane if plane.shape[0] == 3 else plane[:1]
    if (shown.dtype, window) != (np.dtype(np.uint8), _AS_STORED):
        share = (shown.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-12))
        shown = (share.clip(0, 1) * 255).round().astype(np.uint8)
    rgb: NDArray[np.uint8] = np.repeat(np.moveaxis(shown, 0, -1), 3 // shown.shape[0], axis=-1)
    return rgb
