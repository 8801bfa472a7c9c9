"""One case: a volume becomes a label map and a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg import __version__
from medseg.bundle.bundle import Bundle
from medseg.bundle.foreign import ForeignBundle
from medseg.data.preprocess import OnGrid
from medseg.domain.box import Box
from medseg.domain.errors import ResourceError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure, Quality, Report
from medseg.domain.volume import Volume
from medseg.inference.clock import Clock
from medseg.inference.model import Model
from medseg.inference.parts import Part, whole
from medseg.inference.prepare import Prepared, is_to_be_localised, network_image, prepare
from medseg.inference.probabilities import OnProbabilities, of_slice, probability_channels, softmax_of
from medseg.inference.resample import OnValues, labels_on_source
from medseg.inference.result import NotFinite, NotFiniteError, Segmentation, finite
from medseg.inference.slices import at_pixel_size, pictures, put_back, slice_shape, slicing_of
from medseg.metrics.quality import agreement
from medseg.postprocess.components import remove_islands
from medseg.windows import Slab, collect, stream, window_count

if TYPE_CHECKING:
    from medseg.inference.foreign import ForeignModel


def segment(
    volume: Volume,
    model: Model | ForeignModel,
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
        probability_channels(model.bundle)  # refused before any work
    return segment_prepared(prepare(volume, model, boxes, name), model, on_window, on_probabilities)


def segment_prepared(
    prepared: Prepared,
    model: Model | ForeignModel,
    on_window: Callable[[int], None] | None = None,
    on_probabilities: OnProbabilities | None = None,
) -> Segmentation:
    """The rest of `segment`, from the first window on."""
    started, clock, volume = time.perf_counter(), prepared.clock, prepared.volume
    channels = [] if on_probabilities is None else probability_channels(model.bundle)
    if not isinstance(model, Model):
        from medseg.inference.foreign import segment_foreign  # by way of MONAI, which takes long to import

        return segment_foreign(volume, model, prepared.boxes, prepared.name, on_window, clock)
    bundle = model.bundle
    instances = bundle.labels.kind == "instances"
    dtype: Any = np.uint16 if instances or bundle.labels.values[-1] > 255 else np.uint8
    voxels: NDArray[Any] = np.zeros(volume.geometry.shape_ijk, np.int32 if instances else dtype)
    measures: list[Measure] = []
    notes = [*volume.notes, *_unasked(volume, bundle)]
    windows = 0
    agreements: list[float] = []
    model.expect(sum(expected_windows(part.seen, bundle) for part in prepared.parts))
    for n, part in enumerate(prepared.parts):
        image = prepared.first if n == 0 else network_image(part, bundle, clock)
        on_values = None if on_probabilities is None else softmax_of(part, voxels, on_probabilities)
        labels, count, note = _segment_part(part, image, model, clock, on_window, on_values)
        windows += count
        if model.voters:
            agreements.append(_agreement(part, image, labels, model, clock))
        notes += [note] if note else []
        with clock.part("measure"):
            measures += part.measured(LabelMap(labels.astype(dtype), part.source.geometry, bundle.labels))
        labels = labels.astype(voxels.dtype)
        if instances:
            labels[labels > 0] += voxels.max()  # every box counts from 1
        target = voxels[tuple(slice(s, s + n) for s, n in zip(part.start, labels.shape, strict=True))]
        np.copyto(target, labels, where=target == 0)
    if instances:
        from medseg.postprocess.instances import renumber  # by way of scikit-image, which organs can do without

        voxels = renumber(voxels)
    report = Report(
        case=volume.case,
        bundle=bundle.name,
        bundle_version=bundle.version,
        medseg_version=__version__,
        shape_ijk=volume.geometry.shape_ijk,
        spacing_mm=volume.geometry.told_spacing_mm,
        device=str(model.device),
        precision=model.choice.precision if model.choice else model.precision,
        windows=windows,
        seconds={**clock.seconds(), "segment": round(time.perf_counter() - started, 4)},
        measures=tuple(measures),
        notes=tuple(notes),
        settings={**(prepared.settings or {}), **({"probabilities": channels} if channels else {})},
        quality=quality_of(agreements, bundle),
        backend=model.choice,
    )
    return Segmentation(LabelMap(voxels, volume.geometry, bundle.labels), report)


def expected_windows(volume: Volume, bundle: Bundle | ForeignBundle) -> int:
    """About how many windows the whole image takes, 0 if that is not known; for progress bars."""
    if isinstance(bundle, ForeignBundle):
        return 0
    if volume.geometry.spatial_dims < bundle.network.spatial_dims:
        return 1  # `segment` will refuse it
    if volume.geometry.spatial_dims > bundle.network.spatial_dims:
        slicing = slicing_of(volume, bundle)
        return volume.geometry.shape_ijk[slicing.axis] * window_count(
            slice_shape(volume, slicing, bundle), bundle.window
        )
    spacing = bundle.preprocess.spacing_mm or volume.geometry.spacing_mm
    if is_to_be_localised(volume, bundle) and bundle.localiser:
        extents: list[tuple[float, ...]] = [region.box.size_mm for region in bundle.localiser.regions]
    else:
        extents = [volume.geometry.extent_mm]
    shapes = [[max(round(e / s), 1) for e, s in zip(extent, spacing, strict=True)] for extent in extents]
    return sum(window_count(shape, bundle.window) for shape in shapes)


def _segment_part(
    part: Part,
    image: OnGrid | None,
    model: Model,
    clock: Clock,
    on_window: Callable[[int], None] | None,
    on_values: OnValues | None = None,
) -> tuple[NDArray[Any], int, str]:
    """Label values (*S) on the part's source grid, the number of windows and a note; image: as `network_image`."""
    bundle = model.bundle
    if image is None:
        return _segment_slices(part, model, clock, on_window, on_values)
    shape = tuple(image.values.shape[1:])
    count = window_count(shape, bundle.window)
    grid = Geometry(shape, image.affine_ras)
    source = part.source.geometry.perpendicular()  # as `preprocess` had it
    tensor = image.values
    try:
        network = clock.network(model.network if model.body is None else model.body, model.device)
        slabs = finite(stream(network, tensor, bundle.window, on_window, model.head, model.device))
        return part.kept(_decide(slabs, grid, source, bundle, clock, on_values)), count, ""
    except ResourceError as error:  # a window does not fit; only here it is known of which image
        raise ResourceError(f"{part.seen.case}: {error}") from error
    except NotFinite:
        network = clock.network(model.exact, model.device)
        slabs = finite(stream(network, tensor, bundle.window, device=model.device))
        try:
            labels = _decide(slabs, grid, source, bundle, clock, on_values)
        except NotFinite:
            raise NotFiniteError(
                f"{part.seen.case}: bundle {bundle.name} computes NaN on this image; check the image's values"
            ) from None
        return part.kept(labels), count, f"{model.precision} overflowed; computed again in fp32"


def _agreement(part: Part, image: OnGrid | None, labels: NDArray[Any], model: Model, clock: Clock) -> float:
    """How well the voters' masks agree with each other, and with this one where it votes."""
    models = [replace(model, network=voter, body=None, head=None) for voter in model.voters]
    answers = [labels] if model.votes else []
    answers += [_segment_part(part, image, voter, clock, None)[0] for voter in models]
    if model.bundle.labels.kind == "instances":
        return agreement([(answer > 0).astype(np.uint8) for answer in answers], (1,))
    return agreement(answers, model.bundle.labels.values)


def quality_of(agreements: Sequence[float], bundle: Bundle) -> Quality | None:
    """The worst part's agreement and what it foretells; None where nothing was compared."""
    if not agreements:
        return None
    worst = min(agreements)
    if bundle.quality is None:
        return Quality(round(worst, 4), None, None)
    expected = bundle.quality.expected(worst)
    return Quality(round(worst, 4), round(expected, 4), expected < bundle.quality.review_below)


def _segment_slices(
    part: Part,
    model: Model,
    clock: Clock,
    on_window: Callable[[int], None] | None,
    on_values: OnValues | None,
) -> tuple[NDArray[Any], int, str]:
    """A volume through a 2-D network: as `_segment_part`, each slice a picture, normalised as in training."""
    slicing = slicing_of(part.seen, model.bundle)
    labels: NDArray[Any] = np.zeros(part.source.geometry.shape_ijk, np.uint16)
    windows, notes = 0, dict[str, None]()
    for k, picture in pictures(part.seen, slicing, model.bundle):
        told = None if on_values is None else of_slice(on_values, k, slicing, part.seen.geometry.shape_ijk)
        piece = replace(whole(picture), seen=at_pixel_size(picture, model.bundle.pixel_mm))
        image = network_image(piece, model.bundle, clock)
        found, count, note = _segment_part(piece, image, model, clock, on_window, told)
        put_back(found, labels, k, slicing)
        windows += count
        notes[note] = None
    return labels, windows, "; ".join(filter(None, notes))


def _decide(
    slabs: Iterator[Slab],
    grid: Geometry,
    source: Geometry,
    bundle: Bundle,
    clock: Clock,
    on_values: OnValues | None,
) -> NDArray[Any]:
    spec = bundle.postprocess
    with clock.part("labels"):
        timed = clock.slabs(slabs)
        if spec.decision == "instances":
            from medseg.postprocess.instances import instances_from_boundary

            probabilities = collect(timed).softmax(0).cpu().numpy()
            return instances_from_boundary(
                probabilities,
                marker_threshold=spec.marker_threshold,
                foreground_threshold=spec.foreground_threshold,
                min_voxels=spec.min_voxels,
            )
        classes = labels_on_source(timed, grid, source, on_values=on_values)
        labels = np.array([0, *bundle.labels.values], np.uint16)[classes]
        return remove_islands(labels, spec.min_voxels)


def _unasked(volume: Volume, bundle: Bundle) -> list[str]:
    """A note where slices are asked for that show none of the labels, and the bundle never saw such a slice."""
    if volume.geometry.spatial_dims == bundle.network.spatial_dims or not bundle.always_labelled:
        return []
    names = " or ".join(bundle.labels.names)
    return [
        f"bundle {bundle.name} learned from slices that hold {names} only, and may mark some on slices that hold none: "
        "look at every slice"
    ]
