"""NIfTI in and out: checked before it is believed, written with the geometry it came with."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medseg.domain.errors import GridError, InputError, ResourceError, ValueRangeError
from medseg.domain.geometry import Float64Array, Geometry
from medseg.domain.labels import LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.io.files import write_bytes

_UNITS = {0: ("unknown units", 1.0), 1: ("metres", 1000.0), 2: ("mm", 1.0), 3: ("microns", 0.001)}  # name, mm
_LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL
_MOST_BYTES = 64 << 30  # a header may claim anything; no image this program can hold is larger


def is_nifti(path: Path) -> bool:
    """By content: a NIfTI-1 or NIfTI-2 header, bare or behind gzip."""
    try:
        with _open(path) as file:
            start = file.read(540)
    except (OSError, EOFError, zlib.error):
        return False
    return _header_class(start) is not None


def is_label_map(header: bytes) -> bool:
    """Whether the raw header of a file declares its voxels to be labels, as `write_nifti` and other tools do."""
    kind = Nifti2Header if len(header) == 540 else Nifti1Header
    return int(kind(header, endianness=_byte_order(header), check=False)["intent_code"]) == _LABEL_INTENT


def read_nifti(path: Path, case: str) -> Volume:
    """A single-file NIfTI image of two or three axes (further axes of length one are dropped).

    Voxels come as stored, as float32 where the file scales them. The gzip stream is read to its end, so a
    damaged one is found by its checksum.
    Raises: InputError and its kinds, for anything that would lead to a wrong mask (design: inputs, rows 37 to 58).
    """
    header, stored = _load(path)
    shape = _spatial_shape(path, header)
    affine, note = _affine(path, header)
    voxels = _scaled(path, header, stored.reshape(shape, order="F"))
    notes = (note,) if note else ()
    return Volume(voxels[None], Geometry(shape, affine), case, nifti_header=bytes(header.binaryblock), notes=notes)


def read_nifti_mask(path: Path) -> tuple[NDArray[Any], Geometry]:
    """The integers (*S) of a mask file and their grid.

    Raises: InputError as for images; ValueRangeError if a value is no whole number of 0..65535.
    """
    volume = read_nifti(path, case="mask")
    values = volume.voxels[0]
    if values.size and (values.min() < 0 or values.max() > 65535 or (values != np.round(values)).any()):
        raise ValueRangeError(f"{path}: a mask holds whole numbers of 0 to 65535, this file others; export it again")
    return values.astype(np.uint16 if values.max(initial=0) > 255 else np.uint8), volume.geometry


def write_nifti(label_map: LabelMap, path: Path, source: Volume | None = None) -> None:
    """The mask as .nii or .nii.gz, with its label table in the file.

    Where the source was a NIfTI file, sform, qform, both codes, pixel dimensions and units are copied bit for bit.
    Elsewhere both forms hold the affine with code 1 (scanner). The same mask gives the same bytes.
    """
    table = _label_table_xml(label_map.table)
    size = -(-(len(table) + 8) // 16) * 16  # of the extension: a multiple of 16, its two numbers included
    header = _mask_header(label_map, source)
    header["vox_offset"] = len(header.binaryblock) + 4 + size
    voxels = label_map.voxels.astype(header.get_data_dtype(), copy=False)
    # By hand: nibabel's images mend the header that they are given (codes, pixdim[0]), and this one is a copy.
    content = b"".join(
        [
            header.binaryblock,
            b"\1\0\0\0",  # extensions follow
            struct.pack("<2i", size, 0),
            table.ljust(size - 8, b"\0"),
            voxels.tobytes(order="F"),
        ]
    )
    write_bytes(path, gzip.compress(content, 5, mtime=0) if path.name.lower().endswith(".gz") else content)


def write_nifti_image(voxels: NDArray[Any], geometry: Geometry, path: Path) -> None:
    """An image (*S) as .nii or .nii.gz, both forms holding the affine with code 1."""
    image = nib.Nifti1Image(voxels, geometry.affine_ras)
    image.set_sform(geometry.affine_ras, code=1)
    image.set_qform(geometry.affine_ras, code=1)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    write_bytes(path, gzip.compress(content, 5, mtime=0) if path.name.lower().endswith(".gz") else content)


def _mask_header(label_map: LabelMap, source: Volume | None) -> Any:
    raw = source.nifti_header if source is not None else None
    if raw is not None:
        kind = Nifti2Header if len(raw) == 540 else Nifti1Header
        header = kind(raw, endianness=_byte_order(raw), check=False)
        header = header.as_byteswapped("<")
    else:
        header = Nifti2Header() if max(label_map.voxels.shape) > 32767 else Nifti1Header()
        header.set_data_shape(label_map.voxels.shape)
        header.set_sform(label_map.geometry.affine_ras, code=1)
        header.set_qform(label_map.geometry.affine_ras, code=1, strip_shears=True)
        header["pixdim"][1 : 1 + label_map.voxels.ndim] = label_map.geometry.spacing_mm
        header.set_xyzt_units("mm" if label_map.geometry.calibrated else "unknown")
    header.set_data_dtype(label_map.voxels.dtype)
    pixdim = header["pixdim"].copy()
    header.set_data_shape(label_map.voxels.shape)
    header["pixdim"] = pixdim  # of which that call sets the unused ones
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_max"], header["cal_min"] = float(label_map.voxels.max(initial=0)), 0
    header["descrip"], header["aux_file"] = b"medseg", b""
    header["intent_code"], header["intent_name"] = _LABEL_INTENT, b""
    for name in {"db_name", "data_type"} & set(header.keys()):  # free text of the source, which may name a patient
        header[name] = b""
    return header


def _label_table_xml(table: LabelTable) -> bytes:
    rows = [(0, "background", (0, 0, 0), 0)] + [(label.value, label.name, label.colour, 1) for label in table]
    labels = "".join(
        f'<Label Key="{value}" Red="{r / 255:.6g}" Green="{g / 255:.6g}" Blue="{b / 255:.6g}" Alpha="{alpha}">'
        f"<![CDATA[{escape(name)}]]></Label>"
        for value, name, (r, g, b), alpha in rows
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><Date><![CDATA[]]></Date><VolumeInformation Index="0">'
        f"<LabelTable>{labels}</LabelTable><StudyMetaDataLinkSet></StudyMetaDataLinkSet>"
        "<VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>"
    ).encode()


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if gzipped else path.open("rb")


def _byte_order(start: bytes) -> str:
    return "<" if int.from_bytes(start[:4], "little") in (348, 540) else ">"


def _header_class(start: bytes) -> Any:
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    if 348 in sizes and len(start) >= 348 and start[344:347] == b"n+1":
        return Nifti1Header
    if 540 in sizes and len(start) >= 540 and start[4:7] == b"n+2":
        return Nifti2Header
    return None


def _load(path: Path) -> tuple[Any, NDArray[Any]]:
    """The header and the stored values, flat; nothing is allocated before the sizes are known to be possible."""
    try:
        with _open(path) as file:
            start = file.read(540)
            kind = _header_class(start)
            if kind is None:
                raise InputError(
                    f"{path}: not a NIfTI file (its content is not, whatever its name says); give the image itself"
                )
            size = 540 if kind is Nifti2Header else 348
            header = kind(start[:size], endianness=_byte_order(start), check=False)
            dtype, count, offset = _layout(path, header)
            content = start + file.read(max(offset + count * dtype.itemsize - len(start), 0))
            while file.read(1 << 20):  # to the end: gzip checks its sum there
                pass
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip stream is damaged ({error}); copy the file again") from error
    except EOFError as error:
        raise InputError(f"{path}: the file is cut off; copy it again") from error
    except MemoryError as error:
        raise ResourceError(f"{path}: not enough memory to hold the image") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    need = offset + count * dtype.itemsize
    if len(content) < need:
        raise InputError(f"{path}: the file is cut off: {len(content)} of {need} bytes; copy it again")
    return header, np.frombuffer(content, dtype, count, offset)


def _layout(path: Path, header: Any) -> tuple[np.dtype[Any], int, int]:
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : 1 + dims[0]]) < 1:
        raise InputError(f"{path}: the header gives sizes {dims}; every axis needs at least one voxel")
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise InputError(f"{path}: unknown data type code {int(header['datatype'])}") from error
    if dtype.names is not None or dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"{path}: holds {'colour' if dtype.names else dtype} voxels; convert it to one grey channel")
    count, offset = math.prod(dims[1 : 1 + dims[0]]), float(header["vox_offset"])
    if not (math.isfinite(offset) and offset >= len(header.binaryblock) and offset < 1 << 30):
        raise InputError(f"{path}: the header places the voxels at byte {offset}; the file is damaged")
    need = int(offset) + count * dtype.itemsize
    size = path.stat().st_size
    if need > _MOST_BYTES or need > max(size, 1) * 1100:  # gzip shrinks at most about 1030-fold
        raise InputError(f"{path}: the header claims {need} bytes, the file has {size}; the header is damaged")
    return dtype, count, int(offset)


def _spatial_shape(path: Path, header: Any) -> tuple[int, ...]:
    dims = [int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]]
    if math.prod(dims[3:]) > 1:
        raise InputError(f"{path}: holds {math.prod(dims[3:])} volumes ({dims}); extract the one to segment")
    shape = tuple(dims[:3])
    if len(shape) < 2:
        raise InputError(f"{path}: has {len(shape)} axis; an image has two or three")
    return shape


def _affine(path: Path, header: Any) -> tuple[Float64Array, str]:
    """The affine in millimetres, float64, and what had to be converted to get it."""
    zooms = np.asarray(header["pixdim"][1 : 1 + min(int(header["dim"][0]), 3)], dtype=np.float64)
    if not np.isfinite(zooms).all() or (zooms <= 0).any():
        raise GridError(f"{path}: voxel sizes {zooms.tolist()} in the header; set pixdim to the true, positive sizes")
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code <= 0 and qform_code <= 0:
        raise GridError(f"{path}: neither sform nor qform is set, so left and right are unknown; set one of them")
    code = int(header["xyzt_units"]) & 7  # the other bits are the unit of time
    if code not in _UNITS:
        raise GridError(f"{path}: unknown unit of length (code {code}); set it to mm")
    unit, mm = _UNITS[code]
    affines = []
    if sform_code > 0:
        affines.append(np.asarray(header.get_sform(), dtype=np.float64))
    if qform_code > 0:
        affines.append(_qform(path, header))
    for affine in affines:
        affine[:3] *= mm
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise GridError(f"{path}: the affine is singular or not finite; set sform and qform in the header again")
    if len(affines) == 2:
        _require_agreement(path, header, *affines)
    return affines[0], f"voxel sizes were in {unit} and were converted to mm" if mm != 1 else ""


def _qform(path: Path, header: Any) -> Float64Array:
    header = header.copy()
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # the handedness; the standard takes 0 for 1
    if header["dim"][0] == 2 and header["pixdim"][3] <= 0:
        header["pixdim"][3] = 1  # a third axis that the image does not have
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, HeaderDataError, np.linalg.LinAlgError) as error:
        raise GridError(
            f"{path}: the qform's quaternion is no rotation; set sform and qform in the header again"
        ) from error


def _require_agreement(path: Path, header: Any, sform: Float64Array, qform: Float64Array) -> None:
    """Both forms, where both are set, put every corner voxel in one place; a shear cannot stand in a qform."""
    axes = sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0)
    sheared = np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3
    if sheared:
        return
    n = min(int(header["dim"][0]), 3)
    shape = [int(m) for m in header["dim"][1 : 1 + n]]
    corners = np.array(np.meshgrid(*[(0, m - 1) for m in shape])).reshape(n, -1).T
    apart = np.linalg.norm(corners @ (sform - qform)[:3, :n].T + (sform - qform)[:3, 3], axis=1).max()
    if apart > 0.5:
        raise GridError(
            f"{path}: sform and qform disagree by up to {apart:.1f} mm, so the position is in doubt; "
            "keep the true one and copy it over the other"
        )


def _scaled(path: Path, header: Any, stored: NDArray[Any]) -> NDArray[Any]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise ValueRangeError(f"{path}: the header scales voxels by {slope} and {intercept}; write the file again")
    values = stored
    if slope not in (0.0, 1.0) or (slope == 1.0 and intercept != 0.0):
        with np.errstate(over="ignore", invalid="ignore"):
            values = (stored * slope + intercept).astype(np.float32)
    if values.dtype.kind == "f":
        most = np.finfo(np.float32).max  # in which networks compute; a float64 may hold more
        bad = int(values.size - np.count_nonzero((values >= -most) & (values <= most)))
        if bad:
            raise ValueRangeError(f"{path}: {bad} of {values.size} voxels are NaN or infinite; replace them first")
    return values
