"""The model as a value: everything `segment` needs to know, nothing evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import UsageError
from medseg.domain.labels import LabelTable
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec


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
class Bundle:
    """A segmentation model as described by its folder.

    class_values:   the label value of each output channel 1..K-1 of the network.
    weights_sha256: digest of models/model.pt; checked before it is loaded.
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

    def __post_init__(self) -> None:
        if self.postprocess.decision == "instances" and self.preprocess.spacing_mm is not None:
            raise UsageError(
                f"bundle {self.name}: instances are found on the image's own grid, so it has no spacing_mm"
            )
        classes = 3 if self.postprocess.decision == "instances" else 1 + len(self.labels)
        if self.network.out_channels != classes:
            raise UsageError(f"bundle {self.name}: {self.network.out_channels} channels for {classes} classes")


@dataclass(frozen=True)
class StoredBundle:
    """A bundle and the folder that holds its weights."""

    bundle: Bundle
    folder: Path
