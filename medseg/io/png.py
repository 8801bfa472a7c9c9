"""PNG in and out."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from medseg.domain.errors import InputError
from medseg.io.raster import DEFLATE_FOLD, Raster, require_affordable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, _GREY_ALPHA: 2, _COLOUR_ALPHA: 4}
_ORIENTATION = 0x0112


def read_png(path: Path) -> Raster:
    """The samples of a PNG, every checksum verified.

    The pixel density of a PNG (pHYs) is what a screen or printer should do, never the size of the specimen.
    Raises: InputError for animations, turned pictures and pictures above 2 GiB; other errors for damaged files.
    """
    with path.open("rb") as file:
        header = file.read(26)
        if header[12:16] != b"IHDR":
            raise ValueError("the header chunk is missing")
        _require_no_animation(path, file)
    columns, rows, bits, kind = struct.unpack(">IIBB", header[16:26])
    require_affordable(
        path, columns * rows * _CHANNELS[kind] * (2 if bits == 16 else 1), DEFLATE_FOLD * 8 / min(bits, 8)
    )
    # The class and not Image.open, whose limit of pixels is global, lower, and warns before it refuses.
    with PngImageFile(path) as image:
        image.verify()
    with PngImageFile(path) as image:
        _require_upright(path, image)
        palette = _palette(image) if kind == _PALETTE else None
        samples = _samples(path, image, bits, kind)
        key = image.info.get("transparency")
    if kind in (_GREY, _COLOUR) and key is not None and (samples == np.array(key)).all(axis=-1).any():
        raise InputError(f"{path}: one of its colours means transparent; save it without transparency")
    alpha = kind in (_GREY_ALPHA, _COLOUR_ALPHA)
    return Raster(samples.transpose(2, 1, 0), path, 8 if palette is not None else bits, palette, alpha)


def write_png(values: NDArray[Any], path: Path) -> None:
    """Values (X, Y), uint8 or uint16, or colours (X, Y, 3), uint8, as a PNG; the same values give the same bytes."""
    Image.fromarray(np.ascontiguousarray(values.swapaxes(0, 1))).save(path, format="PNG")


def _require_no_animation(path: Path, file: BinaryIO) -> None:
    """Chunk by chunk, since Pillow warns of a damaged animation and shows another picture."""
    file.seek(len(SIGNATURE))
    while len(start := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name == b"acTL":
            (frames,) = struct.unpack(">I", file.read(4))
            raise InputError(f"{path}: an animation of {frames} frames; save the frame of interest")
        file.seek(length + 4, 1)


def _require_upright(path: Path, image: PngImageFile) -> None:
    image.load()
    turned = image.getexif().get(_ORIENTATION, 1)
    if turned != 1:
        raise InputError(f"{path}: to be shown turned or mirrored (EXIF orientation {turned}); save it upright")


def _samples(path: Path, image: PngImageFile, bits: int, kind: int) -> NDArray[Any]:
    """(rows, columns, C), uint8 or uint16."""
    if bits == 16 and kind == _GREY_ALPHA:
        raise InputError(f"{path}: 16-bit grey with alpha is not read; save it without alpha")
    if bits == 16 and kind != _GREY:  # Pillow cuts the samples of 16-bit colour to 8 bits
        colour: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="PNGImageIO"))
        return colour
    values = np.asarray(image)
    if bits == 1 and kind == _GREY:
        values = values.astype(np.uint8)
    elif bits < 8 and kind == _GREY:
        values = values // np.uint8(255 // (2**bits - 1))  # Pillow spreads 2 and 4 bits over 0..255
    return values.reshape(*values.shape[:2], -1)


def _palette(image: PngImageFile) -> NDArray[np.uint8]:
    """(n, 4) with opacities."""
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    opacities = np.full((len(colours), 1), 255, np.uint8)
    clear = image.info.get("transparency", b"")
    if isinstance(clear, int):
        opacities[clear] = 0
    else:
        given = np.frombuffer(clear, np.uint8)[: len(colours)]
        opacities[: len(given), 0] = given
    return np.hstack((colours, opacities))
