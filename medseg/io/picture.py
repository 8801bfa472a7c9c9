"""PNG and TIFF pictures and stacks, told apart by content: images and masks.

Array axis 1 of an image runs along a row of the picture and axis 2 down its columns, so that index i is x and j is y.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import InputError, MedsegError, ResourceError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.io import png, tiff
from medseg.io.files import whole_file
from medseg.io.raster import Raster, as_image, as_mask

_TIFF_ENDINGS = (".tif", ".tiff")


def read_picture(path: Path, case: str, nan_fill: float | None = None) -> Volume:
    """A grey or colour picture (C, X, Y), or a TIFF stack (C, X, Y, Z), as stored.

    Palettes and 1, 2 or 4 bits are expanded to 8; an opaque alpha channel is dropped, and inverted grey put right;
    the notes say so. x runs to the left and y to the back, as ITK has pictures; the size of a pixel is known only
    where OME or ImageJ metadata state it, otherwise the geometry is not calibrated.
    Raises: InputError and its kinds for what is damaged, empty, above 2 GiB, animated, a time series, transparent,
            turned, CMYK, of more than 4 channels, or holds NaN while there is no `nan_fill` to take its place.
    """
    image = as_image(_read(path), nan_fill)
    return Volume(image.samples, _geometry(image), case, notes=image.notes)


def read_picture_mask(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The label numbers (X, Y) or (X, Y, Z) of a mask: uint8, or uint16 where one is above 255.

    Of a palette with colours the indices count. 1-bit masks give 0 and 1.
    Raises: InputError as for pictures, and for colours; ValueRangeError for other than whole numbers of 0 to 65535.
    """
    return as_mask(_read(path))


def read_picture_geometry(path: Path) -> Geometry:
    """The grid that `read_picture` gives; raises as it."""
    return _geometry(_read(path))


def write_picture_mask(label_map: LabelMap, path: Path) -> None:
    """The label numbers as .png, .tif or .tiff, of 8 bits, or 16 where a value is above 255; whole or not at all.

    Raises: UsageError for another ending, or for a volume as PNG; OutputError, ResourceError as `whole_file`.
    """
    values: NDArray[Any] = label_map.voxels
    values = values.astype(np.uint16 if values.max() > 255 else np.uint8)
    ending = path.suffix.lower()
    if ending not in (".png", *_TIFF_ENDINGS):
        raise UsageError(f"{path}: a picture mask is written as .png, .tif or .tiff; choose one of these endings")
    if ending == ".png" and values.ndim == 3:
        raise UsageError(f"{path}: a PNG holds one plane, this mask {values.shape[2]}; write .tif or .nii.gz")
    with whole_file(path) as temporary:
        if ending == ".png":
            png.write_png(values, temporary)
        else:
            tiff.write_tiff(values, label_map.geometry, temporary)


def _read(path: Path) -> Raster:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    if start == png.SIGNATURE:
        reader = png.read_png
    elif start[:4] in tiff.SIGNATURES:
        reader = tiff.read_tiff
    else:
        what = (
            "a JPEG, which alters values"
            if start[:3] == b"\xff\xd8\xff"
            else "empty"
            if not start
            else "something else"
        )
        raise InputError(f"{path}: not a PNG or TIFF but {what}; save the picture as one of these")
    try:
        return reader(path)
    except MedsegError:
        raise
    except MemoryError as error:
        raise ResourceError(f"{path}: does not fit into memory; cut out a region or use a larger machine") from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: is damaged ({reason}); copy or export it again") from error


def _geometry(image: Raster) -> Geometry:
    shape_ijk = image.samples.shape[1:]
    spacing_mm = image.spacing_mm or (1.0,) * len(shape_ijk)
    sizes = [*spacing_mm, 1.0][:3]
    affine_ras = np.diag([-sizes[0], -sizes[1], sizes[2], 1.0])
    return Geometry(shape_ijk, affine_ras, calibrated=image.spacing_mm is not None)
