"""NIfTI files to read or to refuse, and what must be true of the mask."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from tests.bundles import blobs
from tests.inputs.row import Accepted

SHAPE = (22, 18, 13)
AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1.25, 0, -4], [0, 0, 1.5, 7], [0, 0, 0, 1]])
VOXELS = blobs(SHAPE)[0].astype(np.int16)
NAN = float("nan")

# Where the fields of a NIfTI-1 header stand, little-endian
DIM, PIXDIM, SLOPE, UNITS, CODES, SROW = 40, 76, 112, 123, 252, 280

Make = Callable[[Path], Path]


def content(
    voxels: NDArray[Any] = VOXELS,
    affine: NDArray[Any] = AFFINE,
    qform: NDArray[Any] | None = None,
    codes: tuple[int, int] = (1, 1),
    units: str = "mm",
    order: str = "<",
) -> bytes:
    """A plain .nii; codes of sform and qform. The qform is the affine, without its shear, unless it is given."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(affine, codes[0])
    header.set_qform(affine if qform is None else qform, codes[1])
    header.set_xyzt_units(units)
    return bytes(nib.Nifti1Image(voxels, None, header).to_bytes())


def put(*changes: Any) -> Callable[[bytes], bytes]:
    """A function that puts numbers into a header: (place, format, numbers...) each."""

    def edit(data: bytes) -> bytes:
        edited = bytearray(data)
        for place, form, *numbers in changes:
            struct.pack_into("<" + form, edited, place, *numbers)
        return bytes(edited)

    return edit


def nii(data: bytes | Callable[[], bytes], name: str = "scan.nii") -> Make:
    """A maker of the file with these bytes, made only when the row is run."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        return folder / name

    return make


def packed(data: bytes, level: int = 5) -> bytes:
    """Gzip, the same bytes every time."""
    return gzip.compress(data, level, mtime=0)


def with_values(*values: float, dtype: Any = np.float32) -> NDArray[Any]:
    """The image with these numbers in its middle."""
    voxels = VOXELS.astype(dtype)
    voxels[10, 9, 5 : 5 + len(values)] = values
    return voxels


def lies_at(affine: NDArray[Any]) -> Callable[[Accepted], None]:
    """The mask has the shape of the image and lies where this affine puts it."""

    def check(accepted: Accepted) -> None:
        assert accepted.mask.shape == SHAPE
        assert accepted.affine_ras is not None
        np.testing.assert_allclose(accepted.affine_ras, affine, atol=1e-5)
        spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
        np.testing.assert_allclose(accepted.report["spacing_mm"], spacing_mm, atol=1e-5)
        assert set(np.unique(accepted.mask)) == {0, 1, 5}

    return check


def has_shape(*shape: int) -> Callable[[Accepted], None]:
    """Of the mask."""

    def check(accepted: Accepted) -> None:
        assert accepted.mask.shape == shape

    return check


GOOD = nii(content())
MOVED = AFFINE + np.array([[0, 0, 0, 108], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
RAS = np.diag([1.0, 1.25, 1.5, 1.0])

SHEARED = np.array([[1.0, 0, 0.4, 0], [0, 1.0, 0.6, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
HUGE = put((DIM, "4h", 3, 32767, 32767, 32767))(content())
NO_AXES = put((CODES, "2h", 0, 0))(content())


def finds_centre_in(affine: NDArray[Any]) -> Callable[[Accepted], None]:
    """What was found lies in the box that this affine gives the image; of files whose mask keeps the doubt."""

    def check(accepted: Accepted) -> None:
        corners = (affine @ np.array([[0, 0, 0, 1], [*np.array(SHAPE) - 1, 1]]).T)[:3].T
        for measure in accepted.report["measures"]:
            centre = np.array(measure["centroid_ras_mm"])
            assert (centre > corners.min(0)).all(), centre
            assert (centre < corners.max(0)).all(), centre

    return check


def spacing_is(*spacing_mm: float) -> Callable[[Accepted], None]:
    """In the report."""

    def check(accepted: Accepted) -> None:
        np.testing.assert_allclose(accepted.report["spacing_mm"], spacing_mm, rtol=1e-5)

    return check


def mean_is_between(low: float, high: float) -> Callable[[Accepted], None]:
    """Of the intensities of what was found."""

    def check(accepted: Accepted) -> None:
        for measure in accepted.report["measures"]:
            assert low < measure["mean_intensity"] < high

    return check


def one_of_five(wanted: int) -> NDArray[Any]:
    """Five volumes, of which all but one are constant, so that the wrong one would be refused."""
    volumes = np.repeat(np.full(SHAPE, 7, np.int16)[..., None], 5, -1)
    volumes[..., wanted] = VOXELS
    return volumes


def coloured() -> bytes:
    return content(np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])))


def flipped(data: bytes, place: int) -> bytes:
    """One bit."""
    edited = bytearray(data)
    edited[place] ^= 4
    return bytes(edited)


def two_of_one_name(first: str, second: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        for name in (first, second):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content())
        return [folder / first, folder / second]

    return make


def sparse(folder: Path) -> Path:
    """1200 x 1200 x 1200 voxels of 2 bytes, none of which takes room on disk."""
    with (folder / "large.nii").open("wb") as file:
        file.write(put((DIM, "4h", 3, 1200, 1200, 1200))(content())[:352])
        file.truncate(352 + 2 * 1200**3)
    return folder / "large.nii"


def coarse() -> bytes:
    """Few voxels, many millimetres."""
    return content(blobs((64, 64, 64))[0].astype(np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))
