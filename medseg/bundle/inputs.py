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

    by_slice:   whether a 2-D bundle takes volumes too, slice by slice.
    largest_mm: where the bundle takes volumes that are crops of at most that size and cannot find them in larger
                images by itself.
    """

    modality: str
    channels: int
    spatial_dims: int
    by_slice: bool
    largest_mm: tuple[float, ...] | None

    def take(self, modality: str, geometry: Geometry) -> bool:
        """Whether a grey image of this modality suits, as a whole, a region of it or slice by slice."""
        axes = (2, 3) if self.by_slice else (self.spatial_dims,)
        return (self.modality, self.channels) == (modality, 1) and geometry.spatial_dims in axes

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
        dims = len(image["spatial_shape"])
        crop = None if own.get("localiser") or dims == 2 else own.get("field_of_view")
        return Inputs(
            str(image["modality"]),
            int(image["num_channels"]),
            dims,
            dims == 2 and bool(own) and own["labels"]["kind"] != "instances",
            tuple(map(float, crop["largest_mm"])) if crop else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: does not say what images the bundle takes; get the bundle again") from error
