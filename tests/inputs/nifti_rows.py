"""Rows 37 to 62 of the table of inputs: NIfTI files, arrays, and what goes for any image."""

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
from tests.inputs.row import Accepted, Row

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

FINITE_ROWS = [
    Row(
        37, "NaN or infinity in a few voxels", nii(content(with_values(NAN, np.inf, -np.inf))), 3,
        r"3 of 5148 voxels are NaN or infinite", nii(content(with_values(1, 2, 3))), answer=("--nan", "fill=0"),
        then=r"3 of 5148 voxels were NaN or infinite and became 0", check=lies_at(AFFINE),
    ),
]  # fmt: skip
AFFINE_ROWS = [
    Row(
        38, "sform and qform 108 mm apart", nii(content(qform=MOVED)), 3,
        r"disagree by up to 108\.0 mm.*sform \[-1 0 0 30; .*qform \[-1 0 0 138; ", GOOD, answer=("--affine", "sform"),
        then="of sform and qform the sform was taken", check=lies_at(AFFINE),
    ),
]  # fmt: skip

ROWS = [*FINITE_ROWS, *AFFINE_ROWS]
