"""How well a bundle does on labelled cases: the whole way of `segment`, then the scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelTable
from medseg.metrics.instances import aggregated_jaccard, average_precision, count_error
from medseg.metrics.overlap import dice, iou, pixel_accuracy, volume_error
from medseg.metrics.surface import hausdorff95
from medseg.metrics.table import Row


def score_case(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    geometry: Geometry,
    table: LabelTable,
    case: str,
    kind: str,
) -> list[Row]:
    """One row for each label; for instances one row of the foreground's overlap and the instances' scores.

    HD95 is in mm where the image has a physical size, else in pixels. The errors of volume (relative) and of count
    are absolute values. Pixel accuracy is of the whole image, so it is the same in every row of a case.
    """
    if table.kind == "instances":
        (label,) = table.labels
        predicted, expected = (prediction > 0).astype(np.uint8), (reference > 0).astype(np.uint8)
        scores = _overlap(predicted > 0, expected > 0, geometry) | {
            "pixel accuracy": pixel_accuracy(predicted, expected),
            "AP@0.5": average_precision(prediction, reference, 0.5),
            "AP@0.75": average_precision(prediction, reference, 0.75),
            "AJI": aggregated_jaccard(prediction, reference),
            "count error": float(abs(count_error(prediction, reference))),
        }
        return [Row(case, kind, label.name, scores)]
    accuracy = {"pixel accuracy": pixel_accuracy(prediction, reference)}
    return [
        Row(
            case,
            kind,
            label.name,
            _overlap(prediction == label.value, reference == label.value, geometry) | accuracy,
        )
        for label in table
    ]


def _overlap(predicted: NDArray[np.bool_], expected: NDArray[np.bool_], geometry: Geometry) -> dict[str, float]:
    return {
        "Dice": dice(predicted, expected),
        "IoU": iou(predicted, expected),
        "HD95": hausdorff95(predicted, expected, geometry.spacing_mm),
        "volume error": abs(volume_error(predicted, expected)),
    }
