"""The model as a value: everything `segment` needs to know, nothing evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import UsageError
from medseg.domain.labels import LabelTable
from medseg.domain.manifest import Fold
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
class Bundle:
    """A segmentation model as described by its folder.

    weights_sha256: digest of models/model.pt; checked before it is loaded.
    flip_axes:      array axes of the network's grid along which it was trained with mirror images.
    fold:           the part of a cross-validation that did not train the network.
    slices:         how slices of a volume are taken for a 2-D network; None: as a DICOM series has them, else axial.
    depths:         of a UNet++, measured by `medseg bundle depths`, shallowest first.
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
    depths: tuple[DepthScore, ...] = ()
    slices: SliceKind | None = None

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


@dataclass(frozen=True)
class StoredBundle:
    """A bundle and the folder that holds its weights."""

    bundle: Bundle
    folder: Path
