"""Any image this project reads, told by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.nifti import is_label_map, is_nifti, read_nifti, read_nifti_mask

PICTURE_ENDINGS = (".png", ".tif", ".tiff")


def case_name(path: Path) -> str:
    """The file's or folder's name without its known endings.

    >>> case_name(Path("scans/knee 3.nii.gz"))
    'knee 3'
    """
    name = path.name
    for ending in (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".dcm", ".zip", ".ome.tif", ".ome.tiff", *PICTURE_ENDINGS):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name or path.resolve().name


def may_be_series(path: Path) -> bool:
    """Whether this could hold a DICOM series: a folder, an archive or a DICOM file; or nothing, which is told later."""
    try:
        if not path.is_file():
            return True
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return True
    return start[:2] == b"PK" or start[128:] == b"DICM"


def read_image(path: Path, doubts: Doubts = NO_DOUBTS) -> Volume:
    """A NIfTI file, a PNG or TIFF picture, or a folder with one DICOM series, as a volume named after it.

    Raises: InputError and its kinds; the message is one line with the file, the reason and the fix.
    """
    try:
        there = path.exists()
    except OSError as error:  # a name too long, a folder that may not be searched
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    if not there:
        raise InputError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _read_dicom_folder(path)
    if is_nifti(path) or path.name.lower().endswith((".nii", ".nii.gz")):
        return _no_label_map(path, read_nifti(path, case_name(path)))
    if path.name.lower().endswith(PICTURE_ENDINGS):
        from medseg.io.picture import read_picture

        return read_picture(path, case_name(path))
    raise InputError(f"{path}: not a NIfTI file, PNG, TIFF or DICOM folder; convert it to one of these")


def _no_label_map(path: Path, volume: Volume) -> Volume:
    if volume.nifti_header is not None and is_label_map(volume.nifti_header):
        raise InputError(
            f"{path}: says of itself that it is a label map (intent code 1002); give the image it belongs to"
        )
    return volume


def read_mask(path: Path) -> tuple[NDArray[Any], Geometry | None]:
    """The integers (*S) of a mask, and its grid; None for a picture, which lies on its image's."""
    if path.name.lower().endswith(PICTURE_ENDINGS):
        from medseg.io.picture import read_picture_mask

        return read_picture_mask(path), None
    return read_nifti_mask(path)


def require_contrast(path: Path | str, volume: Volume) -> None:
    """Raises InputError for a constant image: a mask of it would say nothing."""
    if np.ptp(volume.voxels) == 0:
        raise InputError(f"{path}: every voxel is {volume.voxels.flat[0]}: the image is constant; check its export")


def _read_dicom_folder(folder: Path) -> Volume:
    from medseg.io.dicom import only_series, read_series

    return read_series(only_series(folder), case_name(folder))
