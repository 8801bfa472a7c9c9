"""The header of one DICOM image: what is needed to place it and read it, and no name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.uid import (
    RE_VALID_UID,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medseg.domain.errors import InputError, MedsegError
from medseg.io.dicom_walk import (
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    Watch,
    file_meta,
    is_no_image,
    quiet_pydicom,
    starts_with_an_element,
)

Numbers = tuple[float, ...]

# What tells the phases, echoes and repetitions of one place apart.
PHASE_KEYWORDS = (
    *("AcquisitionNumber", "EchoTime", "EchoNumbers", "TemporalPositionIdentifier", "TriggerTime", "InversionTime"),
    *("FlipAngle", "DiffusionBValue", "NominalPercentageOfCardiacPhase", "AcquisitionTime", "ImageType"),
)
_KEYWORDS = (
    *("SOPClassUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *PHASE_KEYWORDS,
)


@dataclass(frozen=True)
class Header:
    """What is needed of a file to place and read its image; None where the file does not say it, or not readably.

    object_class:    the name of the SOP class, "MR Image Storage"; its number where it has no name.
    has_low_bits:    the values stand in the lowest bits of their words, as in all but very old files.
    position_mm:     ImagePositionPatient, LPS.
    orientation:     ImageOrientationPatient, LPS: where columns rise, then where rows rise.
    spacing_mm:      PixelSpacing: between rows, between columns.
    slope:           NaN where the tag is there and holds no finite number; so the intercept.
    phase:           the values of PHASE_KEYWORDS that are there.
    holds_integers:  the pixels are PixelData, none of the floating-point kinds.
    pixel_bytes:     as declared; None where the length is open, as of compressed pixels.
    pixel_bytes_present: from the start of the pixels to the end of the file.
    """

    path: Path
    series_uid: str
    object_class: str
    frame_of_reference: str
    transfer_syntax: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    has_low_bits: bool
    photometric: str
    position_mm: Numbers | None
    orientation: Numbers | None
    spacing_mm: Numbers | None
    slope: float | None
    intercept: float | None
    has_modality_table: bool
    phase: dict[str, str]
    holds_integers: bool
    pixel_bytes: int | None
    pixel_bytes_present: int
    has_preamble: bool


def read_header(path: Path) -> Header | None:
    """The header of a DICOM image; None for any other file, also for other DICOM objects (reports, masks, plans).

    Raises: InputError for a DICOM file that is cut off, damaged, without pixels or deflated as a whole: skipped, it
    would be a slice lost without a word.
    """
    try:
        with path.open("rb") as file, quiet_pydicom():
            return _read(path, file, path.stat().st_size)
    except MedsegError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: its header asks for more memory than there is; export it again") from error
    except Exception as error:  # whatever a damaged stream makes a parser raise, RecursionError and bare OSError too
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{path}: damaged: its header cannot be read ({reason}); copy or export it again") from error


def _read(path: Path, file: BinaryIO, size: int) -> Header | None:
    start = file.read(132)
    has_preamble = start[128:] == b"DICM"
    if not has_preamble and not starts_with_an_element(start):
        return None
    file.seek(132 if has_preamble else 0)
    sop_class, transfer_syntax = file_meta(path, file, size)
    if is_no_image(sop_class):
        return None
    if transfer_syntax and not re.fullmatch(RE_VALID_UID, transfer_syntax):
        raise InputError(f"{path}: damaged: its transfer syntax is no UID; copy or export it again")
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        raise InputError(f"{path}: is deflated as a whole file, which is not read yet; export it uncompressed")
    file.seek(0)
    watch = Watch(path, file, size, stop=lambda tag: tag in (PIXEL_DATA, *FLOAT_PIXEL_DATA))
    tags = [tag_for_keyword(keyword) for keyword in _KEYWORDS]
    dataset = read_partial(file, stop_when=watch, force=True, specific_tags=tags)
    sop_class = _uid(dataset, "SOPClassUID") or sop_class
    has_image = "Rows" in dataset or watch.stopped_at != 0
    if not sop_class and not has_image:
        if not has_preamble:
            return None  # began like DICOM by chance
        raise InputError(f"{path}: cut off or damaged: {size} bytes without image or object class; copy it again")
    object_class = UID(sop_class).name
    if is_no_image(sop_class) or not (has_image or "Image Storage" in object_class):
        return None  # the second: a maker's private object
    if not watch.stopped_at:
        raise InputError(f"{path}: is an image without PixelData, it may be cut off; copy it again")
    if not transfer_syntax:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        transfer_syntax = str(ImplicitVRLittleEndian if implicit else explicit)
    bits = _count(dataset, "BitsAllocated", 0)
    stored = _count(dataset, "BitsStored", bits)
    return Header(
        path=path,
        series_uid=_uid(dataset, "SeriesInstanceUID"),
        object_class=object_class,
        frame_of_reference=_uid(dataset, "FrameOfReferenceUID"),
        transfer_syntax=transfer_syntax,
        modality=_code(dataset, "Modality"),
        image_type=tuple(str(part).upper() for part in _values(dataset, "ImageType") or ()),
        rows=_count(dataset, "Rows", 0),
        columns=_count(dataset, "Columns", 0),
        frames=_count(dataset, "NumberOfFrames", 1),
        samples=_count(dataset, "SamplesPerPixel", 1),
        bits=bits,
        has_low_bits=_count(dataset, "HighBit", stored - 1) == stored - 1,
        photometric=_code(dataset, "PhotometricInterpretation"),
        position_mm=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        spacing_mm=_numbers(dataset, "PixelSpacing", 2),
        slope=_number(dataset, "RescaleSlope"),
        intercept=_number(dataset, "RescaleIntercept"),
        has_modality_table="ModalityLUTSequence" in dataset,
        phase={word: repr(_values(dataset, word)) for word in PHASE_KEYWORDS if word in dataset},
        holds_integers=watch.stopped_at == PIXEL_DATA,
        pixel_bytes=watch.length,
        pixel_bytes_present=watch.present,
        has_preamble=has_preamble,
    )


def _values(dataset: Any, keyword: str) -> list[Any] | None:
    """The values of an element, one or many; None where there is none or they cannot be understood."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts on access, and a damaged value raises as the conversion happens to
        return None
    if value is None or value == "":
        return None
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]


def _numbers(dataset: Any, keyword: str, count: int) -> Numbers | None:
    try:
        numbers = tuple(float(value) for value in _values(dataset, keyword) or ())
    except (ValueError, TypeError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _number(dataset: Any, keyword: str) -> float | None:
    if keyword not in dataset or dataset.get_item(keyword).value in (None, b"", ""):
        return None
    numbers = _numbers(dataset, keyword, 1)
    return numbers[0] if numbers else math.nan


def _count(dataset: Any, keyword: str, default: int) -> int:
    numbers = _numbers(dataset, keyword, 1)
    return int(numbers[0]) if numbers else default


def _code(dataset: Any, keyword: str) -> str:
    """A code string, so that it may stand in a message; empty where it is missing or free text."""
    text = str((_values(dataset, keyword) or [""])[0]).strip()
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""


def _uid(dataset: Any, keyword: str) -> str:
    text = str((_values(dataset, keyword) or [""])[0]).strip()
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else ""
