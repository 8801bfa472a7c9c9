"""From stored integers to the values of an image: rescaled, padding taken out, units told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import ResourceError, ValueRangeError
from medseg.io.dicom_bits import without_high_bits
from medseg.io.dicom_header import Header
from medseg.io.dicom_pet import NO_PET, suv_factor

_INT16 = np.iinfo(np.int16)
_AIR_HU = -1000
_PADDING_BELOW_HU, _PADDING_SURELY_HU = -900, -1100  # between them padding looks like air already
_OUTLYING = 0.01  # of the range of the image, by which padding of another modality must lie outside to be replaced


@dataclass(frozen=True, eq=False)
class Values:
    """A stack of values (columns, rows, slices), int16 or float32, and what was done to get them."""

    voxels: NDArray[np.int16] | NDArray[np.float32]
    notes: tuple[str, ...]


def scale(name: str, modality: str, headers: Sequence[Header], stored: Sequence[NDArray[Any]]) -> Values:
    """The values of all slices, each rescaled by its own slope and intercept. No window, no display table.

    int16 where every slope is 1, every intercept whole and all values fit, else float32. Inverted greys are turned
    round; CT padding becomes air, other padding that lies outside the range of the image its lowest value; PET activity
    becomes SUVbw.
    Raises: ValueRangeError for values that overflow or cannot become SUV; ResourceError for lack of memory.
    """
    try:
        notes: list[str] = []
        factor = 1.0
        if modality == "PT":
            factor, note = suv_factor(name, [header.pet or NO_PET for header in headers])
            notes.append(note)
        stored, note = without_high_bits(headers, stored)
        notes += [note] if note else []
        upright = [_upright(header, image) for header, image in zip(headers, stored, strict=True)]
        inverted = sum(header.photometric == "MONOCHROME1" for header in headers)
        if inverted:
            notes.append(f"{inverted} of {len(headers)} slices were stored inverted (MONOCHROME1) and turned round")
        stack = _rescaled(headers, upright, factor)
        note = _without_padding(modality, headers, stored, stack)
        return Values(stack.T, (*notes, note) if note else tuple(notes))
    except MemoryError as error:
        first = headers[0]
        raise ResourceError(
            f"{name}: not enough memory for {len(headers)} slices of {first.columns} x {first.rows} pixels"
        ) from error


def require_hounsfield(name: str, voxels: NDArray[Any]) -> None:
    """Raises: ValueRangeError for a CT whose values cannot be Hounsfield units.

    In those water is 0 and air -1000: noise alone takes some voxel of any scan below 0, and tissues differ by hundreds.
    """
    low, high = float(voxels.min()), float(voxels.max())
    if low >= 0 or high - low < 100:
        raise ValueRangeError(
            f"{name}: says it is CT, but its values run from {low:g} to {high:g}, which are no Hounsfield units "
            "(air is -1000, water 0); export it again, or say what it is with --force CT"
        )


def _upright(header: Header, pixels: NDArray[Any]) -> NDArray[Any]:
    """MONOCHROME1 turned round within the bits that are stored."""
    if header.photometric != "MONOCHROME1":
        return pixels
    highest = (1 << (header.bits_stored - header.is_signed)) - 1
    lowest = -highest - 1 if header.is_signed else 0
    return highest + lowest - pixels.astype(np.int64)


def _rescaled(
    headers: Sequence[Header], pixels: Sequence[NDArray[Any]], factor: float
) -> NDArray[np.int16] | NDArray[np.float32]:
    """(slices, rows, columns)."""
    scales = [((1.0 if h.slope is None else h.slope) * factor, (h.intercept or 0.0) * factor) for h in headers]
    shape = (len(headers), headers[0].rows, headers[0].columns)
    whole = factor == 1 and all(slope == 1 and intercept.is_integer() for slope, intercept in scales)
    if whole and all(_fits(image, int(b)) for image, (_, b) in zip(pixels, scales, strict=True)):
        small = np.empty(shape, np.int16)
        for k, (_, intercept) in enumerate(scales):
            small[k] = pixels[k].astype(np.int64) + int(intercept) if intercept else pixels[k]
        return small
    stack = np.empty(shape, np.float32)
    for k, (slope, intercept) in enumerate(scales):
        with np.errstate(over="ignore"):
            stack[k] = pixels[k] * np.float64(slope) + intercept
        if not np.isfinite(stack[k]).all():
            raise ValueRangeError(
                f"{headers[k].name}: rescaling by {slope:g} and {intercept:g} overflows; export it again"
            )
    return stack


def _fits(pixels: NDArray[Any], intercept: int) -> bool:
    return int(pixels.min()) + intercept >= _INT16.min and int(pixels.max()) + intercept <= _INT16.max


def _without_padding(
    modality: str, headers: Sequence[Header], stored: Sequence[NDArray[Any]], stack: NDArray[Any]
) -> str:
    """Pixels said to be padding, in place; a note where some were replaced."""
    if all(header.padding is None for header in headers):
        return ""
    padded = np.zeros(stack.shape, bool)
    for k, header in enumerate(headers):
        if header.padding is not None:
            low, high = header.padding
            padded[k] = (stored[k] >= low) & (stored[k] <= high)
    if not padded.any() or padded.all():
        return ""
    pad_low, pad_high = float(stack[padded].min()), float(stack[padded].max())
    if modality == "CT":
        if pad_high > _PADDING_BELOW_HU:
            return f"the padding value stands at {pad_high:g} HU, among tissue, and was left as it is"
        if pad_low >= _PADDING_SURELY_HU:
            return ""
        new: float = _AIR_HU
    else:
        rest = stack[~padded]
        new, top = float(rest.min()), float(rest.max())
        if pad_low >= new - _OUTLYING * (top - new) and pad_high <= new + _OUTLYING * (top - new):
            return ""
    stack[padded] = new
    was = f"{pad_low:g}" if pad_low == pad_high else f"{pad_low:g} to {pad_high:g}"
    return f"{int(padded.sum())} voxels of padding ({was}) were set to {new:g}{', air' if modality == 'CT' else ''}"
