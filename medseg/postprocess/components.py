"""Specks removed from label maps: connected components, by size.

Components are counted for each label by itself, and voxels that share no more than a corner are connected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from medseg.domain.errors import GridError

LabelArray = NDArray[np.uint8] | NDArray[np.uint16]


def remove_islands(labels: LabelArray, min_voxels: int) -> LabelArray:
    """The label map without the components of fewer than min_voxels voxels, which become background.

    Shapes: (*S) uint8 or uint16, 2-D or 3-D; the result is new, of the same type.
    Empty:  stays so; 0 and 1 remove nothing.
    Raises: GridError for other axes or types.
    """
    if min_voxels <= 1:
        _require_labels(labels)
        return labels.copy()
    return _keep(labels, lambda components: sitk.RelabelComponent(components, minimumObjectSize=min_voxels) > 0)


def keep_largest(labels: LabelArray) -> LabelArray:
    """The label map with the largest component of every label; of equals the first in the order of voxels.

    Shapes: (*S) uint8 or uint16, 2-D or 3-D; the result is new, of the same type.
    Empty:  stays so.
    Raises: GridError for other axes or types.
    """
    return _keep(labels, lambda components: sitk.RelabelComponent(components) == 1)


def _keep(labels: LabelArray, chosen: Any) -> LabelArray:
    """The voxels of each label that `chosen` keeps of the image of its numbered components."""
    _require_labels(labels)
    kept = np.zeros_like(labels)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:  # every label by itself and in its own box: large volumes are mostly something else
            mask = sitk.GetImageFromArray((labels[box] == value).view(np.uint8))
            kept[box][sitk.GetArrayFromImage(chosen(sitk.ConnectedComponent(mask, True))) > 0] = value
    return kept


def _require_labels(labels: LabelArray) -> None:
    if labels.ndim not in (2, 3) or labels.dtype not in (np.uint8, np.uint16):
        raise GridError(f"a label map is uint8 or uint16 of 2 or 3 axes, not {labels.dtype} of {labels.ndim}")
