"""What a picture file stores, whatever its format; and what that means as an image and as a mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import InputError, ValueRangeError
from medseg.io.memory import require_memory
from medseg.io.values import finite

DEFLATE_FOLD = 1100  # deflate shrinks at most about 1030-fold
MOST_BYTES = 2 << 30  # decoded; a few hundred bytes of a compressed file may claim anything


@dataclass(frozen=True, eq=False)
class Raster:
    """The samples of one picture or stack as they stand in the file, and the words of its header.

    samples:       (C, X, Y) or (C, X, Y, Z): columns, rows and planes, unlike the (row, column) of most libraries.
    bits:          of a sample; below 8 the samples run from 0 to 2**bits - 1.
    palette:       (n, 4) uint8 red, green, blue, opacity, which the one channel points into.
    alpha:         the last channel is opacity.
    white_is_zero: the darkest grey is the highest sample.
    spacing_mm:    of the specimen, one for each axis; None where the file does not state it.
    path:          for messages.
    """

    samples: NDArray[Any]
    path: Path
    bits: int = 8
    palette: NDArray[np.uint8] | None = None
    alpha: bool = False
    white_is_zero: bool = False
    spacing_mm: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


def require_affordable(path: Path, decoded_bytes: int, most_fold: float = inf) -> None:
    """Before anything is decoded: raises InputError for a picture without pixels, of more than 2 GiB, or that is no
    compressed picture because the file would have shrunk more than `most_fold` times; ResourceError for one that does
    not fit into memory.
    """
    if decoded_bytes == 0:
        raise InputError(f"{path}: its header says that it has no pixels; export it again")
    if decoded_bytes > MOST_BYTES:
        raise InputError(
            f"{path}: its header says {decoded_bytes / 2**30:.1f} GiB of pixels, more than the {MOST_BYTES >> 30} that"
            " are read; cut out a region or save it smaller"
        )
    stored_bytes = path.stat().st_size
    if decoded_bytes > most_fold * stored_bytes:
        raise InputError(
            f"{path}: its header says {decoded_bytes} bytes of pixels, the file has {stored_bytes}; it is damaged or "
            "cut off"
        )
    require_memory(str(path), decoded_bytes, "the picture")


def as_image(raster: Raster, nan_fill: float | None = None) -> Raster:
    """The samples as they are meant to be seen: palette and low bit depths expanded, black lowest, no alpha.

    Raises: InputError for transparency; ValueRangeError for NaN or infinity if there is no `nan_fill` to take.
    """
    if raster.palette is not None:
        return _expanded(raster, raster.palette)
    raster = _without_alpha(raster)
    samples, filled = finite(raster.path, raster.samples, nan_fill)
    raster = replace(raster, notes=(*raster.notes, *filled))
    if raster.bits < 8:
        samples = samples * np.uint8(255 // (2**raster.bits - 1))
    if not raster.white_is_zero:
        return replace(raster, samples=samples)
    if samples.dtype.kind != "u":
        raise InputError(f"{raster.path}: stores white as zero and signed numbers; save it with black as zero")
    note = "stores white as zero; grey values inverted"
    return replace(raster, samples=np.iinfo(samples.dtype).max - samples, notes=(*raster.notes, note))


def as_mask(raster: Raster) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The label numbers (*S), uint8, or uint16 where one is above 255.

    A palette with colours colours label numbers, which are the indices; a palette of greys is a grey picture, packed.
    Raises: InputError for colour or transparency; ValueRangeError for other numbers than whole ones of 0 to 65535.
    """
    if raster.palette is not None:
        raster = replace(raster, samples=_grey_or_indices(raster, raster.palette), palette=None)
    if raster.white_is_zero:
        raise InputError(f"{raster.path}: stores white as zero, so its label numbers are in doubt; save black as zero")
    values: NDArray[Any]
    values, *others = _without_alpha(raster).samples
    if any((values != other).any() for other in others):
        raise InputError(f"{raster.path}: a mask holds one number a pixel, this file colours; save label numbers")
    if not ((values >= 0) & (values <= 65535) & (values == np.round(values))).all():
        raise ValueRangeError(
            f"{raster.path}: a mask holds whole numbers of 0 to 65535, this file others; export it again"
        )
    return values.astype(np.uint16) if values.max() > 255 else values.astype(np.uint8)


def _without_alpha(raster: Raster) -> Raster:
    if not raster.alpha:
        return raster
    dtype = raster.samples.dtype
    opaque = 1 if dtype.kind == "f" else np.iinfo(dtype).max
    if clear := int((raster.samples[-1] != opaque).sum()):
        raise _transparent(raster.path, clear)
    notes = (*raster.notes, "opaque alpha channel dropped")
    return replace(raster, samples=raster.samples[:-1], alpha=False, notes=notes)


def _expanded(raster: Raster, palette: NDArray[np.uint8]) -> Raster:
    indices = _indices(raster, palette)
    colours = np.moveaxis(palette[indices], -1, 0)
    if clear := int((colours[3] != 255).sum()):
        raise _transparent(raster.path, clear)
    channels = slice(0, 1) if _is_grey(palette) else slice(0, 3)
    return replace(raster, samples=colours[channels], palette=None, bits=8, notes=(*raster.notes, "palette expanded"))


def _grey_or_indices(raster: Raster, palette: NDArray[np.uint8]) -> NDArray[Any]:
    indices = _indices(raster, palette)
    return palette[indices, 0][None] if _is_grey(palette) else indices[None]


def _indices(raster: Raster, palette: NDArray[np.uint8]) -> NDArray[Any]:
    indices: NDArray[Any] = raster.samples[0]
    if indices.max() >= len(palette):
        raise InputError(f"{raster.path}: colour {indices.max()} of a palette of {len(palette)}; save it again")
    return indices


def _is_grey(palette: NDArray[np.uint8]) -> bool:
    return bool((palette[:, :1] == palette[:, :3]).all())


def _transparent(path: Path, clear: int) -> InputError:
    return InputError(f"{path}: {clear} pixels are transparent, so their colour is in doubt; save it without alpha")
