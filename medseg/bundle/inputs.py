"""What a bundle takes, by its metadata alone: quick, without torch and without reading the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.domain.errors import BundleError
from medseg.domain.geometry import Geometry


@dataclass(frozen=True)
class Inputs:
    """The image input of MONAI's metadata.

    largest_mm: where the bundle takes crops of at most that size and cannot find them in larger images by itself.
    """

    modality: str
    channels: int
    spatial_dims: int
    largest_mm: tuple[float, ...] | None

    def take(self, modality: str, geometry: Geometry) -> bool:
        """Whether a grey volume of this modality suits, as a whole or a region of it."""
        return (self.modality, self.channels, self.spatial_dims) == (modality, 1, geometry.spatial_dims)

    def need_region(self, geometry: Geometry) -> bool:
        """Whether the volume is larger than what the bundle takes, so that --roi is needed."""
        if self.largest_mm is None:
            return False
        directions = np.abs(geometry.affine_ras[:3, :3]) / np.array(geometry.spacing_mm)
        return bool((directions @ np.array(geometry.extent_mm) > np.array(self.largest_mm)).any())


def read_inputs(folder: Path) -> Inputs:
    """Raises: BundleError if the metadata do not say what the bundle takes."""
    path = folder / "configs" / "metadata.json"
    try:
        metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        image = metadata["network_data_format"]["inputs"]["image"]
        own = metadata.get("medseg") or {}
        crop = None if own.get("localiser") else own.get("field_of_view")
        return Inputs(
            str(image["modality"]),
            int(image["num_channels"]),
            len(image["spatial_shape"]),
            tuple(map(float, crop["largest_mm"])) if crop else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: does not say what images the bundle takes; get the bundle again") from error
