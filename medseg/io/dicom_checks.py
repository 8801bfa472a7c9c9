"""What a classic DICOM series must be before its slices are stacked; everything else is refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydicom.uid import UID

from medseg.domain.doubts import Doubts
from medseg.domain.errors import GridError, InputError, SeriesError, ValueRangeError
from medseg.io.dicom_elements import OTHER_UNIT
from medseg.io.dicom_header import Header
from medseg.io.dicom_projection import is_projection
from medseg.io.dicom_repeats import lie_at_one_position
from medseg.io.dicom_units import material_map

_MEASURED = ("CT", "MR", "PT")  # whose values mean something, shown bright or dark
_LEAST_MM, _MOST_MM = 1e-4, 1e3
_ROUNDING = 1e-3  # of direction cosines; four decimals are common


def check_no_localizer(headers: Sequence[Header]) -> None:
    """Not a localizer; looked at first, since one fails other checks with a lesser reason.

    Raises: SeriesError.
    """
    if "LOCALIZER" in headers[0].image_type:
        raise SeriesError(
            f"{headers[0].name}: is a localizer (scout), {len(headers)} in this series; give the scan planned on it"
        )


def check_image(header: Header, doubts: Doubts) -> None:
    """One image: grey, with a place, a scale of values and all of its pixels.

    Raises: SeriesError, GridError, ValueRangeError or InputError; see each function.
    """
    _check_kind(header)
    _check_place(header)
    _check_scale(header, doubts)
    _check_pixels(header)


def check_projection(header: Header, doubts: Doubts) -> None:
    """One image that is no slice: as `check_image`, but for its place, which it does not have.

    Raises: as `check_image`.
    """
    _check_kind(header)
    _check_scale(header, doubts)
    _check_pixels(header)


def check_together(headers: Sequence[Header]) -> None:
    """All images: one modality, one coordinate system, several positions, at most one file of many frames.

    Raises: SeriesError, naming the file that does not belong.
    """
    first = headers[0]
    for header in headers:
        for what, mine, others in (
            ("modality", header.modality, first.modality),
            ("frame of reference", header.frame_of_reference, first.frame_of_reference),
        ):
            if mine and others and mine != others:
                raise SeriesError(
                    f"{header.name}: is of another {what} than the first of its series; give the files of one series"
                )
    if len(headers) == 1:
        raise SeriesError(f"{first.name}: is one slice only, a volume needs at least 2; give the whole series")
    if lie_at_one_position(headers):
        raise SeriesError(
            f"{first.name}: is one of {len(headers)} images at one position (bolus monitoring, cine or mosaic), which "
            "are no volume; give a series of slices at different positions"
        )
    files = len({header.path for header in headers})
    if files > 1 and any(header.frames > 1 for header in headers):
        raise SeriesError(
            f"{first.name}: is one of {files} multi-frame files that make one stack, which are not joined; export the "
            "series as one file, or as single-frame files"
        )


def _check_kind(header: Header) -> None:
    name, kind = header.name, header.object_class
    enhanced = kind.startswith(("Enhanced", "Legacy Converted Enhanced"))
    if (header.frames != 1 or enhanced or "Multi-frame" in kind) and not header.has_groups:
        raise SeriesError(
            f"{name}: is {'an enhanced' if enhanced else 'a'} multi-frame image of {header.frames} frames that do not "
            "say where each of them lies (no functional groups); export the series as classic single-frame files"
        )
    if header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"{name}: is a colour image ({header.samples} samples a pixel, {header.photometric or 'no colour space'}); "
            "give the grey series it was made from"
        )
    if header.photometric == "MONOCHROME1" and header.modality in _MEASURED:
        raise InputError(
            f"{name}: is {header.modality} stored inverted (MONOCHROME1: low is bright), so whether its values are "
            "turned round is in doubt; export it as MONOCHROME2"
        )


def _check_place(header: Header) -> None:
    name = header.name
    if is_projection(header):
        raise InputError(
            f"{name}: is a projection ({header.modality}) without a position in the patient, one of several images "
            "that are no slices of a volume; give one of them alone, or as PNG for a 2-D model"
        )
    for keyword, count, value in (
        ("ImagePositionPatient", 3, header.position_mm),
        ("ImageOrientationPatient", 6, header.orientation),
        ("PixelSpacing", 2, header.spacing_mm),
    ):
        if value is None:
            raise GridError(
                f"{name}: {keyword} is missing or not {count} finite numbers, so where the voxels lie is unknown; "
                "export it again from the scanner or archive"
            )
    assert header.position_mm is not None
    assert header.orientation is not None
    assert header.spacing_mm is not None
    if not _LEAST_MM <= min(header.spacing_mm) <= max(header.spacing_mm) <= _MOST_MM:
        raise GridError(
            f"{name}: PixelSpacing is {_list(header.spacing_mm)} mm, it must be {_LEAST_MM:g} to {_MOST_MM:g} mm; "
            "set the true size"
        )
    if max(map(abs, header.position_mm)) > 1e6:
        raise GridError(f"{name}: lies {max(map(abs, header.position_mm)):.4g} mm from the origin; export it again")
    row, column = header.orientation[:3], header.orientation[3:]
    lengths = (math.hypot(*row), math.hypot(*column))
    product = sum(a * b for a, b in zip(row, column, strict=True))
    if max(abs(length - 1) for length in lengths) > _ROUNDING or abs(product) > _ROUNDING:
        raise GridError(
            f"{name}: ImageOrientationPatient is no pair of perpendicular unit vectors (lengths {_list(lengths)}, "
            f"product {product:.4g}); export it again"
        )


def _check_scale(header: Header, doubts: Doubts) -> None:
    name, modality = header.name, doubts.modality or header.modality
    if not modality:
        raise SeriesError(f"{name}: does not say its Modality; say what it is with --force CT, MR or another")
    if header.has_modality_table:
        raise ValueRangeError(
            f"{name}: gives its values by a table (Modality LUT), which is not read yet; export it with a rescale slope"
        )
    if modality == "CT" and not doubts.assume_hu:
        if header.slope is None or header.intercept is None:
            raise ValueRangeError(
                f"{name}: is CT without RescaleSlope and RescaleIntercept, so its values may not be Hounsfield units; "
                "export it again with both, or give --assume-hu"
            )
        whole = tuple(value.upper() for value in header.tags.get("ImageType", ()))  # of a file of many frames
        if kind := material_map(header.image_type) or material_map(whole):
            raise ValueRangeError(
                f"{name}: is CT and a map of another quantity (ImageType {kind}), not in Hounsfield units; give the "
                "series in HU, or --assume-hu"
            )
        if header.rescale_type not in ("", "HU"):
            unit = header.rescale_type if header.rescale_type != OTHER_UNIT else "another unit"
            raise ValueRangeError(
                f"{name}: is CT with values in {unit} (RescaleType), not in Hounsfield units; export it "
                "again in HU, or give --assume-hu"
            )
    slope, intercept = (1.0 if header.slope is None else header.slope), header.intercept or 0.0
    if not math.isfinite(slope) or slope == 0 or not math.isfinite(intercept):
        raise ValueRangeError(f"{name}: rescales by {slope:g} and {intercept:g}; set both to finite numbers, not 0")


def _check_pixels(header: Header) -> None:
    name = header.name
    if not header.holds_integers or header.bits not in (8, 16, 32):
        kind = f"{header.bits}-bit" if header.holds_integers else "floating-point"
        raise InputError(f"{name}: holds {kind} pixels, integers of 8, 16 or 32 bits are read; export it again")
    if not header.has_low_bits:
        raise InputError(f"{name}: keeps its values in the high bits of their words (HighBit); export it again")
    expected = header.rows * header.columns * header.bits // 8
    if expected == 0:
        raise InputError(f"{name}: has {header.columns} columns and {header.rows} rows; export it again")
    if header.pixel_bytes is not None and header.pixel_bytes > header.pixel_bytes_present:
        raise InputError(
            f"{name}: cut off: PixelData declares {header.pixel_bytes} bytes, the file has {header.pixel_bytes_present}"
            " left; copy it again"
        )
    syntax = UID(header.transfer_syntax)
    if not syntax.is_transfer_syntax or syntax.is_encapsulated:
        return  # the length of compressed pixels says nothing
    expected *= header.frames
    if header.pixel_bytes is None:
        raise InputError(f"{name}: its pixels are compressed and it does not say how; export it again")
    if not expected <= header.pixel_bytes < 2 * expected:  # a little more is padding, twice is another frame
        raise InputError(
            f"{name}: PixelData has {header.pixel_bytes} bytes, {header.columns} x {header.rows} pixels of "
            f"{header.bits} bits{f' in {header.frames} frames' * (header.frames > 1)} need {expected}; export it again"
        )


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
