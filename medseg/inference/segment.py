"""One case: a volume becomes a label map and a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from medseg import __version__
from medseg.backends.eager import eager
from medseg.backends.precision import Precision
from medseg.bundle.bundle import Bundle, StoredBundle
from medseg.bundle.foreign import ForeignBundle
from medseg.bundle.weights import load_network
from medseg.data.preprocess import preprocess
from medseg.data.reader import fit_channels
from medseg.domain.errors import FieldOfViewError, InputError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure, Report
from medseg.domain.volume import Volume
from medseg.inference.foreign import ForeignModel, load_foreign, segment_foreign
from medseg.inference.measure import measure
from medseg.inference.region import Box, crop_to_box
from medseg.inference.resample import labels_on_source
from medseg.inference.result import NotFiniteError, Segmentation
from medseg.io.images import require_contrast
from medseg.postprocess.components import remove_islands
from medseg.postprocess.instances import instances_from_boundary, renumber
from medseg.windows import Network, Slab, collect, stream, window_count


@dataclass(frozen=True)
class Model:
    """A bundle ready to run: `network` in the wanted precision, `exact` the same in fp32."""

    bundle: Bundle
    network: Network
    exact: Network
    device: torch.device
    precision: Precision


@overload
def load_model(stored: StoredBundle, device: torch.device, precision: Precision) -> Model: ...
@overload
def load_model(stored: ForeignBundle, device: torch.device, precision: Precision) -> ForeignModel: ...
def load_model(
    stored: StoredBundle | ForeignBundle, device: torch.device, precision: Precision
) -> Model | ForeignModel:
    """The bundle's network on the device; loaded once for many cases."""
    if isinstance(stored, ForeignBundle):
        return load_foreign(stored, device, precision)
    network = load_network(stored)
    return Model(stored.bundle, eager(network, device, precision), eager(network, device, "fp32"), device, precision)


def segment(
    volume: Volume,
    model: Model | ForeignModel,
    boxes: Sequence[Box] = (),
    name: str = "",
    on_window: Callable[[int], None] | None = None,
) -> Segmentation:
    """The mask of a volume on its own grid; with boxes, only they are segmented and the rest is background.

    name: how messages call the image.
    Raises: InputError and its kinds where the image does not suit the bundle.
    """
    if isinstance(model, ForeignModel):
        return segment_foreign(volume, model, boxes, name, on_window)
    started, bundle, name = time.perf_counter(), model.bundle, name or volume.case
    require_fit(volume, bundle, name)
    parts = [crop_to_box(volume, box, name) for box in boxes] or [(volume, (0,) * volume.geometry.spatial_dims)]
    for part, _ in parts:
        require_field_of_view(part, bundle, name, boxed=bool(boxes))
        require_contrast(name, part)
    instances = bundle.labels.kind == "instances"
    dtype: Any = np.uint16 if instances or bundle.labels.values[-1] > 255 else np.uint8
    voxels: NDArray[Any] = np.zeros(volume.geometry.shape_ijk, np.int32 if instances else dtype)
    measures: list[Measure] = []
    notes = list(volume.notes)
    windows = 0
    regions: list[str | None] = [str(box) for box in boxes] or [None]
    for (part, start), region in zip(parts, regions, strict=True):
        labels, count, note = _segment_part(part, model, on_window)
        windows += count
        notes += [note] if note else []
        measures += measure(LabelMap(labels.astype(dtype), part.geometry, bundle.labels), part, region)
        labels = labels.astype(voxels.dtype)
        if instances:
            labels[labels > 0] += voxels.max()  # every box counts from 1
        target = voxels[tuple(slice(s, s + n) for s, n in zip(start, labels.shape, strict=True))]
        np.copyto(target, labels, where=target == 0)
    if instances:
        voxels = renumber(voxels)
    report = Report(
        case=volume.case,
        bundle=bundle.name,
        bundle_version=bundle.version,
        medseg_version=__version__,
        shape_ijk=volume.geometry.shape_ijk,
        spacing_mm=tuple(round(s, 6) for s in volume.geometry.spacing_mm),
        device=str(model.device),
        precision=model.precision,
        windows=windows,
        seconds={"segment": round(time.perf_counter() - started, 3)},
        measures=tuple(measures),
        notes=tuple(notes),
        settings={"roi": [str(box) for box in boxes]},
    )
    return Segmentation(LabelMap(voxels, volume.geometry, bundle.labels), report)


def expected_windows(volume: Volume, bundle: Bundle | ForeignBundle) -> int:
    """About how many windows the whole image takes, 0 if that is not known; for progress bars."""
    if isinstance(bundle, ForeignBundle):
        return 0
    if volume.geometry.spatial_dims != bundle.network.spatial_dims:
        return 1  # `segment` will refuse it
    spacing = bundle.preprocess.spacing_mm or volume.geometry.spacing_mm
    shape = [max(round(e / s), 1) for e, s in zip(volume.geometry.extent_mm, spacing, strict=True)]
    return window_count(shape, bundle.window)


def require_fit(volume: Volume, bundle: Bundle, name: str) -> None:
    """Raises: InputError for another number of axes, colour in a grey model or another modality."""
    dims = bundle.network.spatial_dims
    if volume.geometry.spatial_dims != dims:
        kinds = {2: "a picture", 3: "a volume"}
        raise InputError(
            f"{name}: is {kinds[volume.geometry.spatial_dims]} of {volume.geometry.shape_ijk} voxels, bundle "
            f"{bundle.name} takes {kinds[dims]}; give another image or another bundle"
        )
    fit_channels(volume, bundle.preprocess.channels, name)
    if volume.modality is not None and volume.modality != bundle.modality:
        raise InputError(
            f"{name}: its modality is {volume.modality}, bundle {bundle.name} takes {bundle.modality}; "
            "give another image or another bundle"
        )


def require_field_of_view(volume: Volume, bundle: Bundle, name: str, boxed: bool) -> None:
    """Raises: FieldOfViewError where the bundle declares a size of image and this one has another."""
    if bundle.field_of_view is None:
        return
    directions = np.abs(volume.geometry.affine_ras[:3, :3]) / np.array(volume.geometry.spacing_mm)
    extent = directions @ np.array(volume.geometry.extent_mm)  # of the box around the image, along R, A, S
    low, high = np.array(bundle.field_of_view.smallest_mm), np.array(bundle.field_of_view.largest_mm)
    if (extent < low).any() or (extent > high).any():
        ranges = " x ".join(f"{a:g}-{b:g}" for a, b in zip(low, high, strict=True))
        what = "the --roi box" if boxed else "the image"
        raise FieldOfViewError(
            f"{name}: {what} shows {' x '.join(f'{e:.0f}' for e in extent)} mm, bundle {bundle.name} was trained on "
            f"crops of {ranges} mm (right-left, front-back, up-down); "
            + ("give a box of that size" if boxed else "say where to look with --roi x,y,z,dx,dy,dz")
        )


def _segment_part(part: Volume, model: Model, on_window: Callable[[int], None] | None) -> tuple[NDArray[Any], int, str]:
    """Label values (*S) on the part's grid, the number of windows and a note."""
    bundle = model.bundle
    (image,) = preprocess(part, bundle.preprocess)
    count = window_count(image.shape[1:], bundle.window)
    grid = Geometry(tuple(image.shape[1:]), image.affine.numpy().astype(np.float64))
    source = part.geometry.perpendicular()  # as `preprocess` had it
    tensor = image.as_tensor().to(model.device)
    try:
        slabs = _finite(stream(model.network, tensor, bundle.window, on_window))
        return _decide(slabs, grid, source, bundle), count, ""
    except _NotFinite:
        slabs = _finite(stream(model.exact, tensor, bundle.window))
        try:
            labels = _decide(slabs, grid, source, bundle)
        except _NotFinite:
            raise NotFiniteError(
                f"{part.case}: bundle {bundle.name} computes NaN on this image; check the image's values"
            ) from None
        return labels, count, f"{model.precision} overflowed; computed again in fp32"


def _decide(slabs: Iterator[Slab], grid: Geometry, source: Geometry, bundle: Bundle) -> NDArray[Any]:
    spec = bundle.postprocess
    if spec.decision == "instances":
        probabilities = collect(slabs).softmax(0).cpu().numpy()
        return instances_from_boundary(
            probabilities,
            marker_threshold=spec.marker_threshold,
            foreground_threshold=spec.foreground_threshold,
            min_voxels=spec.min_voxels,
        )
    classes = labels_on_source(slabs, grid, source)
    labels = np.array([0, *bundle.labels.values], np.uint16)[classes]
    return remove_islands(labels, spec.min_voxels)


class _NotFinite(Exception):
    """Some logits are NaN or infinite."""


def _finite(slabs: Iterator[Slab]) -> Iterator[Slab]:
    for slab in slabs:
        if not torch.isfinite(slab.logits).all():
            raise _NotFinite
        yield slab
