"""Bits above the stored ones, where old files keep overlays, taken out of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import ValueRangeError
from medseg.io.dicom_header import Header

_NAMED = 5


def without_high_bits(headers: Sequence[Header], stored: Sequence[NDArray[Any]]) -> tuple[list[NDArray[Any]], str]:
    """Return the pixels by their stored bits alone, signed ones with their sign, and a note where that changed some.

    Padding that the header declares is left, whatever its bits.

    Raises:
        ValueRangeError: If the pixels are smoother with the high bits than without: then these belong to the values.
    """
    images = [_masked(header, image) for header, image in zip(headers, stored, strict=True)]
    changed = [n for n, (image, before) in enumerate(zip(images, stored, strict=True)) if image is not before]
    if not changed:
        return images, ""
    few = len(changed) <= min(_NAMED, len(headers) // 2)
    names = ", ".join(headers[n].name.split(": ")[-1] for n in changed) if few else ""
    return images, (
        f"{len(changed)} of {len(headers)} slices had bits set above the {headers[0].bits_stored} stored ones "
        f"({f'{names}: overlays, or damage' if few else 'overlays'}); they were masked"
    )


def _masked(header: Header, pixels: NDArray[Any]) -> NDArray[Any]:
    """The image itself where all values are in range."""
    bits = header.bits_stored
    if not 0 < bits < header.bits:
        return pixels
    half = 1 << (bits - 1)
    low, high = (-half, half - 1) if header.is_signed else (0, 2 * half - 1)
    least, most = int(pixels.min()), int(pixels.max())
    if low <= least and most <= high:
        return pixels
    beyond = (pixels < low) | (pixels > high)
    if header.padding is not None:
        beyond &= (pixels < header.padding[0]) | (pixels > header.padding[1])
        if not beyond.any():
            return pixels
    words = pixels.astype(np.int64)
    values = words & (2 * half - 1)
    if header.is_signed:
        values = (values ^ half) - half
    masked = np.where(beyond, values, words)
    if _roughness(masked) > _roughness(words):
        raise ValueRangeError(
            f"{header.name}: holds values from {least} to {most}, its BitsStored is {bits} (from {low} to {high}); set "
            "it right or export it again"
        )
    return masked.astype(pixels.dtype)


def _roughness(values: NDArray[np.int64]) -> int:
    return int(np.abs(np.diff(values, axis=0)).sum() + np.abs(np.diff(values, axis=1)).sum())
