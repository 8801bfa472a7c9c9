"""A NIfTI file on disk: found by content, sized before anything is allocated, read to its end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import InputError
from medseg.io.gunzip import GZIP_ERRORS, gunzip
from medseg.io.memory import require_memory
from medseg.io.stream import Stream, fill, read_to_the_end, refusals, require_possible, skip

_UNREADABLE: tuple[type[Exception], ...] = (OSError, EOFError, *GZIP_ERRORS)


def is_nifti(path: Path) -> bool:
    """By content: a NIfTI-1 or NIfTI-2 header, bare or behind gzip."""
    try:
        with _open(path) as file:
            start = file.read(540)
    except _UNREADABLE:
        return False
    return _header_bytes(start) is not None


def parse_header(raw: bytes) -> Any:
    """The nibabel header of the 348 or 540 raw bytes, unmended."""
    from nibabel.nifti1 import Nifti1Header  # here, for nibabel takes long to import and is not needed for other files
    from nibabel.nifti2 import Nifti2Header

    kind = Nifti2Header if len(raw) == 540 else Nifti1Header
    return kind(raw, endianness=_byte_order(raw), check=False)


def volume_count(header: Any) -> int:
    """1, or how many volumes the axes behind the third (time, channels and the like) hold."""
    return math.prod(_extra(header))


def load(path: Path, which: int | None) -> tuple[Any, NDArray[Any]]:
    """The header and the stored values (*S) of the image, or of one of several.

    which: the volume of a file of several, counted from 0.
    Raises: InputError for what is no NIfTI, damaged, cut off, empty, coloured, complex, or several images of which
    none was chosen; ResourceError for more than the memory holds.
    """
    with refusals(path), _open(path) as file:
        start = file.read(540)
        length = _header_bytes(start)
        if length is None:
            raise InputError(
                f"{path}: not a NIfTI file (its content is not, whatever its name says); give the image itself"
            )
        header = parse_header(start[:length])
        dtype, offset = _layout(path, header)
        shape, skipped = _chosen(path, header, which)
        size = math.prod(shape) * dtype.itemsize
        scaled = 0 if _is_as_stored(header) else 4 * math.prod(shape)  # float32
        require_memory(str(path), size + scaled, "the image")
        file.seek(0)
        skip(path, file, offset + skipped * size)
        values = np.empty(math.prod(shape), dtype)
        fill(path, file, values)
        skip(path, file, (volume_count(header) - skipped - 1) * size)
        read_to_the_end(path, file)
        return header, values.reshape(shape, order="F")


@contextmanager
def _open(path: Path) -> Iterator[Stream]:
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if gzipped:
            with gunzip(file) as stream:
                yield stream
        else:
            yield file


def _byte_order(start: bytes) -> str:
    return "<" if int.from_bytes(start[:4], "little") in (348, 540) else ">"


def _header_bytes(start: bytes) -> int | None:
    """The length of the header of a single-file NIfTI-1 or NIfTI-2; None of anything else."""
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    if 348 in sizes and len(start) >= 348 and start[344:347] == b"n+1":
        return 348
    if 540 in sizes and len(start) >= 540 and start[4:7] == b"n+2":
        return 540
    return None


def _layout(path: Path, header: Any) -> tuple[np.dtype[Any], int]:
    """How a value is stored, and the place of the first; both possible for a file of this size."""
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : 1 + dims[0]]) < 1:
        raise InputError(f"{path}: the header gives sizes {dims}; every axis needs at least one voxel")
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise InputError(f"{path}: unknown data type code {int(header['datatype'])}") from error
    if dtype.names is not None or dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"{path}: holds {'colour' if dtype.names else dtype} voxels; convert it to one grey channel")
    count, offset = math.prod(dims[1 : 1 + dims[0]]), float(header["vox_offset"])
    if not (math.isfinite(offset) and offset >= len(header.binaryblock) and offset < 1 << 30):
        raise InputError(f"{path}: the header places the voxels at byte {offset}; the file is damaged")
    require_possible(path, int(offset) + count * dtype.itemsize, path.stat().st_size)
    return dtype, int(offset)


def _extra(header: Any) -> list[int]:
    return [int(n) for n in header["dim"][4 : 1 + int(header["dim"][0])]]


def _chosen(path: Path, header: Any, which: int | None) -> tuple[tuple[int, ...], int]:
    """The shape of one volume, two or three axes, and how many stand before the chosen one."""
    shape, extra = tuple(int(n) for n in header["dim"][1 : 1 + min(int(header["dim"][0]), 3)]), _extra(header)
    if len(shape) < 2:
        raise InputError(f"{path}: has {len(shape)} axis; an image has two or three")
    many = volume_count(header)
    if many > 1 and which is None:
        raise InputError(
            f"{path}: holds {many} volumes ({[*shape, *extra]}); choose one with --volume 0 to {many - 1}, or extract "
            "the one to segment"
        )
    if which is not None and which >= many:
        raise InputError(f"{path}: holds {many} volumes, counted from 0, so there is none of --volume {which}")
    return shape, which or 0


def _is_as_stored(header: Any) -> bool:
    return float(header["scl_slope"]) in (0.0, 1.0) and float(header["scl_inter"]) == 0.0
