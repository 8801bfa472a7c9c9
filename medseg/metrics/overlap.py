"""How far two masks cover one another.

Masks are boolean (*S) on one grid, of any number of axes; all functions raise GridError where the shapes differ.
Two empty masks agree perfectly. What no formula defines is NaN or infinity: tables count it, and average the rest.
"""

from __future__ import annotations

import math

import numpy as np

from medseg.metrics.pairs import BoolArray, IntArray, require_masks, require_one_shape


def dice(prediction: BoolArray, reference: BoolArray) -> float:
    """Twice the common voxels over the sum of both sizes.

    Empty:  1.0 if both masks are, 0.0 if only one is.
    Source: Dice 1945, doi:10.2307/1932409.
    """
    common, predicted, true = _sizes(prediction, reference)
    return 2 * common / (predicted + true) if predicted + true else 1.0


def iou(prediction: BoolArray, reference: BoolArray) -> float:
    """The common voxels over those of either mask (Jaccard index).

    Empty:  1.0 if both masks are, 0.0 if only one is.
    """
    common, predicted, true = _sizes(prediction, reference)
    return common / (predicted + true - common) if predicted + true else 1.0


def precision(prediction: BoolArray, reference: BoolArray) -> float:
    """The part of the prediction that is right.

    Empty:  1.0 if both masks are, NaN if only the prediction is, 0.0 if only the reference is.
    """
    common, predicted, true = _sizes(prediction, reference)
    if predicted:
        return common / predicted
    return math.nan if true else 1.0


def recall(prediction: BoolArray, reference: BoolArray) -> float:
    """The part of the reference that was found.

    Empty:  1.0 if both masks are, NaN if only the reference is, 0.0 if only the prediction is.
    """
    common, predicted, true = _sizes(prediction, reference)
    if true:
        return common / true
    return math.nan if predicted else 1.0


def pixel_accuracy(prediction_labels: IntArray, reference_labels: IntArray) -> float:
    """The part of all voxels, background included, that bear the right label.

    Shapes: both label maps (*S), at least one voxel.
    Raises: GridError if the shapes differ.
    """
    require_one_shape(prediction_labels, reference_labels)
    return float((prediction_labels == reference_labels).mean())


def volume_error(prediction: BoolArray, reference: BoolArray) -> float:
    """Relative error of the volume: 0.1 is a tenth too much, -1.0 is nothing found.

    Empty:  0.0 if both masks are, infinity if only the reference is.
    """
    _, predicted, true = _sizes(prediction, reference)
    if not true:
        return math.inf if predicted else 0.0
    return (predicted - true) / true


def volume_error_ml(prediction: BoolArray, reference: BoolArray, voxel_volume_mm3: float) -> float:
    """Volume of the prediction less that of the reference, in ml."""
    _, predicted, true = _sizes(prediction, reference)
    return (predicted - true) * voxel_volume_mm3 / 1000


def _sizes(prediction: BoolArray, reference: BoolArray) -> tuple[int, int, int]:
    """Voxels of both, of the prediction, of the reference."""
    require_masks(prediction, reference)
    return (
        int(np.count_nonzero(prediction & reference)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(reference)),
    )
