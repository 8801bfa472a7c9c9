"""DICOM series in every compressed transfer syntax that is read, and damage done to their streams alone."""

from __future__ import annotations

import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.dicom_write import write_series

SHAPE = (80, 96, 9)  # columns, rows, slices
HTJ2K = Path(__file__).with_name("htj2k.zip")  # made by OpenJPH, since no installed codec writes them
UIDS = {
    "RLE": RLELossless,
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG extended, 8 bits": "1.2.840.10008.1.2.4.51",
    "JPEG lossless": "1.2.840.10008.1.2.4.57",
    "JPEG lossless SV1": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG-LS near": "1.2.840.10008.1.2.4.81",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG 2000 lossy": "1.2.840.10008.1.2.4.91",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
    "HTJ2K RPCL": "1.2.840.10008.1.2.4.202",
    "HTJ2K lossy": "1.2.840.10008.1.2.4.203",
    "deflated": "1.2.840.10008.1.2.1.99",
}
LOSSLESS = tuple(name for name in UIDS if not name.endswith(("lossy", "near", "bits", "baseline", "deflated")))


def phantom() -> Volume:
    """A noisy body with two growing organs in air of value 0; 12 bits are enough, 8 for what is shifted by 4."""
    i, j, k = np.indices(SHAPE, float)
    rng = np.random.default_rng(4)
    body = (i - 40) ** 2 / 34**2 + (j - 48) ** 2 / 40**2 < 1
    first = (i - 28) ** 2 + (j - 40) ** 2 < (8 + k) ** 2
    second = (i - 54) ** 2 + (j - 56) ** 2 < (16 - k) ** 2
    values = np.where(body, 900 + 500 * first + 900 * second + rng.normal(0, 12, SHAPE), 0)
    return Volume(values.round().clip(0, 4095).astype(np.int16)[None], Geometry(SHAPE, np.diag([1, 1, 2, 1])), "s")


def stream_of(name: str, pixels: NDArray[Any], number: int = 0) -> bytes:
    """One slice as a stream of the syntax; HTJ2K only of the phantom's slices, by number."""
    if name.startswith("HTJ2K"):
        with zipfile.ZipFile(HTJ2K) as streams:
            return streams.read(f"{'lossy' if name.endswith('lossy') else 'lossless'}/{number}.j2c")
    if name.startswith("JPEG-LS"):
        return bytes(jpeg_ls.encode_array(pixels, 2 if name.endswith("near") else 0))
    if name.startswith("JPEG 2000"):
        loss = {"compression_ratios": [8]} if name.endswith("lossy") else {}
        return bytes(encode_array(pixels, bits_stored=12 if pixels.max() < 4096 else 16, **loss))
    return _by_gdcm(name, pixels)


def _by_gdcm(name: str, pixels: NDArray[Any]) -> bytes:
    """JPEG in its kinds, and RLE."""
    kinds = {
        "RLE": gdcm.TransferSyntax.RLELossless,
        "JPEG baseline": gdcm.TransferSyntax.JPEGBaselineProcess1,
        "JPEG extended, 8 bits": gdcm.TransferSyntax.JPEGExtendedProcess2_4,
        "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
        "JPEG lossless SV1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = write_series(phantom(), Path(folder) / "s", modality="MR", seed="c").paths[0]
        dataset = dcmread(path)
        _describe(dataset, pixels)
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(kinds[name]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(f"{path}.new")
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return next(generate_frames(dcmread(f"{path}.new").PixelData, number_of_frames=1))


def _describe(dataset: Any, pixels: NDArray[Any]) -> None:
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.PixelRepresentation = 8 * pixels.itemsize, 0
    dataset.BitsStored = 12 if pixels.itemsize > 1 else 8
    dataset.HighBit = dataset.BitsStored - 1


def compressed_series(
    folder: Path, name: str, change: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> list[Path]:
    """The phantom as a series of the syntax; 8 bits where it is JPEG with loss. change: of the pixels of each slice."""
    volume = phantom()
    paths = list(write_series(volume, folder, modality="MR", seed=f"compressed {name}").paths)
    for n, path in enumerate(paths):
        dataset = dcmread(path)
        pixels = np.ascontiguousarray(volume.voxels[0, :, :, n].T.astype(np.uint16))
        if "baseline" in name or "8 bits" in name:
            pixels = (pixels >> 4).astype(np.uint8)
        pixels = change(pixels) if change else pixels
        _describe(dataset, pixels)
        dataset.file_meta.TransferSyntaxUID = UIDS.get(name, ExplicitVRLittleEndian)
        if name in ("deflated", "raw"):
            dataset.PixelData = pixels.tobytes()
        else:
            dataset.PixelData = encapsulate([stream_of(name, pixels, n)])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    return paths


_PIXELS = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
Change = Callable[[random.Random, bytes], bytes]


def in_stream(change: Change) -> Change:
    """The same change, to the stream in a file, put back with right lengths; in a deflated file, to all of it."""

    def inside(rng: random.Random, data: bytes) -> bytes:
        place = data.find(_PIXELS)
        if place < 0:
            head = 144 + int.from_bytes(data[140:144], "little")
            return data[:head] + change(rng, data[head:])
        fragments = list(generate_frames(data[place + len(_PIXELS) :], number_of_frames=1))
        return data[: place + len(_PIXELS)] + encapsulate([change(rng, fragments[0])], has_bot=False) + _END

    inside.__name__ = f"{change.__name__}_of_the_stream"
    return inside


def flip_a_bit(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def flip_a_bit_of_the_header(rng: random.Random, data: bytes) -> bytes:
    return flip_a_bit(rng, data[:150]) + data[150:]


def zero_a_range(rng: random.Random, data: bytes) -> bytes:
    size = rng.choice((2, 8, 40, len(data) // 4))
    place = rng.randrange(max(len(data) - size, 1))
    return data[:place] + bytes(size) + data[place + size :]


def cut_out(rng: random.Random, data: bytes) -> bytes:
    size, place = rng.choice((1, 2, 8, 100)), rng.randrange(len(data))
    return data[:place] + data[place + size :]


def double(rng: random.Random, data: bytes) -> bytes:
    size, place = rng.choice((1, 2, 8, 100)), rng.randrange(len(data))
    return data[: place + size] + data[place:]


def cut_off_and_end(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(2, len(data))] + b"\xff\xd9"


def swap_fragments(rng: random.Random, data: bytes) -> bytes:
    a, b, c = sorted(rng.sample(range(1, len(data)), 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


STREAM_DAMAGE = (
    *(flip_a_bit, flip_a_bit, flip_a_bit, flip_a_bit_of_the_header, zero_a_range, cut_out, double, cut_off_and_end),
    swap_fragments,
)
