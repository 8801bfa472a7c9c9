"""What a classic DICOM series must be before its slices are stacked; everything else is refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydicom.uid import UID

from medseg.domain.errors import GridError, InputError, SeriesError, ValueRangeError
from medseg.io.dicom_header import Header

_PROJECTIONS = ("CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA")
_LEAST_MM, _MOST_MM = 1e-4, 1e3
_ROUNDING = 1e-3  # of direction cosines; four decimals are common


def check_no_localizer(headers: Sequence[Header]) -> None:
    """None of the files is a localizer; looked for first, since one fails other checks with a lesser reason.

    Raises: SeriesError.
    """
    localizers = [header for header in headers if "LOCALIZER" in header.image_type]
    if len(localizers) == len(headers):
        raise SeriesError(
            f"{headers[0].path}: is a localizer (scout), {len(headers)} in this series; give the scan planned on it"
        )
    if localizers:
        raise SeriesError(
            f"{localizers[0].path}: is a localizer (scout), {len(localizers)} among the {len(headers)} files of this "
            "series; move it to another folder"
        )


def check_image(header: Header) -> None:
    """One file: a grey single-frame image with a place, a scale of values and all of its pixels.

    Raises: SeriesError, GridError, ValueRangeError or InputError; see each function.
    """
    _check_kind(header)
    _check_place(header)
    _check_scale(header)
    _check_pixels(header)


def check_together(headers: Sequence[Header]) -> None:
    """All files: one series, one coordinate system, one size of image, one orientation, at least two slices.

    Raises: SeriesError, naming the file that does not belong.
    """
    first = headers[0]
    for header in headers:
        for what, mine, others in (
            ("series", header.series_uid, first.series_uid),
            ("modality", header.modality, first.modality),
            ("frame of reference", header.frame_of_reference, first.frame_of_reference),
        ):
            if mine and others and mine != others:
                raise SeriesError(
                    f"{header.path}: is of another {what} than {first.path.name}; give the files of one series"
                )
    _check_one_shape(headers)
    if len(headers) == 1:
        raise SeriesError(f"{first.path}: is one slice only, a volume needs at least 2; give the whole series")


def _check_kind(header: Header) -> None:
    path, name = header.path, header.object_class
    if not header.series_uid:
        raise SeriesError(f"{path}: has no SeriesInstanceUID, so what it belongs to is unknown; export it again")
    enhanced = name.startswith(("Enhanced", "Legacy Converted Enhanced"))
    if header.frames != 1 or enhanced or "Multi-frame" in name:
        raise SeriesError(
            f"{path}: is {'an enhanced' if enhanced else 'a'} multi-frame image ({header.frames} frames in one file), "
            "which is not read yet; export the series as classic single-frame files, or as NIfTI"
        )
    if header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"{path}: is a colour image ({header.samples} samples a pixel, {header.photometric or 'no colour space'}); "
            "give the grey series it was made from"
        )
    if header.photometric == "MONOCHROME1":
        raise InputError(
            f"{path}: is stored inverted (MONOCHROME1: low is bright), which is not read yet; export it as MONOCHROME2"
        )


def _check_place(header: Header) -> None:
    path = header.path
    if header.position_mm is None and header.modality in _PROJECTIONS:
        raise InputError(
            f"{path}: is a projection ({header.modality}) without a position in the patient, not a slice of a volume; "
            "export it as PNG for a 2-D model"
        )
    for keyword, count, value in (
        ("ImagePositionPatient", 3, header.position_mm),
        ("ImageOrientationPatient", 6, header.orientation),
        ("PixelSpacing", 2, header.spacing_mm),
    ):
        if value is None:
            raise GridError(
                f"{path}: {keyword} is missing or not {count} finite numbers, so where the voxels lie is unknown; "
                "export it again from the scanner or archive"
            )
    assert header.position_mm is not None
    assert header.orientation is not None
    assert header.spacing_mm is not None
    if not _LEAST_MM <= min(header.spacing_mm) <= max(header.spacing_mm) <= _MOST_MM:
        raise GridError(
            f"{path}: PixelSpacing is {_list(header.spacing_mm)} mm, it must be {_LEAST_MM:g} to {_MOST_MM:g} mm; "
            "set the true size"
        )
    if max(map(abs, header.position_mm)) > 1e6:
        raise GridError(f"{path}: lies {max(map(abs, header.position_mm)):.4g} mm from the origin; export it again")
    row, column = header.orientation[:3], header.orientation[3:]
    lengths = (math.hypot(*row), math.hypot(*column))
    product = sum(a * b for a, b in zip(row, column, strict=True))
    if max(abs(length - 1) for length in lengths) > _ROUNDING or abs(product) > _ROUNDING:
        raise GridError(
            f"{path}: ImageOrientationPatient is no pair of perpendicular unit vectors (lengths {_list(lengths)}, "
            f"product {product:.4g}); export it again"
        )


def _check_scale(header: Header) -> None:
    path = header.path
    if header.has_modality_table:
        raise ValueRangeError(
            f"{path}: gives its values by a table (Modality LUT), which is not read yet; export it with a rescale slope"
        )
    if header.modality == "CT" and (header.slope is None or header.intercept is None):
        raise ValueRangeError(
            f"{path}: is CT without RescaleSlope and RescaleIntercept, so its values may not be Hounsfield units; "
            "export it again with both"
        )
    slope, intercept = (1.0 if header.slope is None else header.slope), header.intercept or 0.0
    if not math.isfinite(slope) or slope == 0 or not math.isfinite(intercept):
        raise ValueRangeError(f"{path}: rescales by {slope:g} and {intercept:g}; set both to finite numbers, not 0")


def _check_pixels(header: Header) -> None:
    path = header.path
    if not header.holds_integers or header.bits not in (8, 16, 32):
        kind = f"{header.bits}-bit" if header.holds_integers else "floating-point"
        raise InputError(f"{path}: holds {kind} pixels, integers of 8, 16 or 32 bits are read; export it again")
    if not header.has_low_bits:
        raise InputError(f"{path}: keeps its values in the high bits of their words (HighBit); export it again")
    expected = header.rows * header.columns * header.bits // 8
    if expected == 0:
        raise InputError(f"{path}: has {header.columns} columns and {header.rows} rows; export it again")
    if header.pixel_bytes is not None and header.pixel_bytes > header.pixel_bytes_present:
        raise InputError(
            f"{path}: cut off: PixelData declares {header.pixel_bytes} bytes, the file has {header.pixel_bytes_present}"
            " left; copy it again"
        )
    syntax = UID(header.transfer_syntax)
    if not syntax.is_transfer_syntax or syntax.is_encapsulated:
        return  # the length of compressed pixels says nothing
    if header.pixel_bytes is None:
        raise InputError(f"{path}: its pixels are compressed and it does not say how; export it again")
    if not expected <= header.pixel_bytes < 2 * expected:  # a little more is padding, twice is another frame
        raise InputError(
            f"{path}: PixelData has {header.pixel_bytes} bytes, {header.columns} x {header.rows} pixels of "
            f"{header.bits} bits need {expected}; export it again"
        )


def _check_one_shape(headers: Sequence[Header]) -> None:
    groups: list[list[Header]] = []
    for header in headers:
        home = next((group for group in groups if _same_shape(group[0], header)), None)
        groups.append([header]) if home is None else home.append(header)
    if len(groups) > 1:
        groups.sort(key=len)
        odd, most = groups[0][0], groups[-1][0]
        raise SeriesError(
            f"{odd.path}: mixed with slices of another kind in one series: {len(groups[0])} of {len(headers)} files "
            f"are {_shape(odd)}; {len(groups[-1])} are {_shape(most)}; move the others to another folder"
        )


def _same_shape(one: Header, other: Header) -> bool:
    return (
        (one.rows, one.columns) == (other.rows, other.columns)
        and np.allclose(one.spacing_mm or (), other.spacing_mm or (), rtol=1e-5, atol=0)
        and np.allclose(one.orientation or (), other.orientation or (), rtol=0, atol=1e-4)
    )


def _shape(header: Header) -> str:
    return (
        f"{header.columns} x {header.rows} pixels of {_list(header.spacing_mm or ())} mm "
        f"along ({_list(header.orientation or ())})"
    )


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
