"""NRRD in: one file of text and voxels, as 3D Slicer and ITK write it.

Read here and not by ITK, which would open the file anew after the checks, follow the paths in it, and take no names
beyond ASCII on some systems; SimpleITK is the other opinion in the tests.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.gunzip import gunzip
from medseg.io.memory import require_memory
from medseg.io.nrrd_header import Header, affine_ras, read_header
from medseg.io.stream import fill, read_to_the_end, refusals, require_possible
from medseg.io.values import finite


def read_nrrd(path: Path, case: str, doubts: Doubts = NO_DOUBTS) -> Volume:
    """A grey volume (1, *shape_ijk) as stored; a gzip stream is read to its end, so that its checksum counts.

    Raises: InputError and its kinds for what is damaged, cut off, in several files, of several components or volumes,
    a segmentation, in no patient space, or holds NaN without an answer in `doubts`; ResourceError for more than the
    memory holds.
    """
    header, voxels = _load(path)
    if header.is_mask:
        raise InputError(f"{path}: says of itself that it is a segmentation; give the image it belongs to")
    affine, notes = affine_ras(path, header, doubts)
    voxels, filled = finite(path, voxels, doubts.nan_fill)
    return Volume(voxels[None], Geometry(header.shape_ijk, affine), case, notes=(*notes, *filled))


def _load(path: Path) -> tuple[Header, NDArray[Any]]:
    with refusals(path), path.open("rb") as file:
        header = read_header(path, file)
        need = math.prod(header.shape_ijk) * header.dtype.itemsize
        require_possible(path, need, path.stat().st_size - header.offset)
        require_memory(str(path), need, "the image")
        values = np.empty(math.prod(header.shape_ijk), header.dtype)
        stream = gunzip(file) if header.encoding == "gzip" else file
        fill(path, stream, values)
        read_to_the_end(path, stream)
        return header, values.reshape(header.shape_ijk, order="F")
