"""Projection images (radiographs, mammograms, angiograms) and ultrasound: pictures without a place in the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.domain.geometry import Geometry
from medseg.io.dicom_header import Header

_MODALITIES = ("CR", "DX", "IO", "MG", "PX", "RF", "RG", "US", "XA")
UNSIZED = "a projection: how large a pixel is depends on the depth, so nothing is told in mm"


def is_projection(header: Header) -> bool:
    """By its modality and by having no position; frames that say where they lie are slices, whatever their modality."""
    return header.modality in _MODALITIES and header.position_mm is None and not header.has_groups


def is_single_projection(headers: Sequence[Header]) -> bool:
    """Whether a stack is one projection image, which is read as a picture."""
    return len(headers) == 1 and is_projection(headers[0])


def picture_grid(header: Header) -> Geometry:
    """As of other pictures: x to the left, y to the back, pixels of unknown size.

    ImagerPixelSpacing, and most PixelSpacing of such images, is that of the detector, which magnifies.
    """
    return Geometry((header.columns, header.rows), np.diag([-1.0, -1.0, 1.0, 1.0]), calibrated=False)
