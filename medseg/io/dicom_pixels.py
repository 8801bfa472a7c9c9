"""The pixels of single-frame DICOM files, decoded and rescaled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import generate_fragments
from pydicom.pixels import get_decoder
from pydicom.uid import UID, RLELossless

from medseg.domain.errors import InputError, MedsegError, ResourceError, ValueRangeError
from medseg.io.dicom_header import Header
from medseg.io.dicom_walk import quiet_pydicom

_KEYWORDS = [
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
]
_INT16 = np.iinfo(np.int16)


def read_voxels(headers: Sequence[Header]) -> NDArray[np.int16] | NDArray[np.float32]:
    """The values of all slices, (columns, rows, slices), each rescaled by its own slope and intercept.

    int16 where every slope is 1, every intercept whole and all values fit, else float32. No window, no display table.
    Raises: InputError for pixels that are missing, cut off or cannot be decoded; ResourceError for lack of memory.
    """
    scales = [(1.0 if h.slope is None else h.slope, h.intercept or 0.0) for h in headers]
    first = headers[0]
    try:
        stored = [read_stored(header) for header in headers]
        whole = all(slope == 1 and intercept.is_integer() for slope, intercept in scales)
        if whole and all(_fits(pixels, int(b)) for pixels, (_, b) in zip(stored, scales, strict=True)):
            stack = np.empty((len(stored), first.rows, first.columns), np.int16)
            for k, (_, intercept) in enumerate(scales):
                stack[k] = stored[k].astype(np.int64) + int(intercept) if intercept else stored[k]
            return stack.T
        stack = np.empty((len(stored), first.rows, first.columns), np.float32)
        for k, (slope, intercept) in enumerate(scales):
            stack[k] = _rescaled(headers[k], stored[k], slope, intercept)
        return stack.T
    except MemoryError as error:
        raise ResourceError(
            f"{first.path.parent}: not enough memory for {len(headers)} slices of {first.columns} x {first.rows} pixels"
        ) from error


def read_stored(header: Header) -> NDArray[Any]:
    """The stored integers of one file, (rows, columns), as they are before any rescaling.

    Raises: InputError naming the byte counts, or the transfer syntax that cannot be decoded.
    """
    path, syntax = header.path, UID(header.transfer_syntax)
    try:
        with quiet_pydicom():
            decoder = get_decoder(syntax)
            if not decoder.is_available:
                need = "; ".join(line.split(" - ")[-1] for line in decoder.missing_dependencies)
                raise InputError(f"{path}: no codec for {syntax.name} is installed; install one ({need})")
            dataset = dcmread(path, force=True, specific_tags=_KEYWORDS)
            if "PixelData" not in dataset:  # pydicom drops an open-ended element that has no end
                raise InputError(f"{path}: cut off: its compressed pixels have no end; copy it again")
            if syntax.is_encapsulated:
                _require_whole_stream(header, dataset.PixelData)
            pixels: NDArray[Any] = decoder.as_array(dataset, raw=True, index=0)[0]
    except (MedsegError, MemoryError):
        raise
    except NotImplementedError as error:
        raise InputError(f"{path}: pixels in {_name(syntax)} are not read; export the series uncompressed") from error
    except Exception as error:  # each codec raises its own kinds, down to AttributeError
        raise InputError(
            f"{path}: its {_name(syntax)} pixels cannot be decoded: a broken stream, or a kind of it that no installed "
            "codec reads; export the series uncompressed"
        ) from error
    if pixels.shape != (header.rows, header.columns):
        raise InputError(
            f"{path}: decodes to {pixels.shape} pixels instead of {(header.rows, header.columns)}; export it again"
        )
    return pixels


def _require_whole_stream(header: Header, pixel_data: bytes) -> None:
    """JPEG streams of all kinds end with a marker (FFD9); some codecs fill up a cut one without a word."""
    last = bytes(list(generate_fragments(pixel_data))[-1])
    if header.transfer_syntax != RLELossless and b"\xff\xd9" not in last[-32:]:  # some writers pad after it
        raise InputError(
            f"{header.path}: its {_name(UID(header.transfer_syntax))} stream of {len(pixel_data)} bytes is cut off "
            "(it has no end marker); copy it again"
        )


def _name(syntax: UID) -> str:
    """The standard's name of a transfer syntax, else its number."""
    return str(syntax.name) if syntax.name != str(syntax) else f"the unknown transfer syntax {syntax}"


def _fits(pixels: NDArray[Any], intercept: int) -> bool:
    return int(pixels.min()) + intercept >= _INT16.min and int(pixels.max()) + intercept <= _INT16.max


def _rescaled(header: Header, pixels: NDArray[Any], slope: float, intercept: float) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = (pixels * np.float64(slope) + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueRangeError(f"{header.path}: rescaling by {slope:g} and {intercept:g} overflows; export it again")
    return values
