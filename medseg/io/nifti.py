"""NIfTI in and out: checked before it is believed, written with the geometry it came with."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from medseg.domain.doubts import NO_DOUBTS, Doubts
from medseg.domain.errors import ValueRangeError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.io.files import write_bytes
from medseg.io.nifti_affine import affine_ras
from medseg.io.nifti_file import load, parse_header, volume_count
from medseg.io.upright import upright
from medseg.io.values import finite

_LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL
_LEVEL = 3  # of zlib, whose bytes are the same on every machine: half the time of 5, a mask somewhat larger


def is_label_map(header: bytes) -> bool:
    """Whether the raw header of a file declares its voxels to be labels, as `write_nifti` and other tools do."""
    return int(parse_header(header)["intent_code"]) == _LABEL_INTENT


def read_nifti(path: Path, case: str, doubts: Doubts = NO_DOUBTS) -> Volume:
    """A single-file NIfTI image of two or three axes (further axes of length one are dropped).

    Voxels come as stored, as float32 where the file scales them. The gzip stream is read to its end, so a
    damaged one is found by its checksum.
    Raises: InputError and its kinds, for anything that would lead to a wrong mask (docs/inputs.md, rows 37 to 59) and
    that `doubts` do not answer; ResourceError for more than the memory holds.
    """
    header, stored = load(path, doubts.volume)
    affine, notes = affine_ras(path, header, doubts)
    voxels, filled = finite(path, _scaled(path, header, stored), doubts.nan_fill)
    if (many := volume_count(header)) > 1:
        notes = (*notes, f"volume {doubts.volume} of 0 to {many - 1} was taken, as told")
    geometry = Geometry(stored.shape, affine)
    return Volume(voxels[None], geometry, case, nifti_header=bytes(header.binaryblock), notes=(*notes, *filled))


def read_nifti_mask(path: Path, doubts: Doubts = NO_DOUBTS) -> tuple[NDArray[Any], Geometry]:
    """The integers (*S) of a mask file and their grid.

    doubts: where the grid lies, which a mask leaves as open as its image did; other answers are not taken.
    Raises: InputError as for images; ValueRangeError if a value is no whole number of 0..65535.
    """
    volume = read_nifti(path, "mask", Doubts(affine=doubts.affine, assume_ras=doubts.assume_ras))
    values = volume.voxels[0]
    if values.size and (values.min() < 0 or values.max() > 65535 or (values != np.round(values)).any()):
        raise ValueRangeError(f"{path}: a mask holds whole numbers of 0 to 65535, this file others; export it again")
    return values.astype(np.uint16 if values.max(initial=0) > 255 else np.uint8), volume.geometry


def write_nifti(label_map: LabelMap, path: Path, source: Volume | None = None) -> None:
    """The mask as .nii or .nii.gz, with its label table in the file.

    Where the source was a NIfTI file, sform, qform, both codes, pixel dimensions and units are copied bit for bit.
    Elsewhere both forms hold the affine with code 1 (scanner), and tilted slices come on an upright grid, see
    `io.upright`. The same mask gives the same bytes.
    """
    if source is None or source.nifti_header is None:
        label_map = upright(label_map)
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
    write_bytes(path, gzip.compress(content, _LEVEL, mtime=0) if path.name.lower().endswith(".gz") else content)


def write_nifti_image(voxels: NDArray[Any], geometry: Geometry, path: Path) -> None:
    """An image (*S) as .nii or .nii.gz, both forms holding the affine with code 1."""
    image = nib.Nifti1Image(voxels, geometry.affine_ras)
    image.set_sform(geometry.affine_ras, code=1)
    image.set_qform(geometry.affine_ras, code=1)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    write_bytes(path, gzip.compress(content, _LEVEL, mtime=0) if path.name.lower().endswith(".gz") else content)


def _mask_header(label_map: LabelMap, source: Volume | None) -> Any:
    raw = source.nifti_header if source is not None else None
    if raw is not None:
        header = parse_header(raw).as_byteswapped("<")
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


def _scaled(path: Path, header: Any, stored: NDArray[Any]) -> NDArray[Any]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise ValueRangeError(f"{path}: the header scales voxels by {slope} and {intercept}; write the file again")
    if slope in (0.0, 1.0) and not (slope == 1.0 and intercept != 0.0):
        return stored
    scaled = np.empty(stored.shape, np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for plane in range(stored.shape[-1]):  # so that there are float64 values of one plane only
            scaled[..., plane] = stored[..., plane] * slope + intercept
    return scaled
