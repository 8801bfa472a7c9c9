"""Images and masks as NIfTI bytes for a viewer in the browser: every kind of image in the few types it draws."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.domain.geometry import Geometry

_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_DRAWN = ("uint8", "int16", "uint16", "float32")


def nifti_bytes(voxels: NDArray[Any], geometry: Geometry, compressed: bool = False) -> bytes:
    """A file of one grey channel (1, *S) or of three 8-bit colours (3, *S); pictures become one plane.

    Other types become float32. The header says nothing of where the voxels come from.
    """
    shape = (*geometry.shape_ijk, 1)[:3]
    if voxels.shape[0] == 3:
        stored = np.ascontiguousarray(np.moveaxis(voxels.astype(np.uint8), 0, -1)).view(_RGB)[..., 0].reshape(shape)
    else:
        stored = voxels[0].reshape(shape)
        stored = stored if stored.dtype.name in _DRAWN else stored.astype(np.float32)
    image = nib.Nifti1Image(stored, geometry.affine_ras)
    image.set_sform(geometry.affine_ras, code=1)
    image.set_qform(geometry.affine_ras, code=1)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return gzip.compress(content, 6, mtime=0) if compressed else content
