"""The stored values that mark pixels without an image (PS3.3 C.7.5.1.1.2)."""

from __future__ import annotations

from typing import Any

from medseg.io.dicom_elements import values


def padding(dataset: Any, bits: int, bits_stored: int, is_signed: bool) -> tuple[int, int] | None:
    """PixelPaddingValue, up to PixelPaddingRangeLimit where there is one, as the pixels hold them.

    Both are read by the pixels' own PixelRepresentation: some scanners write -2000 as 63536.
    """
    value = _stored(dataset, "PixelPaddingValue", bits, bits_stored, is_signed)
    if value is None:
        return None
    limit = _stored(dataset, "PixelPaddingRangeLimit", bits, bits_stored, is_signed)
    low, high = sorted((value, value if limit is None else limit))
    return low, high


def _stored(dataset: Any, keyword: str, bits: int, bits_stored: int, is_signed: bool) -> int | None:
    """The value brought into the range of the pixels, where it stands for one of them."""
    found = (values(dataset, keyword) or [None])[0]
    try:
        value = int.from_bytes(found, "little") if isinstance(found, bytes) else int(float(found))
    except (TypeError, ValueError, OverflowError):
        return None
    for width in (bits, bits_stored):
        if not 0 < width <= 32:
            continue
        lowest = -(1 << width - 1) if is_signed else 0
        highest = lowest + (1 << width) - 1
        if lowest <= value <= highest:
            continue
        if not -(1 << width - 1) <= value < 1 << width:  # no word of this width
            continue
        value += 1 << width if value < lowest else -(1 << width)
    return value
