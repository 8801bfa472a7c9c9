"""An image as read: voxels, where they lie, and what its file needs to get a mask back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import GridError
from medseg.domain.geometry import Geometry
from medseg.domain.series import Series


@dataclass(frozen=True, eq=False)
class Volume:
    """An image of one or more channels.

    voxels:       (C, *shape_ijk), as stored, or float32 where the file asks for rescaling.
    case:         the name that outputs are called after; no patient name unless the user named the file so.
    modality:     "CT", "MR", "microscopy", ... or None where the file does not say.
    nifti_header: the 348 or 540 raw bytes of a NIfTI source, so that its mask can carry the same codes.
    series:       the DICOM source, so that a mask can refer to it.
    notes:        what was found irregular and how it was taken; goes into the report.
    """

    voxels: NDArray[Any]
    geometry: Geometry
    case: str
    modality: str | None = None
    nifti_header: bytes | None = field(default=None, repr=False)
    series: Series | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.shape[1:] != self.geometry.shape_ijk:
            raise GridError(f"voxels of shape {self.voxels.shape} on a grid of {self.geometry.shape_ijk}")

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return int(np.shape(self.voxels)[0])
