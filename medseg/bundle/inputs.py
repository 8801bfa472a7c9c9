"""What a bundle takes, by its metadata alone: quick, without torch and numpy and without reading the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.domain.errors import BundleError

if TYPE_CHECKING:
    from medseg.domain.geometry import Geometry

_ALONG = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Inputs:
    """The image input of MONAI's metadata.

    by_slice:   whether a 2-D bundle takes volumes too, slice by slice.
    view_mm:    smallest and largest, where the bundle takes crops of such sizes and cannot find them in larger images
                by itself; of a 2-D bundle across its slices.
    along:      the patient axis along which a 2-D bundle takes the slices; None: as the volume has them.
    """

    modality: str
    channels: int
    spatial_dims: int
    by_slice: bool
    view_mm: tuple[tuple[float, ...], tuple[float, ...]] | None
    along: int | None = None

    def take(self, modality: str, geometry: Geometry) -> bool:
        """Whether a grey image of this modality suits, as a whole, a region of it or slice by slice."""
        axes = (2, 3) if self.by_slice else (self.spatial_dims,)
        if (self.modality, self.channels) != (modality, 1) or geometry.spatial_dims not in axes:
            return False
        if self.view_mm is None or self.spatial_dims == geometry.spatial_dims:
            return True
        smallest_mm, extent_mm = self.view_mm[0], geometry.extent_ras_mm
        return all(extent_mm[axis] >= smallest_mm[axis] for axis in self._asked(geometry))

    def need_region(self, geometry: Geometry) -> bool:
        """Whether the volume is larger than what the bundle takes, so that --roi is needed."""
        if self.view_mm is None or geometry.spatial_dims == 2:
            return False
        largest_mm, extent_mm = self.view_mm[1], geometry.extent_ras_mm
        return any(extent_mm[axis] > largest_mm[axis] for axis in self._asked(geometry))

    def _asked(self, geometry: Geometry) -> list[int]:
        """The patient axes (0 right, 1 anterior, 2 superior) in which a volume's size matters."""
        if self.spatial_dims == 3:
            return [0, 1, 2]
        along = max(range(3), key=lambda axis: abs(geometry.affine_ras[axis, 2])) if self.along is None else self.along
        return [axis for axis in range(3) if axis != along]


def read_inputs(folder: Path) -> Inputs:
    """Raises: BundleError if the metadata do not say what the bundle takes."""
    path = folder / "configs" / "metadata.json"
    try:
        metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        image = metadata["network_data_format"]["inputs"]["image"]
        own = metadata.get("medseg") or {}
        dims = len(image["spatial_shape"])
        crop = None if own.get("localiser") else own.get("field_of_view")
        return Inputs(
            str(image["modality"]),
            int(image["num_channels"]),
            dims,
            dims == 2 and bool(own) and own["labels"]["kind"] != "instances",
            (tuple(map(float, crop["smallest_mm"])), tuple(map(float, crop["largest_mm"]))) if crop else None,
            _ALONG[own["slices"]] if "slices" in own else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: does not say what images the bundle takes; get the bundle again") from error
