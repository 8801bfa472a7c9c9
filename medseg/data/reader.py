"""MONAI's way in: its LoadImaged over our checked io."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.image_reader import ImageReader
from monai.utils.enums import MetaKeys, SpaceKeys
from numpy.typing import NDArray

from medseg.data.channels import fit_channels
from medseg.domain.doubts import IS_IMAGE
from medseg.domain.errors import InputError
from medseg.io.images import read_image


class Reader(ImageReader):
    """Images through `medseg.io`: NIfTI, PNG, TIFF and DICOM folders with the checks and the geometry of this project.

    channels: what the network takes; grey images are repeated for 3, colour ones are refused for 1. None: as stored.

    `read` only remembers the paths and `get_data` reads: MONAI tries another reader where `read` fails, and what this
    project refuses must stay refused.
    """

    def __init__(self, channels: int | None = None):
        self.channels = channels

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Content decides, not the ending."""
        return True

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> tuple[Path, ...]:
        """The paths, unread."""
        return tuple(map(Path, [data] if isinstance(data, (str, Path)) else data))

    def get_data(self, img: tuple[Path, ...]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Voxels (C, *S) as float32 and MONAI's metadata: affine to RAS, spatial shape, channel axis."""
        if len(img) != 1:
            raise InputError(f"{len(img)} files for one image; channels in several files are not read yet")
        volume = fit_channels(read_image(img[0], IS_IMAGE), self.channels, str(img[0]))
        affine_ras = volume.geometry.perpendicular().affine_ras
        return volume.voxels.astype(np.float32), {
            MetaKeys.AFFINE: affine_ras.copy(),
            MetaKeys.ORIGINAL_AFFINE: affine_ras.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.array(volume.geometry.shape_ijk),
            MetaKeys.ORIGINAL_CHANNEL_DIM: 0,
        }
