"""The header of an NRRD file: fields of text, every one that matters understood or refused."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medseg.domain.doubts import Doubts
from medseg.domain.errors import GridError, InputError
from medseg.domain.geometry import Float64Array, unit_volume

_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_LARGEST_HEADER = 1 << 20
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_TO_RAS = {  # what turns a position of the file's space into right, anterior, superior
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
}
_MM_PER_UNIT = {"mm": 1.0, "um": 1e-3, "µm": 1e-3, "cm": 10.0, "m": 1000.0, "": 1.0}
_SPATIAL = {"domain", "space", "???", "none"}


@dataclass(frozen=True)
class Header:
    """What is needed to read and place the voxels.

    fields:   as they stand, names in small letters.
    is_mask:  says of itself that it is a segmentation, as 3D Slicer's .seg.nrrd.
    dtype:    in the file's byte order.
    encoding: "raw" or "gzip".
    offset:   of the first byte behind the header.
    """

    fields: dict[str, str]
    is_mask: bool
    shape_ijk: tuple[int, ...]
    dtype: np.dtype[np.generic]
    encoding: str
    offset: int


def is_nrrd(path: Path) -> bool:
    """By content."""
    try:
        with path.open("rb") as file:
            return _MAGIC.match(file.read(16)) is not None
    except OSError:
        return False


def read_header(path: Path, file: BinaryIO) -> Header:
    """The header at the start of a file, which stands behind it afterwards.

    Raises: InputError for what is no NRRD of three spatial axes in one file, of a known type, raw or gzip.
    """
    if _MAGIC.fullmatch(file.readline(16)) is None:
        raise InputError(f"{path}: not an NRRD file (its content is not, whatever its name says)")
    fields, is_mask = _fields(path, file)
    offset = file.tell()
    if "data file" in fields or "datafile" in fields:
        raise InputError(f"{path}: its voxels lie in another file, and none is followed; save both as one .nrrd")
    for name in ("byte skip", "byteskip", "line skip", "lineskip"):
        if fields.get(name, "0") != "0":
            raise InputError(f"{path}: skips bytes or lines before the voxels, which is not read; save it again")
    shape = _shape(path, fields)
    kind = _TYPES.get(_needed(path, fields, "type").lower())
    if kind is None:
        raise InputError(f"{path}: its voxels are of type {fields['type'][:20]!r}; convert them to short or float")
    encoding = _ENCODINGS.get(_needed(path, fields, "encoding").lower())
    if encoding is None:
        raise InputError(f"{path}: its encoding {fields['encoding'][:20]!r} is not read; save it as raw or gzip")
    endian = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if endian is None and kind[1] != "1":
        raise InputError(f"{path}: does not say whether it is little or big endian; save it again")
    return Header(fields, is_mask, shape, np.dtype((endian or "<") + kind), encoding, offset)


def affine_ras(path: Path, header: Header, doubts: Doubts) -> tuple[Float64Array, tuple[str, ...]]:
    """The affine in millimetres, and notes on what was converted or taken on the user's word.

    Raises: GridError for a space that is none of the patient's, sizes that are none, or no axes at all, which is a
    doubt that the user can answer.
    """
    fields = header.fields
    affine = np.eye(4)
    if "space" not in fields:
        if "space directions" in fields or not doubts.assume_ras:
            raise GridError(
                f"{path}: names no patient space, so left and right are unknown; save it with one"
                + ("" if "space directions" in fields else ", or give --assume RAS if that is how it lies")
            )
        sizes = _numbers(path, "spacings", fields.get("spacings", "").split(), 3)
        affine[:3, :3] = np.diag(sizes)
        return _checked(path, affine), ("has no axes; taken as right, anterior, superior, as told",)
    signs = _TO_RAS.get(fields["space"].lower())
    if signs is None:
        raise GridError(f"{path}: its space {fields['space'][:40]!r} is none of RAS, LAS and LPS; save it in one")
    vectors = re.findall(r"\(([^()]*)\)|(\S+)", _needed(path, fields, "space directions"))
    if len(vectors) != 3 or any(other for _, other in vectors):
        raise GridError(f"{path}: space directions give no three vectors; save the file again")
    notes = []
    for axis, (vector, _) in enumerate(vectors):
        affine[:3, axis] = _numbers(path, "space directions", vector.split(","), 3)
    if "space origin" in fields:
        affine[:3, 3] = _numbers(path, "space origin", fields["space origin"].strip("() ").split(","), 3)
    else:
        notes.append("has no space origin; the first voxel was put at 0")
    mm, unit = _unit(path, fields)
    if mm != 1:
        notes.append(f"voxel sizes were in {unit} and were converted to mm")
    affine[:3] *= mm * np.array(signs)[:, None]
    return _checked(path, affine), tuple(notes)


def _fields(path: Path, file: BinaryIO) -> tuple[dict[str, str], bool]:
    fields: dict[str, str] = {}
    is_mask = False
    while True:
        raw = file.readline(_LARGEST_HEADER)
        if not raw.endswith(b"\n") or file.tell() > _LARGEST_HEADER:
            if "data file" in fields or "datafile" in fields:  # a detached header ends with the file
                return fields, is_mask
            raise InputError(f"{path}: its header has no end; the file is cut off or damaged")
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            return fields, is_mask
        if line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if value.startswith("="):  # free words of the program that wrote it
            is_mask = is_mask or re.fullmatch(r"Segment\d+_(ID|LabelValue)", name) is not None
            continue
        name = name.strip().lower()
        if not colon or name in fields:
            raise InputError(f"{path}: its header has a line that is no field, or one field twice; save it again")
        fields[name] = value.strip()


def _needed(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"{path}: its header has no field {name!r}; save it again")
    return fields[name]


def _shape(path: Path, fields: dict[str, str]) -> tuple[int, ...]:
    sizes = _needed(path, fields, "sizes").split()
    if not all(re.fullmatch(r"\d{1,9}", size) for size in sizes) or _needed(path, fields, "dimension") != str(
        len(sizes)
    ):
        raise InputError(f"{path}: sizes {' '.join(sizes)[:40]!r} do not fit the dimension; save it again")
    kinds = fields.get("kinds", "").lower().split()
    if len(sizes) != 3 or not set(kinds) <= _SPATIAL:
        what = f"kinds {' '.join(kinds)[:40]}" if kinds else "no kinds named"
        raise InputError(f"{path}: has {len(sizes)} axes ({what}), not three in space; extract the image to segment")
    shape = tuple(map(int, sizes))
    if math.prod(shape) == 0:
        raise InputError(f"{path}: the header gives sizes {' '.join(sizes)}; every axis needs at least one voxel")
    return shape


def _unit(path: Path, fields: dict[str, str]) -> tuple[float, str]:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", '""')))
    if len(units) != 1 or not units <= set(_MM_PER_UNIT):
        raise GridError(f"{path}: unknown space units; set them to mm")
    (unit,) = units
    return _MM_PER_UNIT[unit], unit


def _numbers(path: Path, name: str, words: list[str], count: int) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise GridError(f"{path}: {name} give no {count} finite numbers; save the file again")
    return numbers


def _checked(path: Path, affine: Float64Array) -> Float64Array:
    if not np.isfinite(affine).all() or not unit_volume(affine) > 1e-6:
        raise GridError(f"{path}: its axes are singular: two point the same way or one has no length; save it again")
    return affine
