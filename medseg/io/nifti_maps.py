"""Maps of several channels as one NIfTI file, written block by block in memory that does not grow with the image."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from medseg.domain.errors import OutputError, ResourceError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.files import whole_file
from medseg.io.nifti_file import parse_header
from medseg.io.upright import upright_grid

_CHUNK = 8 << 20


class NiftiMaps:
    """float32 maps (K, *S) on an image's grid, with its geometry: the fourth axis of the file is K.

    Tilted slices come on an upright grid, as masks do, see `io.upright`.

    In a NIfTI file the channel runs slowest and the first axis fastest, while blocks come along any axis, with all
    channels at once. So they go into a file without a name in the folder of the target, from where `save` writes the
    target in order: whole or not at all. The nameless file has its full size from the start, so that a full disk is
    told then, and ends with the process, whatever ends that.

    first: the channel that is 1 where no block comes; the others are 0.
    Raises: ResourceError if the disk is full, OutputError if the folder cannot be written.
    """

    def __init__(self, path: Path, volume: Volume, channels: int, first: int = 0):
        found = upright_grid(volume.geometry) if volume.nifti_header is None else None  # as of masks
        geometry = volume.geometry if found is None else found[0]
        self._corners = None if found is None else found[1]
        self._path, self._header = path, _header(volume, geometry, channels)
        shape = (*geometry.shape_ijk, channels)
        count = math.prod(geometry.shape_ijk)
        self._file = _nameless(path, 4 * count * channels)
        self._pages = mmap.mmap(self._file.fileno(), 4 * count * channels)
        self._maps: NDArray[np.float32] | None = np.frombuffer(self._pages, "<f4").reshape(shape, order="F")
        flat = np.frombuffer(self._pages, "<f4")[first * count : (first + 1) * count]
        for start in range(0, count, _CHUNK):
            flat[start : start + _CHUNK] = 1
            self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._maps = None
        self._pages.close()
        self._file.close()

    def put(self, place: Sequence[slice], values: NDArray[Any], inside: NDArray[np.bool_] | None = None) -> None:
        """Values (K, *block) of a block of the image; inside: (*block) the voxels that they are good for, or all."""
        assert self._maps is not None
        good = np.True_ if inside is None else inside
        for channel, value in enumerate(values):
            target = self._maps[..., channel]
            if self._corners is None:
                np.copyto(target[tuple(place)], value, where=good)
                continue
            for n, k in enumerate(range(place[2].start, place[2].stop)):  # each slice where it lies upright
                (i, j), (across, down) = self._corners[k], place[:2]
                box = slice(across.start + i, across.stop + i), slice(down.start + j, down.stop + j), k
                np.copyto(target[box], value[..., n], where=good if inside is None else inside[..., n])
        self._forget()

    def save(self) -> None:
        """The file, gzipped where its name says so."""
        gzipped = self._path.name.lower().endswith(".gz")
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # 31: with a gzip header, without a time
        with whole_file(self._path) as temporary, temporary.open("wb") as out:
            out.write(packer.compress(self._header) if gzipped else self._header)
            for start in range(0, len(self._pages), _CHUNK):
                raw = self._pages[start : start + _CHUNK]
                out.write(packer.compress(raw) if gzipped else raw)
                self._forget()
            if gzipped:
                out.write(packer.flush())

    def _forget(self) -> None:
        """What was written is the disk's; it no longer counts as memory of this process."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._pages.madvise(mmap.MADV_DONTNEED)


def _nameless(path: Path, size: int) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file: Any = tempfile.TemporaryFile(dir=path.parent, prefix=".", suffix=".part")  # noqa: SIM115
        try:
            if hasattr(os, "posix_fallocate"):  # a hole that the disk cannot fill later would kill the process
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"{path}: the maps take {size / 1e9:.1f} GB before they are compressed, and the disk has less; free "
                "some space, or segment a smaller region (--roi)"
            ) from error
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from error
    opened: BinaryIO = file
    return opened


def _header(volume: Volume, geometry: Geometry, channels: int) -> bytes:
    """Up to the voxels. Geometry as `write_nifti` has it: the source's own header, else both forms with code 1."""
    shape = (*(*geometry.shape_ijk, 1)[:3], channels)
    raw = volume.nifti_header
    if raw is not None:
        header = parse_header(raw).as_byteswapped("<")
    else:
        header = Nifti2Header() if max(shape) > 32767 else Nifti1Header()
        header.set_data_shape(shape)
        header.set_sform(geometry.affine_ras, code=1)
        header.set_qform(geometry.affine_ras, code=1, strip_shears=True)
        header["pixdim"][1 : 1 + geometry.spatial_dims] = geometry.spacing_mm
        header.set_xyzt_units("mm" if geometry.calibrated else "unknown")
    header.set_data_dtype(np.float32)
    pixdim = header["pixdim"].copy()
    header.set_data_shape(shape)
    header["pixdim"] = pixdim  # of which that call sets the unused ones
    header["pixdim"][3:5] = header["pixdim"][3] if header["pixdim"][3] > 0 else 1, 1
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_max"], header["cal_min"] = 1, 0
    header["intent_code"], header["intent_name"] = 0, b""
    header["descrip"], header["aux_file"] = b"medseg", b""
    for name in {"db_name", "data_type"} & set(header.keys()):  # free text of the source, which may name a patient
        header[name] = b""
    header["vox_offset"] = len(header.binaryblock) + 4
    return bytes(header.binaryblock) + b"\0\0\0\0"
