"""One case with a bundle that somebody else wrote: its own transforms around our reading, windows and writing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from medseg import __version__
from medseg.backends.eager import eager
from medseg.backends.precision import Precision
from medseg.bundle.build import build, build_foreign_network
from medseg.bundle.foreign import ForeignBundle
from medseg.bundle.program import program, window_spec
from medseg.bundle.quiet import quiet
from medseg.bundle.steps import Step, built_steps, run_steps
from medseg.domain.errors import BundleError, ResourceError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.report import BackendChoice, Measure, Report
from medseg.domain.volume import Volume
from medseg.inference.clock import Clock
from medseg.inference.foreign_decision import decision_of
from medseg.inference.foreign_image import loaded, require_suits
from medseg.inference.foreign_labels import label_values, table_of
from medseg.inference.measure import measure
from medseg.inference.region import Box, crop_to_box
from medseg.inference.resample import labels_on_source
from medseg.inference.result import NotFinite, NotFiniteError, Segmentation, finite
from medseg.io.images import require_contrast
from medseg.windows import Network, Slab, stream


@dataclass(frozen=True)
class ForeignModel:
    """A stranger's bundle ready to run: `network` in the wanted precision, `exact` the same in fp32."""

    bundle: ForeignBundle
    network: Network
    exact: Network
    device: torch.device
    precision: Precision


def load_foreign(bundle: ForeignBundle, device: torch.device, precision: Precision) -> ForeignModel:
    """The bundle's network on the device; loaded once for many cases."""
    network = build_foreign_network(bundle)
    run, exact = eager(network, device, precision), eager(network, device, "fp32")
    return ForeignModel(bundle, _single(run, bundle), _single(exact, bundle), device, precision)


def segment_foreign(
    volume: Volume,
    model: ForeignModel,
    boxes: Sequence[Box] = (),
    name: str = "",
    on_window: Callable[[int], None] | None = None,
    clock: Clock | None = None,
) -> Segmentation:
    """The mask that the bundle's own steps give, on the volume's grid; as `segment` does for our bundles."""
    started, bundle, name = time.perf_counter(), model.bundle, name or volume.case
    clock = clock or Clock()
    volume = require_suits(volume, bundle, name)
    parts = [crop_to_box(volume, box, name) for box in boxes] or [(volume, (0,) * volume.geometry.spatial_dims)]
    voxels = np.zeros(volume.geometry.shape_ijk, np.uint16)
    notes, counted = [*volume.notes], 0
    found: list[tuple[NDArray[np.uint16], Volume]] = []

    def count(windows: int) -> None:
        nonlocal counted
        counted += windows
        if on_window is not None:
            on_window(windows)

    for part, start in parts:
        require_contrast(name, part, boxed=bool(boxes))
        labels, more = _segment_part(part, model, count, clock)
        notes += [note for note in more if note not in notes]
        found.append((labels, part))
        target = voxels[tuple(slice(s, s + n) for s, n in zip(start, labels.shape, strict=True))]
        np.copyto(target, labels, where=target == 0)
    table, more = table_of(bundle, np.unique(voxels))
    if table.values[-1] <= 255:
        voxels = voxels.astype(np.uint8)
    measures: list[Measure] = []
    for n, (labels, part) in enumerate(found):
        where = str(boxes[n]) if boxes else None
        with clock.part("measure"):
            measures += measure(LabelMap(labels.astype(voxels.dtype), part.geometry, table), part, where)
    report = Report(
        case=volume.case,
        bundle=bundle.about.name,
        bundle_version=bundle.about.version,
        medseg_version=__version__,
        shape_ijk=volume.geometry.shape_ijk,
        spacing_mm=volume.geometry.told_spacing_mm,
        device=str(model.device),
        precision=model.precision,
        windows=counted,
        seconds={**clock.seconds(), "segment": round(time.perf_counter() - started, 4)},
        measures=tuple(measures),
        notes=(*notes, *more),
        settings={"roi": [str(box) for box in boxes]},
        backend=BackendChoice("eager", model.precision, "other people's bundles run as torch runs them", counted),
    )
    return Segmentation(LabelMap(voxels, volume.geometry, table), report)


def _segment_part(
    part: Volume, model: ForeignModel, on_window: Callable[[int], None], clock: Clock
) -> tuple[NDArray[np.uint16], list[str]]:
    """Label values (*S) on the part's grid, and notes."""
    steps = built_steps(model.bundle)
    with clock.part("preprocess"):
        data, crop = loaded(part, model.bundle), None
        for step in steps.before:
            before = data.get("image")
            data = run_steps([step], data, part.case)
            if step.name == "CropForegroundd":
                crop = before
    image = data.get("image")
    if not isinstance(image, MetaTensor) or image.ndim != 1 + len(image.shape[1:]):
        raise BundleError(f"{model.bundle.config}: the preprocessing leaves no image of the key 'image'")
    try:
        slabs = _slabs(image, model, clock.network(model.network, model.device), on_window)
        with clock.part("labels"):
            labels, notes = _after(part, model.bundle, clock.slabs(slabs), data, crop)
        if window_spec(model.bundle.inferer, image.shape[1:]) is None:
            notes = [*notes, f"windows placed and blended by MONAI's own {model.bundle.inferer.name}"]
        return labels, notes
    except NotFinite:
        try:
            slabs = _slabs(image, model, clock.network(model.exact, model.device), lambda _: None)
            with clock.part("labels"):
                labels, notes = _after(part, model.bundle, clock.slabs(slabs), data, crop)
        except NotFinite:
            raise NotFiniteError(
                f"{part.case}: bundle {model.bundle.about.name} computes NaN on this image; check the image's values"
            ) from None
        note = [f"{model.precision} overflowed; computed again in fp32"] if model.precision != "fp32" else []
        return labels, notes + note


def _slabs(
    image: MetaTensor, model: ForeignModel, network: Network, on_window: Callable[[int], None]
) -> Iterator[Slab]:
    """What the bundle's inferer gives, as slabs: by our windows where they are placed alike, else by MONAI's."""
    tensor = image.as_tensor().float().to(model.device)
    spec = window_spec(model.bundle.inferer, image.shape[1:])
    if spec is not None:
        try:
            yield from finite(stream(network, tensor, spec, on_window))
        except ResourceError as error:
            raise ResourceError(f"{model.bundle.name}: {error}") from error
        return
    with torch.inference_mode(), quiet():
        try:
            whole = build(model.bundle.inferer)(tensor[None], network)[0].float()
        except (ValueError, TypeError, IndexError) as error:
            raise BundleError(f"{model.bundle.inferer.place}: {model.bundle.inferer.name} fails ({error})") from error
    on_window(1)
    yield from finite(iter([Slab(0, int(whole.shape[1]), 0, whole)]))


def _after(
    part: Volume, bundle: ForeignBundle, slabs: Iterator[Slab], data: dict[Any, Any], crop: MetaTensor | None
) -> tuple[NDArray[np.uint16], list[str]]:
    """From the network's slabs to label values on the part's grid, in the bundle's own order."""
    steps, plan = built_steps(bundle), program(bundle)
    image, source = data["image"], part.geometry
    slabs = (replace(s, logits=_on_prediction(steps.head, s.logits, part.case)) for s in slabs)
    fits = crop is None or _offset(crop, image) is not None
    if plan.way == "linear" and fits and source.spatial_dims == 3:
        grid = _grid(crop if crop is not None else image)
        if crop is not None:
            slabs = _uncropped(slabs, _offset(crop, image) or (), crop.shape[1:])

        def decide(values: Tensor) -> Tensor:
            return _on_prediction(steps.rest, values, part.case)[0]

        head = next(slabs)
        decision = decision_of(plan.rest, len(head.logits), decide)
        slabs = chain([head], slabs)
        del head
        labels: NDArray[np.uint16] = labels_on_source(slabs, grid, source, decision, np.uint16)
        return labels, [plan.in_words()]
    parts = list(slabs)
    whole = torch.cat([slab.logits for slab in parts], 1 + parts[0].axis)
    rest = steps.rest if plan.way == "volume" else steps.volume
    done = run_steps(rest, {**data, "pred": MetaTensor(whole.cpu(), meta=dict(image.meta))}, part.case)
    values, notes = label_values(done, bundle, source)
    return values, [replace(plan, way="volume", rest=bundle.postprocessing[len(plan.head) :]).in_words(), *notes]


def _on_prediction(steps: Sequence[Step], values: Tensor, case: str) -> Tensor:
    if not steps:
        return values
    done = run_steps(steps, {"pred": values}, case)["pred"]
    return done.as_tensor() if isinstance(done, MetaTensor) else torch.as_tensor(done)


def _grid(image: MetaTensor) -> Geometry:
    return Geometry(tuple(image.shape[1:]), image.affine.numpy().astype(np.float64))


def _offset(before: MetaTensor, after: MetaTensor) -> tuple[int, ...] | None:
    """Where a crop begins in what it was cut from; None if it is no part of it."""
    shift = np.linalg.inv(before.affine.numpy()) @ after.affine.numpy()
    start = np.round(shift[:3, 3]).astype(int)
    whole = np.abs(shift[:3, 3] - start).max() < 1e-4 and np.allclose(shift[:3, :3], np.eye(3), atol=1e-6)
    ends = start + np.array(after.shape[1:])
    inside = (start >= 0).all() and (ends <= np.array(before.shape[1:])).all()
    return tuple(int(s) for s in start) if whole and inside else None


def _uncropped(slabs: Iterator[Slab], start: Sequence[int], shape: Sequence[int]) -> Iterator[Slab]:
    """The slabs with zeros around them, as the inverse of a crop pads: outside a crop is nothing of any class."""
    at = 0
    for slab in slabs:
        amounts: list[int] = []
        for axis in reversed(range(len(shape))):
            low = 0 if axis == slab.axis else start[axis]
            amounts += [low, 0 if axis == slab.axis else shape[axis] - low - slab.logits.shape[1 + axis]]
        logits = torch.nn.functional.pad(slab.logits, amounts)
        if at == 0 and start[slab.axis] > 0:
            yield Slab(0, start[slab.axis], slab.axis, _zeros(logits, slab.axis, start[slab.axis]))
        at = start[slab.axis] + slab.stop
        yield Slab(start[slab.axis] + slab.start, at, slab.axis, logits)
        last = logits, slab.axis
    logits, axis = last
    if at < shape[axis]:
        yield Slab(at, shape[axis], axis, _zeros(logits, axis, shape[axis] - at))


def _zeros(like: Tensor, axis: int, planes: int) -> Tensor:
    shape = list(like.shape)
    shape[1 + axis] = planes
    return like.new_zeros(shape)


def _single(network: Network, bundle: ForeignBundle) -> Network:
    """The network, refused where it gives anything but one tensor of the window's shape."""

    def run(windows: Tensor, *_: Any, **__: Any) -> Tensor:
        try:
            values = network(windows)
        except (ValueError, TypeError, IndexError) as error:
            raise BundleError(
                f"{bundle.network.place}: {bundle.network.name} fails on its windows ({error})"
            ) from error
        if not isinstance(values, Tensor) or values.shape[2:] != windows.shape[2:]:
            raise BundleError(f"{bundle.network.place}: {bundle.network.name} gives no map of its window's shape")
        return values

    return run
