"""A bundle of medseg, loaded: its network runs in windows, its logits are resampled linearly and the largest wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medseg.backends.backend import Asked, Backend
from medseg.backends.eager import eager
from medseg.backends.mirrored import mirrored, turned
from medseg.backends.precision import Precision
from medseg.bundle.bundle import Bundle
from medseg.bundle.template import load_template
from medseg.bundle.weights import load_network
from medseg.data.preprocess import OnGrid, preprocess
from medseg.domain.box import Box
from medseg.domain.errors import UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelTable
from medseg.domain.report import BackendChoice
from medseg.domain.volume import Volume
from medseg.domain.wishes import Wishes
from medseg.inference.clock import Clock
from medseg.inference.model import PartLabels, Prepared
from medseg.inference.parts import Part, whole
from medseg.inference.prepare import is_to_be_localised, prepare
from medseg.inference.probabilities import of_slice
from medseg.inference.resample import OnValues, labels_on_source
from medseg.inference.result import finite
from medseg.inference.slices import at_pixel_size, pictures, put_back, slice_shape, slicing_of
from medseg.networks.ensemble import Ensemble
from medseg.networks.head import blended_width, split_head
from medseg.postprocess.components import remove_islands
from medseg.windows import Head, Network, Slab, collect, stream, window_count


@dataclass(frozen=True)
class OwnModel:
    """A bundle ready to run: `network` in the wanted precision, `exact` the same in fp32 as torch runs it.

    body:     the network up to its features, and `head` what makes logits of them, where windows are better blended as
              features; else both None.
    template: the localiser's.
    voters:   models whose answers are compared: shallower heads, members of an ensemble, or mirror images.
    votes:    whether the network's own answer is compared with them.
    settings: what was asked for beside the bundle's own values; stands in the report.
    backends: what runs `network`, then what runs the voters.
    """

    bundle: Bundle
    network: Network
    exact: Network
    parameters: int
    device: torch.device
    precision: Precision
    body: Network | None = None
    head: Head | None = None
    template: Volume | None = None
    voters: tuple[OwnModel, ...] = ()
    votes: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    backends: tuple[Backend, ...] = ()

    @property
    def network_name(self) -> str:
        """See `Model.network_name`."""
        return self.bundle.network.preset

    def prepare(self, volume: Volume, boxes: Sequence[Box], name: str, clock: Clock, beside_bytes: int = 0) -> Prepared:
        """See `Model.prepare`."""
        prepared = prepare(volume, self.bundle, self.template, self.settings, boxes, name, clock, beside_bytes)
        return replace(prepared, first=self.image(prepared.parts[0], clock))

    def image(self, part: Part, clock: Clock) -> OnGrid | None:
        """What the network is given, on its grid; None where it takes the part slice by slice."""
        if part.seen.geometry.spatial_dims > self.bundle.network.spatial_dims:
            return None
        with clock.part("preprocess"):
            (image,) = preprocess(part.seen, self.bundle.preprocess)
        return image

    def label(
        self,
        part: Part,
        image: OnGrid | None,
        clock: Clock,
        on_window: Callable[[int], None] | None = None,
        on_values: OnValues | None = None,
        exact: bool = False,
    ) -> PartLabels:
        """See `Model.label`."""
        if image is None:
            return self._label_slices(part, clock, on_window, on_values, exact)
        shape = tuple(image.values.shape[1:])
        grid = Geometry(shape, image.affine_ras)
        network = self.exact if exact else self.network if self.body is None else self.body
        head = None if exact else self.head
        timed = clock.network(network, self.device)
        slabs = finite(stream(timed, image.values, self.bundle.window, on_window, head, self.device))
        labels = self._decide(slabs, grid, part.source.geometry.perpendicular(), clock, on_values)  # as `preprocess`
        return PartLabels(part.kept(labels), window_count(shape, self.bundle.window))

    def _label_slices(
        self,
        part: Part,
        clock: Clock,
        on_window: Callable[[int], None] | None,
        on_values: OnValues | None,
        exact: bool,
    ) -> PartLabels:
        """A volume through a 2-D network: each slice a picture, normalised as in training."""
        slicing = slicing_of(part.seen, self.bundle)
        labels: NDArray[Any] = np.zeros(part.source.geometry.shape_ijk, np.uint16)
        windows = 0
        for k, picture in pictures(part.seen, slicing, self.bundle):
            values = None if on_values is None else of_slice(on_values, k, slicing, part.seen.geometry.shape_ijk)
            piece = replace(whole(picture), seen=at_pixel_size(picture, self.bundle.pixel_mm))
            found = self.label(piece, self.image(piece, clock), clock, on_window, values, exact)
            put_back(found.labels, labels, k, slicing)
            windows += found.windows
        return PartLabels(labels, windows)

    def _decide(
        self, slabs: Iterator[Slab], grid: Geometry, source: Geometry, clock: Clock, on_values: OnValues | None
    ) -> NDArray[Any]:
        spec = self.bundle.postprocess
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
            labels = np.array([0, *self.bundle.labels.values], np.uint16)[classes]
            return remove_islands(labels, spec.min_voxels)

    def table(self, values: NDArray[Any]) -> tuple[LabelTable, tuple[str, ...]]:
        """See `Model.table`."""
        return self.bundle.labels, ()

    def probability_channels(self) -> list[str]:
        """See `Model.probability_channels`."""
        return self.bundle.probability_channels()

    def stacked(self, images: Mapping[str, Volume]) -> Volume:
        """See `Model.stacked`."""
        raise UsageError(f"--image: bundle {self.bundle.name} takes one image; give it without --image NAME=")

    def expected_windows(self, volume: Volume) -> int:
        """See `Model.expected_windows`."""
        return expected_windows(volume, self.bundle)

    def expect(self, windows: int) -> None:
        """See `Model.expect`."""
        for backend in self.backends:
            backend.expect(windows)

    def choice(self, windows: int) -> BackendChoice | None:
        """See `Model.choice`."""
        return self.backends[0].choice if self.backends else None


def expected_windows(volume: Volume, bundle: Bundle) -> int:
    """Return about how many windows the whole image takes."""
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


def load_own(bundle: Bundle, device: torch.device, precision: Precision, wishes: Wishes, asked: Asked) -> OwnModel:
    """Load the bundle's network onto the device, once for many cases.

    Raises: UsageError for a depth that the network has not, tta without mirror images in training, or quality where
    there is nothing to compare; BundleError as `load_network`.
    """
    depth = wishes.depth
    greatest = bundle.network.greatest_depth
    if depth is not None and not 1 <= depth <= (greatest or 0):
        there = "one depth" if greatest is None else f"depths 1 to {greatest}"
        raise UsageError(f"--depth {depth}: the network of bundle {bundle.name} has {there}")
    if wishes.tta and not bundle.flip_axes:
        raise UsageError(f"--tta: bundle {bundle.name} was not trained with mirror images; leave it out")
    network = load_network(bundle)
    passes = 2 ** len(bundle.flip_axes) if wishes.tta else 1
    split = split_head(network, depth) if blended_width(bundle.network) else None
    if split is None:
        backend = runs = Backend(network, device, precision, depth, asked, bundle.window.batch, passes)
    else:
        backend = Backend(split.body, device, precision, None, asked, bundle.window.batch, passes, head=split.head)
        runs = backend.like(network, depth)
    wanted: Network = runs
    body: Network | None = None if split is None else backend
    exact = eager(network, device, "fp32", depth)
    by_member = isinstance(network, Ensemble) and bundle.quality is not None and bundle.quality.of_member
    others, voters = _voters(network, runs, bundle, depth, by_member) if wishes.quality else ((), ())
    if wishes.tta:
        wanted, exact = mirrored(wanted, bundle.flip_axes), mirrored(exact, bundle.flip_axes)
        if body is not None:  # a head that looks at each voxel alone may wait for the mean
            body = mirrored(body, bundle.flip_axes)
    settings = {name: value for name, value in vars(wishes).items() if value}
    model = OwnModel(
        bundle,
        wanted,
        exact,
        sum(value.numel() for value in network.parameters()),
        device,
        precision,
        body,
        None if split is None else split.head.to(device).eval(),
        load_template(bundle),
        settings=settings,
        votes=not by_member,
        backends=(backend, runs, *others),
    )
    compared = tuple(replace(model, network=voter, body=None, head=None) for voter in voters)
    return replace(model, voters=compared)


def _voters(
    network: nn.Module, backend: Backend, bundle: Bundle, depth: int | None, by_member: bool
) -> tuple[tuple[Backend, ...], tuple[Network, ...]]:
    """What answers beside the network, run as it is; first what of it has a start of its own.

    by_member: the first member of an ensemble answers with its mirror images, in place of all members.
    """
    if isinstance(network, Ensemble) and by_member:
        first = backend.like(network.members[0], depth)
        return (first,), (first, *(turned(first, (axis,)) for axis in bundle.flip_axes))
    if isinstance(network, Ensemble):
        members = tuple(backend.like(member, depth) for member in network.members)
        return members, members
    deepest = depth or bundle.network.greatest_depth or 1
    if deepest > 1:
        heads = tuple(backend.like(network, shallower) for shallower in range(1, deepest))
        return heads, heads
    if bundle.flip_axes:
        return (), tuple(turned(backend, (axis,)) for axis in bundle.flip_axes)
    raise UsageError(f"--quality: bundle {bundle.name} has one answer only: no depths, members or mirror images")
