"""How far apart the surfaces of two masks are, in mm.

A surface voxel belongs to the mask and has a face neighbour that does not; the edge of the image counts as outside.
Distances run between voxel centres, so two masks that touch without overlapping are one voxel apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.domain.errors import GridError
from medseg.metrics.pairs import BoolArray, require_masks

Distances = NDArray[np.floating[Any]]


def hausdorff95(prediction: BoolArray, reference: BoolArray, spacing_mm: Sequence[float]) -> float:
    """Larger of the two directed 95th-percentile surface distances, in mm.

    Shapes: both masks (*S) on one grid, 2-D or 3-D; one spacing for each axis.
    Empty:  0.0 if both masks are, infinity if only one is.
    Raises: GridError if the grids differ.
    Source: Huttenlocher et al. 1993, doi:10.1109/34.232073 (there the maximum, here the 95th percentile of each
            direction, between ranks by a straight line; pooling both directions first gives less).
    """
    require_masks(prediction, reference)
    if not (prediction.any() and reference.any()):
        return math.inf if prediction.any() or reference.any() else 0.0
    return float(max(np.percentile(d, 95) for d in _surface_distances_mm(prediction, reference, spacing_mm)))


def surface_dice(
    prediction: BoolArray, reference: BoolArray, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """The part of both surfaces that lies within the tolerance of the other one (normalised surface distance).

    Shapes: both masks (*S) on one grid, 2-D or 3-D; one spacing for each axis.
    Empty:  1.0 if both masks are, 0.0 if only one is.
    Raises: GridError if the grids differ.
    Source: Nikolov et al. 2021, doi:10.2196/26151 (there patches of surface are weighed by area, here every surface
            voxel counts once).
    """
    require_masks(prediction, reference)
    if not (prediction.any() and reference.any()):
        return 0.0 if prediction.any() or reference.any() else 1.0
    there, back = _surface_distances_mm(prediction, reference, spacing_mm)
    within = np.count_nonzero(there <= tolerance_mm) + np.count_nonzero(back <= tolerance_mm)
    return float(within / (len(there) + len(back)))


def _surface_distances_mm(
    prediction: BoolArray, reference: BoolArray, spacing_mm: Sequence[float]
) -> tuple[Distances, Distances]:
    """From each surface voxel of the prediction to the nearest of the reference, and the other way round."""
    if len(spacing_mm) != prediction.ndim or min(spacing_mm) <= 0:
        raise GridError(f"a mask of {prediction.ndim} axes needs as many spacings above 0 mm, not {tuple(spacing_mm)}")
    box = ndimage.find_objects((prediction | reference).view(np.uint8))[0]
    surface_a, surface_b = _surface(prediction[box]), _surface(reference[box])
    return (
        ndimage.distance_transform_edt(~surface_b, sampling=spacing_mm)[surface_a],
        ndimage.distance_transform_edt(~surface_a, sampling=spacing_mm)[surface_b],
    )


def _surface(mask: BoolArray) -> BoolArray:
    inside: BoolArray = ndimage.binary_erosion(mask)
    return mask & ~inside
