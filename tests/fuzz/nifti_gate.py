"""NIfTI-1 and -2, plain and gzip."""

from __future__ import annotations

import random
import struct

import nibabel as nib
import numpy as np

from tests.fuzz.harness import Gate
from tests.fuzz.mutate import GENERIC, put_numbers, repack, zipped
from tests.inputs.nifti_files import AFFINE, content, packed

_VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5) * 37 - 900
_FIELDS = (
    *[(0, "i"), *[(40 + 2 * n, "h") for n in range(8)], (70, "h"), (72, "h"), *[(76 + 4 * n, "f") for n in range(8)]],
    *[(108, "f"), (112, "f"), (116, "f"), (123, "B"), (252, "h"), (254, "h")],
    *[(256 + 4 * n, "f") for n in range(6)],
    *[(280 + 4 * n, "f") for n in range(12)],
    *[(344, "i"), (348, "i")],
)
# Words and numbers that say nothing of voxels or place: (place, length)
_WORDS = ((4, 10), (14, 18), (32, 4), (36, 2), (38, 1), (56, 12), (120, 2), (124, 24), (148, 80), (228, 24), (328, 16))


def set_words(rng: random.Random, data: bytes) -> bytes:
    place, length = rng.choice(_WORDS)
    if data[:4] != struct.pack("<i", 348):  # of the other version and byte order the places are others
        return data
    return data[:place] + rng.randbytes(length) + data[place + length :]


def add_an_extension(rng: random.Random, data: bytes) -> bytes:
    """The voxels move behind it."""
    if data[:4] != struct.pack("<i", 348) or len(data) < 352:
        return data
    (offset,) = struct.unpack_from("<f", data, 108)
    size = 16 * rng.randrange(1, 9)
    extension = struct.pack("<2i", size, rng.choice((0, 4, 6, 30, 44))) + rng.randbytes(size - 8)
    head = bytearray(data[:348])
    struct.pack_into("<f", head, 108, offset + size)
    return bytes(head) + b"\1\0\0\0" + extension + data[352:]


def add_bytes_behind(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 200))


def gate() -> Gate:
    """Little and big endian, two axes, four axes, scaled and real numbers."""
    image = nib.Nifti2Image(_VOXELS, AFFINE)
    image.header.set_xyzt_units("mm")
    data = content(_VOXELS, AFFINE)
    seeds = (
        {"scan.nii": data},
        {"scan.nii.gz": packed(data)},
        {"scan.nii": content(_VOXELS.astype(">i2"), AFFINE, order=">")},
        {"scan.nii.gz": packed(content(_VOXELS.astype(np.float32), AFFINE))},
        {"scan.nii": content(_VOXELS[..., None], AFFINE, codes=(0, 1))},
        {"scan.nii": image.to_bytes()},
    )
    field = put_numbers(_FIELDS)
    harmful = (*GENERIC, field, field, field, *map(zipped, (*GENERIC, field, field, field)))
    return Gate("nifti", seeds, harmful, (*map(zipped, (set_words, add_an_extension, add_bytes_behind)), repack))
