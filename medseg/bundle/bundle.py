"""The model as a value: everything `segment` needs to know, nothing evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Literal

from medseg.data.preprocess import PreprocessSpec
from medseg.domain.box import Box
from medseg.domain.errors import InputError, UsageError
from medseg.domain.labels import LabelTable
from medseg.domain.manifest import Case, Fold, image_digests
from medseg.metrics.quality import QualityFit
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec

SliceKind = Literal["axial", "coronal", "sagittal"]

_SHRINKING = ("unet_2015_valid",)


@dataclass(frozen=True)
class PostprocessSpec:
    """From logits to a label map.

    decision:   "argmax": the logits are resampled linearly onto the source grid and the largest wins;
                "instances": background, interior and boundary become numbered things (pictures only).
    min_voxels: smaller connected pieces of a label, or smaller instances, become background.
    """

    decision: Literal["argmax", "instances"]
    min_voxels: int = 0
    marker_threshold: float = 0.0
    foreground_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.min_voxels < 0:
            raise UsageError(f"min_voxels is {self.min_voxels}; it counts voxels from 0")


@dataclass(frozen=True)
class FieldOfView:
    """Edge lengths in mm (right, anterior, superior) that images of the trained kind have."""

    smallest_mm: tuple[float, float, float]
    largest_mm: tuple[float, float, float]


@dataclass(frozen=True)
class DepthScore:
    """What a depth of a UNet++ costs and gives: mean Dice on the validation cases, seconds a case, parameters."""

    depth: int
    dice: float
    seconds: float
    parameters: int


@dataclass(frozen=True)
class Region:
    """A part of the template that holds one organ: the network sees this box of an image and no more."""

    name: str
    box: Box


@dataclass(frozen=True)
class Localiser:
    """How the regions are found in an image larger than the field of view: by way of a template.

    template_sha256:   digest of models/template.nii.gz; 0 is outside of the organ that is looked for.
    worst_correlation: of the template with the image; a poorer fit is refused. The others are limits of it too:
    scale:             smallest and largest stretch of the template.
    worst_coverage:    least share of the template that lies in the image.
    """

    template_sha256: str
    regions: tuple[Region, ...]
    worst_correlation: float
    scale: tuple[float, float]
    worst_coverage: float

    def __post_init__(self) -> None:
        names = [region.name for region in self.regions]
        if (
            not names
            or len(set(names)) < len(names)
            or not all(re.fullmatch(r"[a-z][a-z0-9 _-]{0,31}", n) for n in names)
        ):
            raise UsageError(f"localiser: region names {names} are not different words in small letters")
        for region in self.regions:
            if not all(map(isfinite, region.box.centre_ras_mm)) or not all(0 < mm < inf for mm in region.box.size_mm):
                raise UsageError(f"localiser: region {region.name} has the box {region.box}, which is none")
        if not (
            0 < self.worst_correlation < 1 and 0 < self.worst_coverage <= 1 and 0 < self.scale[0] < self.scale[1] < inf
        ):
            raise UsageError(
                f"localiser: correlation {self.worst_correlation:g}, coverage {self.worst_coverage:g} and scale "
                f"{self.scale} are no limits of a fit"
            )


@dataclass(frozen=True)
class SpacingRange:
    """Edge lengths in mm of the voxels that a bundle takes; what lies outside is a mistake of units."""

    smallest_mm: float
    largest_mm: float

    def __post_init__(self) -> None:
        if not 0 < self.smallest_mm <= self.largest_mm < inf:
            raise UsageError(f"a range of voxel sizes from {self.smallest_mm} to {self.largest_mm} mm is none")


@dataclass(frozen=True)
class Bundle:
    """A segmentation model as described by its folder.

    weights_sha256: digest of models/model.pt; checked before it is loaded.
    flip_axes:      array axes of the network's grid along which it was trained with mirror images.
    fold:           the part of a cross-validation that did not train the network.
    seen:           the digests of the images that trained it, as `image_digests` gives them; (): they are not known.
    always_labelled: every image that trained it held a label, so that it never learned to tell that there is none.
    slices:         how slices of a volume are taken for a 2-D network; None: as a DICOM series has them, else axial.
    pixel_mm:       the pixels that such slices are brought to, as those of the training were; None: as they are.
    depths:         of a UNet++, measured by `medseg bundle depths`, shallowest first.
    folder:         that holds its files; of a bundle not yet written the current one.
    quality:        what the agreement of several answers foretells, measured by `medseg bundle quality`.
    """

    name: str
    version: str
    task: str
    description: str
    modality: str
    data_source: str
    data_licence: str
    network: NetworkSpec
    preprocess: PreprocessSpec
    window: WindowSpec
    postprocess: PostprocessSpec
    labels: LabelTable
    weights_sha256: str
    field_of_view: FieldOfView | None = None
    flip_axes: tuple[int, ...] = ()
    fold: Fold | None = None
    seen: tuple[str, ...] = ()
    always_labelled: bool = False
    depths: tuple[DepthScore, ...] = ()
    slices: SliceKind | None = None
    pixel_mm: float | None = None
    quality: QualityFit | None = None
    localiser: Localiser | None = None
    spacing_range: SpacingRange | None = None
    folder: Path = field(default=Path(), compare=False)

    def seen_of(self, cases: Iterable[Case]) -> list[Case]:
        """Those of the cases whose images trained it."""
        seen = set(self.seen)
        return [case for case in cases if not seen.isdisjoint(image_digests([case]))]

    def probability_channels(self) -> list[str]:
        """Return what the channels of probabilities are, the background first.

        Raises: UsageError for bundles that number things.
        """
        if self.labels.kind == "instances":
            raise UsageError(
                f"--probabilities: bundle {self.name} numbers things and has no map for each; leave it out"
            )
        return ["background", *(label.name for label in self.labels)]

    def require_labels(self, wanted: LabelTable, where: str) -> None:
        """Raises: InputError unless these are the bundle's labels."""
        if wanted != self.labels:
            raise InputError(f"{where}: its label table is not that of bundle {self.name}; compare both")

    def __post_init__(self) -> None:
        if self.postprocess.decision == "instances" and self.preprocess.spacing_mm is not None:
            raise UsageError(
                f"bundle {self.name}: instances are found on the image's own grid, so it has no spacing_mm"
            )
        self._require_one_kind_of_grid()
        if any(axis not in range(self.network.spatial_dims) for axis in self.flip_axes):
            raise UsageError(f"bundle {self.name}: flip_axes {self.flip_axes} are no axes of its images")
        if self.slices is not None and self.network.spatial_dims != 2:
            raise UsageError(f"bundle {self.name}: takes volumes, so it has no {self.slices} slices")
        if self.pixel_mm is not None and (self.network.spatial_dims != 2 or not 0 < self.pixel_mm < inf):
            raise UsageError(
                f"bundle {self.name}: pixels of {self.pixel_mm} mm are for slices of volumes, and positive"
            )
        self._require_room_for_regions()
        classes = 3 if self.postprocess.decision == "instances" else 1 + len(self.labels)
        if self.network.out_channels != classes:
            raise UsageError(f"bundle {self.name}: {self.network.out_channels} channels for {classes} classes")

    def _require_one_kind_of_grid(self) -> None:
        """Network, windows, spacing, channels and labels speak of the same images."""
        if self.network.preset in _SHRINKING:
            raise UsageError(f"bundle {self.name}: the output of {self.network.preset} is smaller than a window")
        dims, spacing_mm = self.network.spatial_dims, self.preprocess.spacing_mm
        if len(self.window.size) != dims or (spacing_mm is not None and len(spacing_mm) != dims):
            raise UsageError(f"bundle {self.name}: windows or spacing have other axes than the {dims} of the network")
        if spacing_mm is not None and not all(0 < mm < inf for mm in spacing_mm):
            raise UsageError(f"bundle {self.name}: spacing_mm {spacing_mm} is not all positive")
        if self.preprocess.channels != self.network.in_channels:
            raise UsageError(
                f"bundle {self.name}: a network of {self.network.in_channels} channels for images of "
                f"{self.preprocess.channels}"
            )
        if (self.postprocess.decision == "instances") != (self.labels.kind == "instances"):
            raise UsageError(f"bundle {self.name}: {self.postprocess.decision} give no {self.labels.kind} labels")

    def _require_room_for_regions(self) -> None:
        """What the localiser finds is something that the network takes."""
        if self.localiser is None:
            return
        if self.field_of_view is None or self.network.spatial_dims != 3 or self.labels.kind == "instances":
            raise UsageError(f"bundle {self.name}: a localiser serves volumes, labels and a declared field of view")
        low, high = self.field_of_view.smallest_mm, self.field_of_view.largest_mm
        for region in self.localiser.regions:
            if not all(a <= mm <= b for a, mm, b in zip(low, region.box.size_mm, high, strict=True)):
                raise UsageError(
                    f"bundle {self.name}: region {region.name} of {region.box.size_mm} mm is no field of view"
                )
