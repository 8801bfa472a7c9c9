"""How well a bundle does on labelled cases: the whole way of `segment`, then the scores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import InputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap, LabelTable
from medseg.domain.manifest import Case
from medseg.domain.volume import Volume
from medseg.inference.result import NotFiniteError, Segmentation
from medseg.metrics.instances import aggregated_jaccard, average_precision, count_error, panoptic_quality
from medseg.metrics.overlap import dice, iou, pixel_accuracy, precision, recall, volume_error
from medseg.metrics.surface import hausdorff95, surface_dice
from medseg.metrics.table import Refused, Row, ScoreTable

Load = Callable[[Case], tuple[Volume, NDArray[np.integer]]]
REFUSALS = (InputError, NotFiniteError, UsageError)  # it is this case; the next one may do


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One case right after it was scored: what a picture of it is drawn from. Nobody keeps it."""

    case: Case
    volume: Volume
    prediction: LabelMap
    reference: LabelMap
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Evaluated:
    """The scores of many cases.

    seconds:       of each scored case, reading left out.
    agreements:    of each scored case, where the model compares several answers.
    distance_unit: of HD95 and of the tolerance: "mm", "pixels", or both where the images differ in that.
    """

    table: ScoreTable
    seconds: Mapping[str, float] = field(default_factory=dict)
    distance_unit: str = "mm"
    agreements: Mapping[str, float] = field(default_factory=dict)


def evaluate_cases(
    cases: Sequence[Case],
    load: Load,
    run: Callable[[Volume, str], Segmentation],
    labels: LabelTable,
    root: Path = Path(),
    tolerance: float = 1.0,
    on_scored: Callable[[ScoredCase], None] = lambda scored: None,
    on_refused: Callable[[Refused], None] = lambda refused: None,
) -> Evaluated:
    """Segment and score case by case. One that is refused stands in the table as such, and the others go on.

    load:      the image and its mask in label values, on one grid; it may refuse too.
    run:       the segmentation of an image, whose path messages name.
    labels:    of the masks; each is scored.
    root:      the folder of the files; reasons name them from there, so that tables can be handed on.
    tolerance: of the surface Dice.
    Raises:    what is no refusal of a single case: a damaged bundle, no memory.
    """
    rows: list[Row] = []
    refused: list[Refused] = []
    seconds: dict[str, float] = {}
    agreements: dict[str, float] = {}
    calibrated: set[bool] = set()
    for case in cases:
        try:
            volume, values = load(case)
            started = time.perf_counter()
            result = run(volume, case.image)
            prediction = result.label_map
            seconds[case.id] = round(time.perf_counter() - started, 4)
        except REFUSALS as error:
            reason = " ".join(str(error).replace(f"{root}{os.sep}", "").split())
            refused.append(Refused(case.id, case.kind, reason))
            on_refused(refused[-1])
            continue
        if result.report.quality is not None:
            agreements[case.id] = result.report.quality.agreement
        found = score_case(prediction.voxels, values, volume.geometry, labels, case.id, case.kind, tolerance)
        rows += found
        calibrated.add(volume.geometry.calibrated)
        reference = LabelMap(values.astype(np.uint16), volume.geometry, labels)
        on_scored(ScoredCase(case, volume, prediction, reference, tuple(found)))
    units = [unit for known, unit in ((True, "mm"), (False, "pixels")) if known in calibrated]
    return Evaluated(ScoreTable(tuple(rows), refused=tuple(refused)), seconds, " or ".join(units), agreements)


def score_case(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    geometry: Geometry,
    table: LabelTable,
    case: str,
    kind: str,
    tolerance: float = 1.0,
) -> list[Row]:
    """One row for each label; for instances one row of the foreground's overlap and the instances' scores.

    HD95 and the tolerance of the surface Dice are in mm where the image has a physical size, else in pixels. The
    errors of volume (relative) and of count are absolute values. Pixel accuracy is of the whole image, so it is the
    same in every row of a case.
    """
    if table.kind == "instances":
        (label,) = table.labels
        predicted, expected = (prediction > 0).astype(np.uint8), (reference > 0).astype(np.uint8)
        scores = _overlap(predicted > 0, expected > 0, geometry, tolerance) | {
            "pixel accuracy": pixel_accuracy(predicted, expected),
            "AP@0.5": average_precision(prediction, reference, 0.5),
            "AP@0.75": average_precision(prediction, reference, 0.75),
            "PQ": panoptic_quality(prediction, reference),
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
            _overlap(prediction == label.value, reference == label.value, geometry, tolerance) | accuracy,
        )
        for label in table
    ]


def _overlap(
    predicted: NDArray[np.bool_], expected: NDArray[np.bool_], geometry: Geometry, tolerance: float
) -> dict[str, float]:
    return {
        "Dice": dice(predicted, expected),
        "IoU": iou(predicted, expected),
        "precision": precision(predicted, expected),
        "recall": recall(predicted, expected),
        "HD95": hausdorff95(predicted, expected, geometry.spacing_mm),
        surface_metric(tolerance): surface_dice(predicted, expected, geometry.spacing_mm, tolerance),
        "volume error": abs(volume_error(predicted, expected)),
    }


def surface_metric(tolerance: float) -> str:
    """The name of the surface Dice, so that two tolerances are never taken for one another.

    >>> surface_metric(1.0)
    'surface Dice@1'
    """
    return f"surface Dice@{tolerance:g}"
