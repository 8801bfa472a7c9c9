"""One case: a volume becomes a label map and a report, whatever kind of model it is given to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg import __version__
from medseg.domain.box import Box
from medseg.domain.errors import ResourceError
from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure, Quality, Report
from medseg.domain.volume import Volume
from medseg.inference.clock import Clock
from medseg.inference.model import Model, PartLabels, Prepared
from medseg.inference.parts import Part
from medseg.inference.probabilities import OnProbabilities, softmax_of
from medseg.inference.resample import OnValues
from medseg.inference.result import NotFinite, NotFiniteError, Segmentation
from medseg.metrics.quality import QualityFit, agreement


def segment(
    volume: Volume,
    model: Model,
    boxes: Sequence[Box] = (),
    name: str = "",
    on_window: Callable[[int], None] | None = None,
    on_probabilities: OnProbabilities | None = None,
) -> Segmentation:
    """The mask of a volume on its own grid; with boxes, only they are segmented and the rest is background.

    Where no box is given, the image is larger than the bundle's field of view and the bundle has a localiser, its
    regions are found in the image.
    name: how messages call the image.
    on_probabilities: told the probabilities on the volume's grid, see `inference.probabilities`.
    Raises: InputError and its kinds where the image does not suit the bundle; UsageError where it has no probabilities.
    """
    if on_probabilities is not None:
        model.probability_channels()  # refused before any work
    prepared = model.prepare(volume, tuple(boxes), name or volume.case, Clock())
    return segment_prepared(prepared, model, on_window, on_probabilities)


def segment_prepared(
    prepared: Prepared,
    model: Model,
    on_window: Callable[[int], None] | None = None,
    on_probabilities: OnProbabilities | None = None,
) -> Segmentation:
    """The rest of `segment`, from the first window on."""
    started, clock, volume = time.perf_counter(), prepared.clock, prepared.volume
    channels = [] if on_probabilities is None else model.probability_channels()
    instances = model.table(np.zeros(0, int))[0].kind == "instances"
    voxels: NDArray[Any] = np.zeros(volume.geometry.shape_ijk, np.int32 if instances else np.uint16)
    notes = [*volume.notes, *prepared.notes]
    windows = 0
    found: list[tuple[Part, NDArray[Any]]] = []
    agreements: list[float] = []
    model.expect(sum(model.expected_windows(part.seen) for part in prepared.parts))
    for n, part in enumerate(prepared.parts):
        image = prepared.first if n == 0 and prepared.first is not None else model.image(part, clock)
        on_values = None if on_probabilities is None else softmax_of(part, voxels, on_probabilities)
        done = _labels(part, image, model, clock, on_window, on_values)
        windows += done.windows
        if model.voters:
            agreements.append(_agreement(part, image, done.labels, model, clock))
        notes += [note for note in done.notes if note not in notes]
        found.append((part, done.labels))
        labels = done.labels.astype(voxels.dtype)
        if instances:
            labels[labels > 0] += voxels.max()  # every box counts from 1
        target = voxels[tuple(slice(s, s + n) for s, n in zip(part.start, labels.shape, strict=True))]
        np.copyto(target, labels, where=target == 0)
    if instances:
        from medseg.postprocess.instances import renumber  # by way of scikit-image, which organs can do without

        voxels = renumber(voxels)
    table, more = model.table(np.unique(voxels))
    narrow: Any = np.uint16 if instances or table.values[-1] > 255 else np.uint8
    if not instances:
        voxels = voxels.astype(narrow, copy=False)
    measures: list[Measure] = []
    with clock.part("measure"):
        for part, values in found:
            measures += part.measured(LabelMap(values.astype(narrow), part.source.geometry, table))
    choice = model.choice(windows)
    report = Report(
        case=volume.case,
        bundle=model.bundle.name,
        bundle_version=model.bundle.version,
        medseg_version=__version__,
        shape_ijk=volume.geometry.shape_ijk,
        spacing_mm=volume.geometry.told_spacing_mm,
        device=str(model.device),
        precision=choice.precision if choice else model.precision,
        windows=windows,
        seconds={**clock.seconds(), "segment": round(time.perf_counter() - started, 4)},
        measures=tuple(measures),
        notes=(*notes, *more),
        settings={**(prepared.settings or {}), **({"probabilities": channels} if channels else {})},
        quality=quality_of(agreements, model.bundle.quality),
        backend=choice,
    )
    return Segmentation(LabelMap(voxels, volume.geometry, table), report)


def _labels(
    part: Part,
    image: Any,
    model: Model,
    clock: Clock,
    on_window: Callable[[int], None] | None,
    on_values: OnValues | None = None,
) -> PartLabels:
    """The labels of a part; in fp32 where the model's precision overflows."""
    try:
        return model.label(part, image, clock, on_window, on_values)
    except ResourceError as error:  # a window does not fit; only here it is known of which image
        raise ResourceError(f"{part.seen.case}: {error}") from error
    except NotFinite:
        pass
    try:
        done = model.label(part, image, clock, None, on_values, exact=True)
    except NotFinite:
        raise NotFiniteError(
            f"{part.seen.case}: bundle {model.bundle.name} computes NaN on this image; check the image's values"
        ) from None
    note = () if model.precision == "fp32" else (f"{model.precision} overflowed; computed again in fp32",)
    return PartLabels(done.labels, done.windows, (*done.notes, *note))


def _agreement(part: Part, image: Any, labels: NDArray[Any], model: Model, clock: Clock) -> float:
    """How well the voters' masks agree with each other, and with this one where it votes."""
    answers = [labels] if model.votes else []
    answers += [_labels(part, image, voter, clock, None).labels for voter in model.voters]
    table, _ = model.table(np.zeros(0, int))
    if table.kind == "instances":
        return agreement([(answer > 0).astype(np.uint8) for answer in answers], (1,))
    return agreement(answers, table.values)


def quality_of(agreements: Sequence[float], fit: QualityFit | None) -> Quality | None:
    """The worst part's agreement and what it foretells; None where nothing was compared."""
    if not agreements:
        return None
    worst = min(agreements)
    if fit is None:
        return Quality(round(worst, 4), None, None)
    expected = fit.expected(worst)
    return Quality(round(worst, 4), round(expected, 4), expected < fit.review_below)
