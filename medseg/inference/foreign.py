"""A third-party bundle, loaded: its own transforms around our reading, windows and writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from medseg.backends.backend import Asked
from medseg.backends.eager import eager
from medseg.backends.precision import Precision
from medseg.bundle.build import build, build_foreign_network
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.foreign_labels import table_of
from medseg.bundle.program import program, window_spec
from medseg.bundle.quiet import quiet
from medseg.bundle.steps import Step, built_steps, run_steps
from medseg.domain.box import Box
from medseg.domain.errors import BundleError, ResourceError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelTable
from medseg.domain.report import BackendChoice
from medseg.domain.volume import Volume
from medseg.domain.wishes import NO_WISHES, Wishes
from medseg.inference.clock import Clock
from medseg.inference.fit import require_plausible_spacing
from medseg.inference.foreign_decision import decision_of
from medseg.inference.foreign_image import loaded, require_suits, stacked
from medseg.inference.foreign_labels import label_values
from medseg.inference.model import PartLabels, Prepared
from medseg.inference.parts import Part, cropped, whole
from medseg.inference.resample import OnValues, labels_on_source
from medseg.inference.result import finite
from medseg.io.images import require_contrast
from medseg.io.memory import require_memory
from medseg.windows import Network, Slab, stream


@dataclass(frozen=True, eq=False)
class MonaiImage:
    """A part of an image after the bundle's own preprocessing.

    data: its data dictionary; crop: the image before a CropForegroundd, where there was one.
    """

    data: dict[Any, Any]
    image: MetaTensor
    crop: MetaTensor | None


@dataclass(frozen=True)
class MonaiModel:
    """A third-party bundle ready to run: `network` in the wanted precision, `exact` the same in fp32."""

    bundle: MonaiBundle
    network: Network
    exact: Network
    parameters: int
    device: torch.device
    precision: Precision
    settings: Mapping[str, Any] = field(default_factory=dict)
    voters: tuple[MonaiModel, ...] = ()
    votes: bool = False

    @property
    def network_name(self) -> str:
        """See `Model.network_name`."""
        return self.bundle.network.name

    def prepare(self, volume: Volume, boxes: Sequence[Box], name: str, clock: Clock, beside_bytes: int = 0) -> Prepared:
        """See `Model.prepare`. The bundle's own preprocessing runs when the part's turn comes."""
        volume = require_suits(volume, self.bundle, name)
        require_plausible_spacing(volume, self.bundle.name, None, name)
        parts = [cropped(volume, box, name) for box in boxes] or [whole(volume)]
        for part in parts:
            require_contrast(name, part.seen, boxed=bool(boxes))
        need = max(_need_bytes(part.seen, self.bundle) for part in parts)
        shape = " x ".join(map(str, volume.geometry.shape_ijk))
        require_memory(name, need + beside_bytes, f"segmenting {shape} voxels", "segment a part (--roi)")
        settings = {"roi": [str(box) for box in boxes]}
        return Prepared(volume, name, clock, tuple(parts), settings=settings, need_bytes=need)

    def image(self, part: Part, clock: Clock) -> MonaiImage:
        """See `Model.image`."""
        steps = built_steps(self.bundle)
        with clock.part("preprocess"):
            data, crop = loaded(part.seen, self.bundle), None
            for step in steps.before:
                before = data.get("image")
                data = run_steps([step], data, part.seen.case)
                if step.name == "CropForegroundd":
                    crop = before
        image = data.get("image")
        if not isinstance(image, MetaTensor) or image.ndim != 1 + len(image.shape[1:]):
            raise BundleError(f"{self.bundle.config}: the preprocessing leaves no image of the key 'image'")
        return MonaiImage(data, image, crop)

    def label(
        self,
        part: Part,
        image: MonaiImage,
        clock: Clock,
        on_window: Callable[[int], None] | None = None,
        on_values: OnValues | None = None,
        exact: bool = False,
    ) -> PartLabels:
        """See `Model.label`."""
        windows = 0

        def count(done: int) -> None:
            nonlocal windows
            windows += done
            if on_window is not None:
                on_window(done)

        network = clock.network(self.exact if exact else self.network, self.device)
        slabs = _slabs(image.image, self, network, count)
        with clock.part("labels"):
            labels, notes = _after(part.seen, self.bundle, clock.slabs(slabs), image.data, image.crop)
        if window_spec(self.bundle.inferer, image.image.shape[1:]) is None:
            notes = [*notes, f"windows placed and blended by MONAI's own {self.bundle.inferer.name}"]
        return PartLabels(part.kept(labels), windows, tuple(notes))

    def table(self, values: NDArray[Any]) -> tuple[LabelTable, tuple[str, ...]]:
        """See `Model.table`."""
        table, notes = table_of(self.bundle, values.tolist())
        return table, tuple(notes)

    def probability_channels(self) -> list[str]:
        """See `Model.probability_channels`."""
        return self.bundle.probability_channels()

    def stacked(self, images: Mapping[str, Volume]) -> Volume:
        """See `Model.stacked`."""
        return stacked(images, self.bundle)

    def expected_windows(self, volume: Volume) -> int:
        """See `Model.expected_windows`: the grid that the preprocessing makes is not known before."""
        return 0

    def expect(self, windows: int) -> None:
        """See `Model.expect`."""

    def choice(self, windows: int) -> BackendChoice:
        """See `Model.choice`."""
        return BackendChoice("eager", self.precision, "third-party bundles run as torch runs them", windows)


def load_monai(
    bundle: MonaiBundle, device: torch.device, precision: Precision, wishes: Wishes, asked: Asked
) -> MonaiModel:
    """Load the bundle's network onto the device, once for many cases.

    Raises: UsageError for what only bundles of medseg can do; BundleError for a damaged one.
    """
    if wishes != NO_WISHES:
        raise UsageError(f"{bundle.folder}: --tta, --depth, --fast and --quality are for bundles of medseg")
    if asked.name not in ("auto", "eager"):
        raise UsageError(f"{bundle.folder}: --backend {asked.name} is for bundles of medseg; leave it out")
    network = build_foreign_network(bundle)
    run, exact = eager(network, device, precision), eager(network, device, "fp32")
    parameters = sum(value.numel() for value in network.parameters())
    return MonaiModel(bundle, _single(run, bundle), _single(exact, bundle), parameters, device, precision)


def _need_bytes(volume: Volume, bundle: MonaiBundle) -> int:
    """At least what the image takes in float32, twice, and one map for each class beside."""
    classes = bundle.network.arguments.get("out_channels", 1)
    voxels = prod(volume.geometry.shape_ijk)
    return voxels * 4 * (2 * volume.channels + (classes if isinstance(classes, int) else 1))


def _slabs(image: MetaTensor, model: MonaiModel, network: Network, on_window: Callable[[int], None]) -> Iterator[Slab]:
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
    part: Volume, bundle: MonaiBundle, slabs: Iterator[Slab], data: dict[Any, Any], crop: MetaTensor | None
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


def _single(network: Network, bundle: MonaiBundle) -> Network:
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
